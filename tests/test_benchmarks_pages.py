"""The benchmark of the pages, on a tiny made-up atlas: every kind of page answers, the records are sane. No timings."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from benchmarks import load_memory, page_datasette, pages
from benchmarks.page_atlas import made_up_atlas
from benchmarks.page_timing import before_charts, line, measure, percentile, query_clock
from benchmarks.shape import Shape

SHAPE = Shape(n_layers=2, d_mlp=32, d_model=16, d_vocab=150, n_texts=60, octaves=13)
KINDS = pages.page_urls(SHAPE, scale=0.01)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas, built."""
    path = tmp_path_factory.mktemp("pages") / "synthetic.duckdb"
    assert made_up_atlas(path, SHAPE)
    return path


@pytest.fixture(scope="module")
def opened(made_up: Path):
    """Its site, and a plain connection."""
    with pages.site(made_up) as both:
        yield both


def test_an_atlas_is_built_once_and_again_for_another_shape(made_up: Path) -> None:
    built = made_up.stat().st_mtime_ns
    assert not made_up_atlas(made_up, SHAPE)
    assert made_up.stat().st_mtime_ns == built
    other = made_up.with_name("other.duckdb")
    other.write_bytes(made_up.read_bytes())
    assert made_up_atlas(other, replace(SHAPE, n_texts=50))
    with duckdb.connect(str(other), read_only=True) as connection:
        assert connection.execute("SELECT n_texts FROM atlas").fetchone() == (50,)


def test_what_is_made_up_is_sane(opened) -> None:
    """Beyond what the loader checks of every file."""
    _, plain = opened

    def one(sql: str) -> object:
        return plain.execute(sql).fetchone()[0]

    assert one('SELECT count(DISTINCT "text") FROM token') == SHAPE.d_vocab
    assert one("SELECT count(*) FROM example") == SHAPE.n_neurons * 59
    for lists, ids in (("neuron_token", "token_id"), ("token_neuron", "neuron_id")):
        row = {"neuron_token": "neuron_id", "token_neuron": "token_id"}[lists]
        assert (
            one(f"SELECT min(n) FROM (SELECT count(DISTINCT {ids}) AS n FROM {lists} GROUP BY {row}, direction)") == 50
        )
    assert (
        one("SELECT max(n) FROM (SELECT count(*) AS n FROM example GROUP BY neuron_id, kind, interval, text_id)") == 1
    )
    norm_error = one(
        "SELECT max(abs(w_out_norm - sqrt(list_dot_product(w_out, w_out)))) "
        "FROM neuron JOIN neuron_weight USING (neuron_id)"
    )
    assert norm_error < 1e-4
    window_error = one(
        "SELECT max(abs(activation - window_scale * window_activations[position - window_start + 1])) FROM example"
    )
    assert window_error < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_each_kind(opened, kind: str) -> None:
    app, plain = opened
    record = measure(app, plain, kind, KINDS[kind])
    if record.note:
        assert kind.startswith("lazy"), record.note
        assert record.note.endswith(" 404")  # Pages that a checkout may not have yet.
        pytest.skip(record.note)
    for values in (record.total, record.queries, record.bare, record.asked, record.size, record.zipped):
        assert len(values) == len(KINDS[kind])
    for whole, queries in zip(record.total, record.queries, strict=True):
        assert 0 <= queries <= whole
    for size, without, zipped in zip(record.size, record.before_charts, record.zipped, strict=True):
        assert 0 < without <= size
        assert zipped < size
    assert kind in line(record)


def test_queries_of_a_neuron_page_are_recorded_and_the_clock_is_taken_away(opened) -> None:
    app, plain = opened
    record = measure(app, plain, "neuron", pages.neuron_urls(SHAPE, 1))
    assert min(record.asked) > 2
    with query_clock() as spent:
        app.test_client().get(pages.neuron_urls(SHAPE, 1)[0])
    n = len(spent)
    app.test_client().get(pages.neuron_urls(SHAPE, 1)[0])
    assert len(spent) == n > 0


def test_a_page_that_is_not_there_is_noted(opened) -> None:
    record = measure(*opened, "nowhere", ["/nowhere"])
    assert record.note == "/nowhere answers 404"
    assert "not measured: /nowhere answers 404" in line(record)


def test_sizes_without_charts_and_percentiles() -> None:
    page = b'<p>a</p><script type="application/json">{"rows": [1]}</script><b>c</b>'
    assert before_charts(page) == b'<p>a</p><script type="application/json"></script><b>c</b>'
    assert percentile(list(range(200)), 0.99) == 198
    assert percentile([3.0, 1.0], 0.99) == 3.0


def test_rows_for_datasette(made_up: Path, tmp_path: Path) -> None:
    rows = page_datasette.export(made_up, tmp_path / "sample.sqlite", 10)
    with (
        duckdb.connect(str(made_up), read_only=True) as atlas,
        closing(sqlite3.connect(tmp_path / "sample.sqlite")) as sample,
    ):
        for name in page_datasette.TABLES:
            (expected,) = atlas.execute(f"SELECT count(*) FROM {name} WHERE neuron_id < 10").fetchone()
            (found,) = sample.execute(f"SELECT count(*) FROM {name}").fetchone()
            assert rows[name] == found == expected
        query = "SELECT token_id, congruence FROM neuron_token WHERE neuron_id = 3 ORDER BY direction, rank"
        assert sample.execute(query).fetchall() == atlas.execute(query).fetchall()


def test_datasette_beside(opened, made_up: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasette")
    app, _ = opened
    lines = pages.datasette_beside(app, made_up, tmp_path, SHAPE, sample=8, n=1)
    assert "all of them / our one page" in lines


def test_random_pages_of_every_kind_answer(opened, made_up: Path) -> None:
    app, _ = opened
    (atlas,) = app.extensions["atlases"].values()
    drawn, chance, client = load_memory.Pages(made_up, atlas), random.Random(0), app.test_client()
    statuses = []
    for _ in range(60):
        kind, path = drawn.next(chance)
        answer = client.get(path)
        statuses.append(answer.status_code)
        assert answer.status_code < 500, path
        drawn.learn(kind, answer.data)
    assert statuses.count(200) > 30
    served = {rule for rule in load_memory.kinds(made_up) if "<" in rule}
    assert {"/<atlas:ref>/<name>", "/<atlas:ref>/<name>.chart.svg", "/api/v1/atlases/<atlas:ref>/search"} <= served
