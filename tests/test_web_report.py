"""`atlas report`: a document that fetches nothing, whose tables and sentences are what the atlas says."""

from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser

import duckdb
import pytest
from click.testing import CliRunner

from atlas import open_atlas
from tests.invented_effects import with_effects
from web.report.block import ROWS, Section, panel
from web.report.command import report
from web.report.html import report_html
from web.report.markdown import report_markdown
from web.report.names import Links
from web.report.write import ReportError, write_report

NOWHERE = Links(None, "tiny")


class Reader(HTMLParser):
    """Statements, tables, drawings and everything that could be fetched, of the document."""

    def __init__(self, text):
        super().__init__()
        self.sql, self.tables, self.drawings, self.fetched, self.tags, self.anchors = [], [], [], [], set(), set()
        self._pre = self._cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.anchors.add(attributes.get("id"))
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name)
            if value and value.startswith("data:image/svg+xml;base64,"):
                self.drawings.append(b64decode(value.split(",", 1)[1]).decode())
            elif value:
                self.fetched.append(value)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True
        elif tag == "code":
            self.sql.append("")
            self._pre = True

    def handle_data(self, data):
        if self._pre:
            self.sql[-1] += data
        elif self._cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self._pre = self._pre and tag != "code"
        self._cell = self._cell and tag not in ("td", "th")


@pytest.fixture(scope="module", params=["tiny_llama_atlas", "tiny_gpt2_atlas"])
def written(request, tmp_path_factory):
    """An atlas (with effects, if gated), the folder of its report, and the sections."""
    path, folder = request.getfixturevalue(request.param), tmp_path_factory.mktemp("report")
    if "llama" in request.param:
        path = with_effects(path, folder / "effects.duckdb")
    with open_atlas(path) as atlas:
        sections = write_report(atlas, folder / "out")
        yield atlas, folder / "out", sections


def test_it_is_whole_by_itself(written):
    _, folder, sections = written
    assert sorted(item.name for item in folder.iterdir()) == ["figures", "index.html", "report.md"]
    assert [section.title for section in sections][:2] == ["Findings", "Neurons whose firing predicts a token"]
    assert sections[-1].title == "What this atlas is"
    assert sections[0].points == tuple(section.finding for section in sections if section.finding)
    assert len(sections[0].points) >= 4
    text = (folder / "index.html").read_text(encoding="utf-8")
    reader = Reader(text)
    assert all(url.startswith("#") and url[1:] in reader.anchors for url in reader.fetched)
    assert not reader.tags & {"script", "link", "iframe", "object", "base"}
    assert not re.search(r"url\(|@import|https?://", text)
    charts = [chart for section in sections for panel in section.panels for chart in panel.charts]
    assert len(reader.drawings) == len(charts) > 10
    for drawing in reader.drawings:
        assert drawing.startswith("<svg")
        assert not re.search(r"href=\"[^#\"]|<script|<image", drawing)


def test_every_query_runs_on_the_file_and_gives_the_table(written):
    atlas, folder, sections = written
    reader = Reader((folder / "index.html").read_text(encoding="utf-8"))
    panels = [panel for section in sections for panel in section.panels]
    assert [panel.sql for panel in panels if panel.sql] == reader.sql
    tables = iter(reader.tables)
    with duckdb.connect(str(atlas.path), read_only=True) as connection:
        for panel in panels:
            if panel.sql is None:
                continue
            rows = connection.execute(panel.sql).fetchall()
            columns = [column[0] for column in connection.description]
            if panel.answer is None:
                assert panel.charts, panel.title
                continue
            shown = next(tables)[1:]
            if len(rows) == 1 and len(columns) > 10:
                shown, rows = [[row[1] for row in shown]], rows
            assert len(shown) == min(ROWS, len(rows)), panel.title
            for cells, row in zip(shown, rows, strict=False):
                for cell, value in zip(cells, row, strict=True):
                    if isinstance(value, float):
                        number = cell.replace("−", "-").replace(",", "")
                        decimals = len(number.rstrip("%").partition(".")[2])
                        exact = (value, 100 * value)  # a share, or a change in percentage points
                        assert any(abs(float(number.rstrip("%")) - e) <= 0.51 * 10.0**-decimals for e in exact), cell
                        assert not re.fullmatch(r"-0[.0]*%?", number)
    assert next(tables, None) is None


def test_its_sentences(written):
    atlas, folder, _ = written
    text = (folder / "report.md").read_text(encoding="utf-8")
    with duckdb.connect(str(atlas.path), read_only=True) as connection:

        def one(sql):
            return connection.execute(sql).fetchone()

        n_pairs, ordinary = one(
            "SELECT count(*), count(*) FILTER (NOT t.special AND t.n_actual > 0) "
            "FROM exclusive_pair AS p JOIN token AS t USING (token_id) WHERE direction = 'top'"
        )
        assert f"{n_pairs:,} neurons and tokens are mutual best matches, {ordinary:,} of them" in text
        hub, share = one(
            "SELECT name, hub_count / (SELECT count(*) FROM token) FROM neuron "
            "ORDER BY hub_count DESC, neuron_id LIMIT 1"
        )
        assert f"{hub} is the best neuron of {100 * share:.3g}% of all tokens" in text
        (supported,) = one(
            "SELECT count(auroc_predicted) FROM pair_metric JOIN token USING (token_id) "
            "WHERE side = 'positive' AND NOT special AND n_actual_ > 0".replace("n_actual_", "token.n_actual")
        )
        assert f"{supported:,}" in text.split("Does congruence predict")[1]
        (n_effects,) = one("SELECT count(*) FROM pair_effect")
        for (name,) in connection.execute("SELECT name FROM study").fetchall():
            assert f"## Study {name}" in text
    assert (f"{n_effects:,} pairs were measured" in text) == bool(n_effects)
    assert ("This atlas has no ablations" in text) == (not n_effects)
    assert "not a sample of all pairs" in text


