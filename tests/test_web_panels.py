"""Every panel of every page links to its SQL, which passes the gate, runs, and answers what the panel shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, quote, urlsplit

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.schema import macro_names
from atlas.core.statements import ANSWERED_FROM_MEMORY, Statement
from atlas.core.units import neuron_ref
from atlas.topics.curve import histogram
from atlas.topics.family import family_curves
from tests.test_web_contexts import TEMPLATES
from web.workers.sql import gate

PAGES = (
    "",
    "/L1",
    "/L1?sort=token_gap&order=asc&page=1",
    "/L1N7",
    "/L1N7/part/rest",
    "/L1N7/part/guard",
    "/L1N7/part/numbers",
    "/{text}",
    "/token/40",
    "/token?text={several}",
    "/pairs",
    "/pairs?all=1&sort=score&layer_min=1&min_score=0.001",
    "/pairs?direction=bottom&all=1",
    "/exclusive",
    "/exclusive?all=1&sort=n_actual&order=asc&min_gap=0.01&token=a",
    "/hubs",
    "/hubs?k=1",
    "/hubs/centring",
    "/neurons",
    "/neurons?sort=token_gap&layer_min=1&dead=0&exclusive=none&token_gap.gte=0.015625",
    "/compare",
    "/compare?n=L1N7&n=L0N3&n=L1N8",
    "/list?n=L1N7&n=L0N3&n=L1N8",
    "/L1N7/tokens",
    "/L1N7/similar",
    "/L1N7/similar?side=in",
    "/token/40/neurons",
    "/L1N7/family",
    "/L1N7/candidates",
    "/L1N7/reduced",
    "/token/40/reduced",
    "/hubs/reduced",
    "/neurons?kind=other",
    "/neurons?kind=hub&dead=0",
    "/prediction",
    "/prediction?by=score&metric=lift&outcome=actual&pairs=congruent",
    "/prediction/correlations",
    "/prediction/causes",
    "/prediction/laws",
    "/drivers",
    "/studies",
    "/study/an",
    "/study/suite",
    "/predictive",
    "/predictive?outcome=actual&exclusive=none&all=1&min_active=5&page=2",
)
"""A page of every kind that shows data of an atlas, below its slug; the search is asked beside them."""


WALKED = {
    "overview.html",
    "layer.html",
    "neuron.html",
    "neuron_part.html",
    "neuron_text.html",
    "token.html",
    "token_choice.html",
    "ranking.html",
    "hubs.html",
    "centring.html",
    "neurons.html",
    "compare.html",
    "list.html",
    "neuron_tokens.html",
    "similar.html",
    "token_neurons.html",
    "search.html",
    "neuron_family.html",
    "neuron_candidates.html",
    "reduced_tokens.html",
    "reduced_neurons.html",
    "reduced_hubs.html",
    "prediction.html",
    "correlations.html",
    "causal.html",
    "laws.html",
    "study.html",
    "studies.html",
}
"""Templates of those pages."""


WITHOUT = {
    "home.html": "the list of files, which is in none of them",
    "api.html": "the calls of the API, which are in no atlas",
    "glossary.html": "definitions; each shows its SQL in full",
    "atlas_glossary.html": "definitions; each shows its SQL in full",
    "console.html": "the console itself",
    "saved.html": "a statement, shown in full",
    "bridge.html": "several files, and what is in none of them",
    "bridge_token.html": "statements over several files: see test_web_bridge",
    "bridge_compare.html": "statements over several files: see test_web_bridge",
    "live.html": "what a model just did, which is in no file",
    "live_neuron.html": "what a model just did, which is in no file",
    "live_study.html": "a form",
    "live_progress.html": "what a model is doing, which is in no file",
    "live_result.html": "what a model just did, which is in no file",
    "tables.html": "files of whole tables",
    "embed_neuron.html": "panels of the neuron's page, to which it leads",
    "embed_token.html": "panels of the token's page, to which it leads",
    "embed_list.html": "the list's page, to which it leads",
}
"""Templates without links to SQL, and why."""


@dataclass
class Heading:
    """A heading of a page; whether a link to SQL stands in it or below it, and a table or a chart."""

    level: int
    above: Heading | None
    text: str = ""
    linked: bool = False
    shows: bool = False
    parts: list[Heading] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        """Whether what it heads has SQL: its own or that of a heading above."""
        return self.linked or (self.above is not None and self.above.answered)

    @property
    def bare(self) -> bool:
        """Whether it shows something that has no SQL; one that only holds parts needs none of its own."""
        return not self.answered and (self.shows or (self.level > 1 and not self.parts))


class Panels(HTMLParser):
    """The headings of a page's main part, and the statements it links to."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.sql = [], []
        self._inside = self._naming = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._inside = self._inside or tag == "main"
        if not self._inside:
            return
        if re.fullmatch("h[1-4]", tag):
            above = self.headings[-1] if self.headings else None
            while above is not None and above.level >= int(tag[1]):
                above = above.above
            self.headings.append(Heading(int(tag[1]), above))
            if above is not None:
                above.parts.append(self.headings[-1])
            self._naming = True
        elif tag in ("table", "figure"):
            self.headings[-1].shows = True
        elif "sql-link" in (attributes.get("class") or ""):
            self.sql.append(parse_qs(urlsplit(attributes["href"]).query)["sql"][0])
            # That of a title is about the words beside it.
            self.headings[-1].linked |= self.headings[-1].level > 1

    def handle_data(self, data):
        if self._naming:
            self.headings[-1].text += data

    def handle_endtag(self, tag):
        self._naming = self._naming and not re.fullmatch("h[1-4]", tag)
        self._inside = self._inside and tag != "main"


def bare(text):
    """Headings of a page that show something without SQL."""
    return [heading.text for heading in Panels(text).headings if heading.bare]


def test_the_reader_finds_what_has_no_sql():
    link = '<a class="sql-link" href="/x/sql?sql=SELECT%201">SQL</a>'
    page = f"<main><h1>a</h1><h2>b {link}</h2><table></table><h3>c</h3><figure></figure>{{}}</main>"
    assert bare(page.format("")) == []
    assert Panels(page.format("")).sql == ["SELECT 1"]
    assert bare(page.format("<h2>d</h2><p></p>")) == ["d"]
    assert bare(page.format(f"<h2>d</h2><h3>e{link}</h3><h3>f</h3>")) == ["f"]
    assert bare(page.format(f"<h2>d</h2><table></table><h3>e{link}</h3>")) == ["d"]


def several(connection):
    """A text that several tokens add."""
    sql = 'SELECT "text" FROM token WHERE "text" IS NOT NULL GROUP BY "text" HAVING count(*) > 1 LIMIT 1'
    return connection.execute(sql).fetchone()[0]


@pytest.fixture(scope="module", params=["tiny_llama_atlas", "tiny_gpt2_atlas"])
def served(request, app):
    """A client, the slug of an atlas, the atlas, and a plain connection to it."""
    path = request.getfixturevalue(request.param)
    with open_atlas(path) as atlas, duckdb.connect(str(path), read_only=True) as connection:
        yield app.test_client(), atlas.info.slug, atlas, connection


def allowed(connection, sql):
    """The statement as the site's gate lets it through; refused, an error."""
    serialize = "SELECT json_serialize_sql(?)"
    around = gate.Surroundings(
        lambda text: connection.execute(serialize, [text]).fetchone()[0], lambda name: False, macro_names()
    )
    return gate.check(sql, 100_000, around).sql


def test_every_panel_of_every_page_has_sql_that_runs(served):
    client, slug, atlas, connection = served
    example = client.get(f"/{slug}/L1N7.json").json["texts"]["maximum"][0]
    names = {"{several}": quote(several(connection)), "/{text}": f"/L1N7/text/{example['text_id']}"}
    paths = [f"/{slug}{re.sub('/?{.*}', lambda name: names[name[0]], path)}" for path in PAGES]
    paths += [f"/search?atlas={slug}&q=apple", f"/search?atlas={slug}&q=le", f"/search?atlas={slug}&q=%27%22%25%5C"]
    statements = set()
    for path in paths:
        response = client.get(path, follow_redirects=True)
        assert response.status_code == 200, path
        panels = Panels(response.text)
        assert [heading.text for heading in panels.headings if heading.bare] == [], path
        empty = path.endswith("/family") and not client.get(f"{path}.json").json["families"]
        empty |= path.startswith("/search") and "No stored text has" in client.get(path).text
        assert panels.sql or empty or path.endswith(("/compare", "/centring")), path
        statements.update(panels.sql)
    assert len(statements) > 60
    for sql in statements:
        assert allowed(connection, sql) == sql
        # What makes it readable: a line for each clause, none of them endless.
        assert max(map(len, sql.splitlines())) < 200
        assert atlas.query(sql).columns, sql