def test_the_markdown_has_its_figures(written):
    _, folder, _ = written
    text = (folder / "report.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^\n]*\]\((figures/[a-z0-9-]+\.svg)\)", text)
    assert sorted(named) == sorted(f"figures/{item.name}" for item in (folder / "figures").iterdir())
    assert len(set(named)) == len(named) == text.count("![")
    assert not re.search(r"https?://", text)
    assert text.count("```sql") == text.count("```") / 2


def test_neurons_and_tokens_are_links_to_a_site(tiny_llama_atlas):
    links = Links("https://atlas.example.org", "tiny-llama")
    columns = "name AS neuron, 0.126::FLOAT AS share_of_tokens, 0.5::FLOAT AS probability, -0.25::FLOAT AS low"
    neurons = f"SELECT {columns}, -0.3::FLOAT AS probability_change"
    with open_atlas(tiny_llama_atlas) as atlas:
        one = Section("L1N7 <", ("L1N7 & L2N3, not XL1N7.",), (panel(atlas, "x", f"{neurons} FROM neuron LIMIT 2"),))
        tokens = ("SELECT ' an' AS token, 5 AS token_id", "SELECT ' an' AS token")
        two = Section("y", (), tuple(panel(atlas, "z", sql) for sql in tokens))
        text = report_html(atlas, "x", [one, two], {}, links)
        plain = report_markdown(atlas, "x", [one, two], links)
    assert '<p><a href="https://atlas.example.org/tiny-llama/L1N7">L1N7</a> &amp; <a href=' in text
    assert "not XL1N7.</p>" in text
    assert '<td><a href="https://atlas.example.org/tiny-llama/L0N0">L0N0</a></td><td class=n>12.6%</td>' in text
    assert "<td class=n>50.0%</td><td class=n>−25.0</td><td class=n>−30.0</td>" in text
    assert "<th>probability change, points</th>" in text
    assert '<a href="https://atlas.example.org/tiny-llama/token/5">␣an</a>' in text
    assert '<a href="https://atlas.example.org/tiny-llama/token?text=%20an">␣an</a>' in text
    assert "[L1N7](https://atlas.example.org/tiny-llama/L1N7) & [L2N3]" in plain
    assert "| [L0N0](https://atlas.example.org/tiny-llama/L0N0) | 12.6% |" in plain


def test_what_is_missing_is_said(built_gpt2, tmp_path):
    with open_atlas(built_gpt2.atlas) as atlas:
        from web.report.studies import studies

        sections = studies(atlas)
        assert "records no study" in report_markdown(atlas, "x", sections, NOWHERE)


def test_tokens_are_no_markup(tiny_gpt2_atlas):
    with open_atlas(tiny_gpt2_atlas) as atlas:
        text = report_markdown(atlas, "a <b>", [Section("*s* | `c`", ("[x](y) _z_",))], NOWHERE)
    assert "# a \\<b\\>" in text
    assert "## \\*s\\* \\| \\`c\\`" in text
    assert "\\[x\\](y) \\_z\\_" in text


def test_a_folder_in_use_is_kept(tiny_gpt2_atlas, tmp_path, monkeypatch):
    monkeypatch.setattr("web.report.write.sections", lambda atlas: [])
    out = tmp_path / "report"
    with open_atlas(tiny_gpt2_atlas) as atlas:
        write_report(atlas, out)
        with pytest.raises(ReportError, match=r"is not empty. Choose another folder, or replace a report with --force"):
            write_report(atlas, out)
        write_report(atlas, out, force=True)
        (out / "mine.txt").write_text("mine")
        with pytest.raises(ReportError, match=r"'mine.txt', which no report wrote"):
            write_report(atlas, out, force=True)
        with pytest.raises(ReportError, match=r"does not exist. Create it first"):
            write_report(atlas, tmp_path / "a" / "b")
        with pytest.raises(ReportError, match="is not a folder"):
            write_report(atlas, out / "mine.txt")
    assert (out / "mine.txt").read_text() == "mine"
    assert [item.name for item in tmp_path.iterdir()] == ["report"]


def test_nothing_is_left_where_it_fails(tiny_gpt2_atlas, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("web.report.write.sections", lambda atlas: [])
    monkeypatch.setattr("web.report.write.report_markdown", fails)
    with (
        open_atlas(tiny_gpt2_atlas) as atlas,
        pytest.raises(ReportError, match=r"No space left on device. Nothing was"),
    ):
        write_report(atlas, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command(tiny_gpt2_atlas, tmp_path, monkeypatch):
    monkeypatch.setattr("web.report.write.sections", lambda atlas: [])
    result = CliRunner().invoke(report, [str(tiny_gpt2_atlas), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "index.html and report.md written: 0 sections, 0 findings." in result.output