RUN = {
    "neuron": "/L1N7.json",
    "token": "/token/40.json",
    "token_choice": "/token.json?text={several}",
    "hubs": "/hubs.json?k=5",
    "centring": "/hubs/centring.json",
    "compare": "/compare.json?n=L1N7&n=L0N3&n=L1N8",
    "list": "/list.json?n=L1N7&n=L0N3&n=L1N8",
    "neuron_tokens": "/L1N7/tokens.json",
    "similar": "/L1N7/similar.json?side=in",
    "token_neurons": "/token/40/neurons.json",
    "neuron_family": "/{related}/family.json",
    "neuron_candidates": "/L1N7/candidates.json",
    "reduced_tokens": "/L1N7/reduced.json",
    "reduced_neurons": "/token/40/reduced.json",
    "reduced_hubs": "/hubs/reduced.json",
}
"""Pages by template whose statements are watched."""

NOT_COUNTED = {"neuron: signs", "neuron: causes"}
"""Panels of parts that these atlases do not have: see test_atlas_families and test_web_causes."""


def test_what_is_shown_was_run_or_is_answered_from_memory(served, monkeypatch):
    client, slug, atlas, connection = served
    runs, texts, panels = [], {}, {True: set(), False: set()}
    rows, shown = Statement.rows, Statement.shown

    def watched_rows(self, atlas, **parameters):
        runs.append((self, parameters))
        return rows(self, atlas, **parameters)

    def watched_shown(self, **parameters):
        text = shown(self, **parameters)
        texts[text] = self, parameters
        return text

    monkeypatch.setattr(Statement, "rows", watched_rows)
    monkeypatch.setattr(Statement, "shown", watched_shown)
    related = next(n for n in range(atlas.info.n_neurons) if family_curves(atlas, n))
    names = {"related": neuron_ref(atlas, related).name, "several": quote(several(connection))}
    for template, path in RUN.items():
        runs.clear()
        data = client.get(f"/{slug}{path.format(**names)}").json
        for name, text in data["panels"].items():
            statement, parameters = texts[text]
            run = [p for s, p in runs if s == statement and p.items() <= parameters.items()]
            panels[bool(run)].add(f"{template}: {name}")
            if run:  # what stands there for readers alone neither loses rows nor changes them
                asked, answer = atlas.query(statement.sql, run[0]), atlas.query(text)
                places = [answer.columns.index(column) for column in asked.columns]
                assert sorted(map(repr, asked.rows)) == sorted(
                    repr(tuple(row[place] for place in places)) for row in answer.rows
                ), (template, name)
    listed = (key.split(": ") for key in ANSWERED_FROM_MEMORY)
    listed = {f"{template}: {name}" for template, names in listed for name in names.split(", ")}
    assert panels[False] - NOT_COUNTED <= listed
    assert not panels[True] & listed
    assert len(panels[True]) > 14


def test_every_kind_of_page_is_walked_or_has_a_reason():
    assert set(TEMPLATES) <= WALKED | set(WITHOUT)
    assert set(TEMPLATES) >= WALKED


def answers(served, path):
    """A page's data, and the answers of its panels by name."""
    client, slug, atlas, _ = served
    data = client.get(path.replace("SLUG", slug)).json
    return data, {name: atlas.query(sql).rows for name, sql in data["panels"].items()}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "all=1&sort=score&layer_min=1&min_score=0.001&token=A",
        "direction=bottom&all=1",
        "all=1&page=2",
        "sort=congruence&order=asc&all=1",
        "token=%27%25%5C",
    ],
)
def test_pairs(served, query):
    data, rows = answers(served, f"/SLUG/pairs.json?{query}")
    shown = data["pairs"]["rows"]
    assert [row[:4] for row in rows["pairs"]] == [
        (p["rank"], p["neuron"]["name"], p["token"]["text"], p["score"]) for p in shown
    ]
    points = [point for curve in data["curves"] for point in curve["points"]]
    assert [row[4:7] for row in rows.get("curves", ())] == [(p["n"], p["n_predicted"], p["n_actual"]) for p in points]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sort=in_out_cosine&order=asc",
        "sort=token_gap&exclusive=top&dead=0",
        "exclusive=none&sort=hub_count",
        "exclusive=any&layer_max=1",
    ],
)
def test_every_page_of_the_neurons(served, query, monkeypatch):
    monkeypatch.setattr("web.views.neurons.PER_PAGE", 61)
    path, seen = f"/SLUG/neurons.json?{query}", 0
    while path is not None:
        data, rows = answers(served, path)
        names = [neuron["name"] for neuron in data["neurons"]["rows"]]
        assert [row[0] for row in rows["neurons"]] == names
        assert [row[2] for row in rows["neurons"]] == [n["best_congruence"] for n in data["neurons"]["rows"]]
        fired = {(name, kind): texts for name, _, _, _, kind, *texts, _ in rows["glances"]}
        for name, glance in zip(names, data["glances"], strict=True):
            if glance["fires_on"]:
                ends = fired[name, "max"], fired.get((name, "min"))
                assert [glance["fires_on"]["text"], glance["n_fires_on"]] in ends
        seen, path, last = seen + len(names), data["next"], path
    assert seen == data["neurons"]["total"]
    if data["previous"]:
        before, rows = answers(served, data["previous"])
        assert [row[0] for row in rows["neurons"]] == [neuron["name"] for neuron in before["neurons"]["rows"]]
        assert last != data["previous"]
    facets = {(facet["name"], value["n"]) for facet in data["facets"] for value in facet["values"]}
    assert facets <= {(facet, n) for facet, _, n, _ in answers(served, f"/SLUG/neurons.json?{query}")[1]["facets"]}


def test_bounds_of_neurons_are_exact(served):
    _, _, _, connection = served
    value = connection.execute("SELECT token_gap::DOUBLE FROM neuron ORDER BY token_gap LIMIT 1 OFFSET 20").fetchone()[
        0
    ]
    for op, expected in (("gte", "token_gap >= $1"), ("lte", "token_gap <= $1")):
        _, rows = answers(served, f"/SLUG/neurons.json?token_gap.{op}={value!r}&sort=neuron_id&order=asc")
        sql = f"SELECT name FROM neuron WHERE {expected.replace('token_gap', 'token_gap::DOUBLE')} ORDER BY neuron_id"
        found = connection.execute(sql + " LIMIT 100", [value]).fetchall()
        assert [row[0] for row in rows["neurons"]] == [name for (name,) in found]


def test_a_layer(served):
    data, rows = answers(served, "/SLUG/L1.json?sort=activation_max&order=asc")
    assert [row[0] for row in rows["neurons"]] == [neuron["name"] for neuron in data["neurons"]["rows"]]
    layer = data["layer"]
    assert rows["numbers"][0][1:4] == (layer["n_neurons"], layer["n_dead"], layer["n_exclusive"])
    assert rows["numbers"][0][4] == pytest.approx(layer["best_congruence_mean"])


@pytest.mark.parametrize("k", [1, 5])
def test_hubs(served, k):
    data, rows = answers(served, f"/SLUG/hubs.json?k={k}")
    assert list(rows["neurons"]) == [
        (h["neuron"]["name"], h["hub_count"], pytest.approx(h["share"]), h["n_lists"], h["neuron"]["neuron_id"])
        for h in data["neurons"]
    ]
    assert list(rows["tokens"]) == [
        (h["token"]["text"], h["hub_count"], pytest.approx(h["share"]), h["n_lists"], h["token"]["token_id"])
        for h in data["tokens"]
    ]
    for row, what in zip(rows["occurrence"], ("neuron_occurrence", "token_occurrence"), strict=True):
        o = data[what]
        assert row[1:5] == (o["n_units"], pytest.approx(o["mean"]), o["greatest"], o["n_never"])
        assert row[5] == pytest.approx(o["skewness"])
        counts = [(value, n) for units, value, n, _ in rows["distribution"] if units == row[0]]
        assert counts == [tuple(count) for count in o["counts"]]


def test_centring(served):
    data, rows = answers(served, "/SLUG/hubs/centring.json")
    for name in ("centred", "uncentred"):
        assert [row[:3] for row in rows[name]] == [
            (c["neuron"]["name"], c["n_centred"], c["n_uncentred"]) for c in data["centring"][name]
        ]


def test_a_neurons_numbers_place_guard_and_verdict(served):
    data, rows = answers(served, "/SLUG/L1N7.json")
    assert {row[1]: row[3:] for row in rows["numbers"]} == {
        name: (of["layer"], of["model"]) for name, of in data["percentiles"].items()
    }
    assert rows["place"][0][2] == data["neighbours"]["rank"]
    assert len(rows["pairs"]) == len(data["pairs"])
    prediction = data["verdict"]["prediction"]
    assert len(rows["verdict"]) == (prediction is not None)
    assert rows["verdict"][0][2:4] == (prediction["side"], prediction["threshold"])
    guard = data["texts"]["guard"]
    fires, predicted = rows["guard"]
    assert fires[1:5] == tuple(
        guard[f"{kind}_{which}"] for which in ("maximum", "ordinary") for kind in ("n", "distinct")
    )
    assert fires[5] == pytest.approx(guard["distance"])
    assert predicted[5] == pytest.approx(guard["predicted_distance"])
    points = [point for curve in data["curves"] for point in curve["points"]]
    assert [row[4] for row in rows["predicts"]] == [point["n"] for point in points]


def test_a_tokens_curves_and_relatives(served):
    data, rows = answers(served, "/SLUG/token/40.json")
    points = [point for curve in data["curves"] for point in curve["points"]]
    assert [row[4:7] for row in rows["curves"]] == [(p["n"], p["n_predicted"], p["n_actual"]) for p in points]
    assert [row[3] for row in rows["relatives"]] == [token["token_id"] for token in data["relatives"]]


def test_the_overviews_best_neurons_and_layers(served):
    data, rows = answers(served, "/SLUG.json")
    assert [row[0] for row in rows["best"]] == [item["neuron"]["name"] for item in data["best"]]
    assert all(item["verdict"]["claim"] == "predicts" for item in data["best"])
    assert [row[:4] for row in rows["layers"]] == [
        (layer["layer"], layer["n_neurons"], layer["n_dead"], layer["n_exclusive"]) for layer in data["layers"]
    ]
    (provenance,) = rows["provenance"]
    assert {data["info"]["build_id"], data["info"]["n_positions"], data["info"]["command"]} <= set(provenance)


def test_neurons_side_by_side(served):
    data, rows = answers(served, "/SLUG/compare.json?n=L1N7&n=L0N3&n=L1N8")
    names = [neuron["name"] for neuron in data["neurons"]]
    assert [row[0] for row in rows["numbers"]] == names
    assert [row[3] for row in rows["numbers"]] == [neuron["best_congruence"] for neuron in data["neurons"]]
    standing = {(row[0], row[1]): row[3:] for row in rows["percentiles"]}
    for name, known in zip(names, data["percentiles"], strict=True):
        assert standing[name, "token_gap"] == (known["token_gap"]["layer"], known["token_gap"]["model"])
    assert [(row[0], row[3]) for row in rows["histograms"]] == [
        (neuron["name"], bar.n) for neuron in data["neurons"] for bar in histogram(served[2], neuron["neuron_id"])
    ]
    cosines = [value for row in data["cosines"] for value in row]
    assert [row[2] for row in rows["cosines"]] == pytest.approx(cosines, abs=1e-5)
    assert [(row[-1], *row[1:4]) for row in rows["tokens"]] == [
        (item["token"]["token_id"], *item["congruences"]) for item in data["tokens"]
    ]
    points = [point for curve in data["curves"] for point in curve["points"]]
    assert [row[4] for row in rows["curves"]] == [point["n"] for point in points]
    examples = [
        (text["text_id"], name, example["position"], example["activation"])
        for text in data["texts"]
        for name, example in zip(names, text["examples"], strict=True)
        if example
    ]
    assert [row[:4] for row in rows["texts"]] == examples


def test_what_scans_the_weights(served):
    data, rows = answers(served, "/SLUG/L1N7/tokens.json")
    for direction in ("top", "bottom"):
        found, shown = rows[direction], data["spread"][direction]
        assert [(row[0], row[3]) for row in found] == [(item["rank"], item["token"]["token_id"]) for item in shown]
        assert [row[2] for row in found] == pytest.approx([item["congruence"] for item in shown], abs=1e-5)
    bars = [(bar["lower"], bar["n"]) for bar in data["spread"]["bars"] if bar["n"]]
    assert [row[2] for row in rows["spread"]] == [n for _, n in bars]
    assert [row[0] for row in rows["spread"]] == pytest.approx([lower for lower, _ in bars], abs=1e-5)
    data, rows = answers(served, "/SLUG/token/40/neurons.json")
    assert [row[0] for row in rows["outliers"]] == [item["neuron"]["name"] for item in data["spread"]["outliers"]]
    for row, layer in zip(rows["layers"], data["spread"]["layers"], strict=True):
        assert row[0] == layer["layer"]
        assert list(row[1:]) == pytest.approx(layer["quantiles"], abs=1e-5)
    for side in ("out", "in"):
        data, rows = answers(served, f"/SLUG/L1N7/similar.json?side={side}")
        assert [row[0] for row in rows["similar"]] == [item["neuron"]["name"] for item in data["similar"]]
        assert [row[2] for row in rows["similar"]] == [item["best_token"]["text"] for item in data["similar"]]


@pytest.mark.parametrize("query", ["apple", "picked the", " the", "AN A", "xy", "script>"])
def test_what_a_search_finds(served, query):
    client, slug, atlas, _ = served
    data = client.get("/search.json", query_string={"q": query, "atlas": slug}).json
    if "found" not in data:  # it means one token only, and led there
        return
    (found,) = data["found"]
    rows = {name: atlas.query(sql).rows for name, sql in found["panels"].items()}
    groups = {
        "exact match": "exact",
        "other case or spacing": "same_letters",
        "starts with": "beginning",
        "contains": "containing",
    }
    for how, name in groups.items():
        ids = [row[4] for row in rows["tokens"] if row[0] == how]
        assert sorted(ids) == sorted(token["token_id"] for token in found["tokens"][name]), how
    assert [(row[0], row[5]) for row in rows.get("writers", ())] == [
        (writer["neuron"]["name"], writer["token"]["token_id"]) for writer in found["writers"]
    ]
    assert ("texts" in rows) == ("neurons" in rows) == (found["texts"] is not None)
    if found["texts"]:
        assert [(*row[:2], *row[3:6]) for row in rows["neurons"]] == [
            (m["neuron"]["name"], m["n_texts"], m["kind"], m["rank"], m["activation"])
            for m in found["texts"]["neurons"]
        ]
        assert [(row[0], row[1], row[2]) for row in rows["texts"]] == [
            (text["text_id"], text["n_neurons"], [neuron["name"] for neuron in text["neurons"]])
            for text in found["texts"]["texts"]
        ]


def test_the_view_of_a_neurons_page_is_what_its_tables_say(served):
    """`neuron_page` chosen by name, by id and whole is the same, and its lists are the tables' rows in order."""
    _, _, _, connection = served
    whole = connection.execute("SELECT * FROM neuron_page ORDER BY neuron_id").fetchall()
    names = [column[0] for column in connection.description]
    assert len(whole) == connection.execute("SELECT count(*) FROM neuron").fetchone()[0]
    for row in whole[::17]:
        assert connection.execute("SELECT * FROM neuron_page WHERE neuron = ?", [row[0]]).fetchall() == [row]
        record = dict(zip(names, row, strict=True))
        neuron_id = record["neuron_id"]

        def listed(sql, neuron_id=neuron_id):
            return connection.execute(sql, [neuron_id]).fetchall()

        for end, direction in (("best", "top"), ("worst", "bottom")):
            found = listed(
                'SELECT t."text", l.congruence FROM neuron_token AS l JOIN token AS t USING (token_id) '
                f"WHERE l.neuron_id = ? AND direction = '{direction}' ORDER BY rank"
            )
            assert list(zip(record[f"{end}_tokens"], record[f"{end}_congruences"], strict=True)) == found
        bars = listed(
            "SELECT lower, upper, n FROM activation_histogram JOIN histogram_bin USING (bin) "
            "WHERE neuron_id = ? ORDER BY bin"
        )
        assert [tuple(bar.values()) for bar in record["histogram"]] == bars
        pairs = listed(
            'SELECT t."text", direction, rank, score FROM exclusive_pair JOIN token AS t USING (token_id) '
            "WHERE neuron_id = ? ORDER BY direction DESC"
        )
        assert [tuple(pair.values()) for pair in record["exclusive_pairs"] or ()] == pairs
        texts = listed(
            "SELECT kind, rank, activation, text_id, position FROM example WHERE neuron_id = ? "
            'ORDER BY kind, "interval", rank'
        )
        assert [tuple(text.values()) for text in record["examples"]] == texts
