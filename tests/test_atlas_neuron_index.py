"""The index of neurons against a brute force over rows that a plain connection fetched."""

from __future__ import annotations

import shutil
from collections import Counter
from functools import cmp_to_key

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas import open_atlas
from atlas.core.errors import QueryError
from atlas.core.parameter import Cursor
from atlas.core.units import Bound
from atlas.topics import neuron_list as neuron_index
from atlas.topics.neuron_facets import FREQUENT_TOKENS, neuron_facets
from atlas.topics.neuron_list import (
    EXCLUSIVE,
    EXPORT_COLUMNS,
    INDEX_SORTS,
    RANGE_COLUMNS,
    WHOLE_COLUMNS,
    NeuronSelection,
    neuron_rows,
    page_of_neurons,
)

HOLES = """
UPDATE neuron SET token_gap = NULL, congruence_kurtosis = NULL WHERE neuron_id % 5 = 2;
UPDATE neuron SET in_out_cosine = CASE neuron_id % 4 WHEN 0 THEN NULL WHEN 1 THEN '-0.0'::FLOAT ELSE 0 END;
UPDATE neuron SET activation_kurtosis = NULL;
UPDATE neuron SET best_congruence = 0.1, w_out_norm = round(w_out_norm, 1), dead = true WHERE neuron_id % 3 = 1;
UPDATE neuron SET activation_max = 16777217 + neuron_id WHERE neuron_id % 2 = 0;
"""
"""What a tiny model lacks: NULLs, a column of nothing else, both zeros, ties, values float32 rounds, dead neurons."""


@pytest.fixture(scope="module", params=["llama", "gpt2", "holes"])
def index(request, tmp_path_factory, tiny_llama_atlas, tiny_gpt2_atlas):
    """An open atlas, its rows of `neuron` and its exclusive pairs."""
    path = tiny_llama_atlas if request.param == "llama" else tiny_gpt2_atlas
    if request.param == "holes":
        path = shutil.copy(tiny_llama_atlas, tmp_path_factory.mktemp("holes") / "holes.duckdb")
        with duckdb.connect(str(path)) as connection:
            connection.execute(HOLES)
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("SELECT * FROM neuron")
        names = [item[0] for item in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        pairs = connection.execute("SELECT direction, neuron_id FROM exclusive_pair").fetchall()
        texts = dict(connection.execute('SELECT token_id, "text" FROM token').fetchall())
    with open_atlas(path) as atlas:
        yield atlas, rows, set(pairs), texts


def compare(a, b, descending):
    """-1 where one place (a value and a neuron_id) comes before another, 1 after, 0 the same: as plainly as can be."""
    (one, one_id), (other, other_id) = a, b
    if one != other:
        if one is None or other is None:
            return 1 if one is None else -1
        return -1 if (one > other) == descending else 1
    return -1 if one_id < other_id else int(one_id > other_id)


def place(row, sort):
    return row[sort], row["neuron_id"]


def brute(rows, pairs, selection, sort="best_congruence", descending=True):
    """The rows of a selection in order."""

    def chosen(row):
        within = {direction for direction in ("top", "bottom") if (direction, row["neuron_id"]) in pairs}
        exclusive = {None: True, "any": bool(within), "none": not within}
        bounds = [
            row[b.column] is not None and (row[b.column] >= b.value if b.op == "gte" else row[b.column] <= b.value)
            for b in selection.bounds
        ]
        return (
            (selection.layer_min is None or row["layer"] >= selection.layer_min)
            and (selection.layer_max is None or row["layer"] <= selection.layer_max)
            and selection.best_token_id in (None, row["best_token_id"])
            and selection.worst_token_id in (None, row["worst_token_id"])
            and selection.dead in (None, row["dead"])
            and exclusive.get(selection.exclusive, selection.exclusive in within)
            and all(bounds)
        )

    key = cmp_to_key(lambda a, b: compare(place(a, sort), place(b, sort), descending))
    return sorted(filter(chosen, rows), key=key)


def ids(rows):
    return [row["neuron_id"] for row in rows]


def walk(atlas, selection, total, limit, **order):
    """Every page from the first to the last, then back to the first."""
    page = page_of_neurons(atlas, selection, total, limit=limit, **order)
    forward = [page]
    while page.next is not None:
        page = page_of_neurons(atlas, selection, total, limit=limit, after=page.next, **order)
        forward.append(page)
    backward = [page]
    while page.previous is not None:
        page = page_of_neurons(atlas, selection, total, limit=limit, before=page.previous, **order)
        backward.append(page)
    return forward, backward[::-1]


def check_walk(index, selection, sort, descending, limit):
    atlas, rows, pairs, _ = index
    expected = ids(brute(rows, pairs, selection, sort, descending))
    total = neuron_facets(atlas, selection).total
    assert total == len(expected)
    forward, backward = walk(atlas, selection, total, limit, sort=sort, descending=descending)
    for pages in (forward, backward):
        assert [neuron.neuron_id for page in pages for neuron in page.rows] == expected
        places = [p for page in pages for p in range(page.offset, page.offset + len(page.rows))]
        assert places == list(range(total))
        assert {page.total for page in pages} == {total}
    assert [len(page.rows) for page in forward[:-1]] == [limit] * (len(forward) - 1)
    assert forward[0].previous is None
    assert backward[-1].next is None


@pytest.mark.parametrize("sort", INDEX_SORTS)
@pytest.mark.parametrize("descending", [True, False])
def test_pages_walked_both_ways_are_the_sorted_list(index, sort, descending):
    check_walk(index, NeuronSelection(), sort, descending, 47)


@st.composite
def selections(draw, rows):
    """Selections that some neurons satisfy: everything they ask is near what one or another row has."""
    maybe = draw(st.fixed_dictionaries({name: st.booleans() for name in ("layers", "best", "worst", "dead", "pair")}))
    row = draw(st.sampled_from(rows))
    bounds = []
    for column, op in draw(
        st.lists(st.tuples(st.sampled_from(RANGE_COLUMNS), st.sampled_from(["gte", "lte"])), max_size=2, unique=True)
    ):
        values = sorted({other[column] for other in rows if other[column] is not None}) or [0.0]
        value = draw(st.sampled_from(values))
        # Also a hair beside a stored float, which a comparison in float32 would take for it.
        bounds.append(Bound(column, op, value * draw(st.sampled_from([1, 1 + 1e-12, 1 - 1e-12]))))
    layers = sorted(draw(st.tuples(*[st.integers(0, 2)] * 2))) if maybe["layers"] else (None, None)
    return NeuronSelection(
        layer_min=layers[0],
        layer_max=layers[1],
        best_token_id=row["best_token_id"] if maybe["best"] and draw(st.booleans()) else None,
        worst_token_id=row["worst_token_id"] if maybe["worst"] and draw(st.booleans()) else None,
        dead=row["dead"] if maybe["dead"] else None,
        exclusive=draw(st.sampled_from(EXCLUSIVE)) if maybe["pair"] else None,
        bounds=tuple(bounds),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_selection_in_any_order(index, data):
    atlas, rows, pairs, _ = index
    selection = data.draw(selections(rows))
    sort, descending = data.draw(st.sampled_from(INDEX_SORTS)), data.draw(st.booleans())
    check_walk(index, selection, sort, descending, data.draw(st.integers(9, 90)))
    exported = neuron_rows(atlas, selection, sort=sort, descending=descending)
    assert [row[0] for row in exported] == ids(brute(rows, pairs, selection, sort, descending))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cursor_may_lie_between_neurons(index, data):
    atlas, rows, _, _ = index
    sort, descending = data.draw(st.sampled_from(INDEX_SORTS)), data.draw(st.booleans())
    elsewhere = st.integers(-9, 400) if sort in WHOLE_COLUMNS else st.floats(-9, 9)
    values = {"null": st.none(), "stored": st.sampled_from([row[sort] for row in rows]), "elsewhere": elsewhere}
    value = data.draw(values[data.draw(st.sampled_from(sorted(values)))])
    cursor = Cursor(value, data.draw(st.integers(0, len(rows))))
    here = (cursor.value, cursor.neuron_id)
    expected = brute(rows, set(), NeuronSelection(), sort, descending)
    later = [row for row in expected if compare(here, place(row, sort), descending) < 0]
    sooner = [row for row in expected if compare(place(row, sort), here, descending) < 0]
    for way, found in (("after", later[:10]), ("before", sooner[-10:])):
        page = page_of_neurons(
            atlas, NeuronSelection(), len(rows), sort=sort, descending=descending, limit=10, **{way: cursor}
        )
        assert [neuron.neuron_id for neuron in page.rows] == ids(found)
        if found:
            assert page.offset == expected.index(found[0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_facets_count_the_selection(index, data):
    atlas, rows, pairs, texts = index
    selection = data.draw(st.one_of(st.just(NeuronSelection()), selections(rows)))
    chosen = brute(rows, pairs, selection)
    facets = neuron_facets(atlas, selection)
    assert facets.total == len(chosen)
    assert [(c.value, c.n) for c in facets.layer] == sorted(Counter(row["layer"] for row in chosen).items())
    assert {c.value: c.n for c in facets.dead} == Counter(row["dead"] for row in chosen)
    tokens = sorted(Counter(row["best_token_id"] for row in chosen).items(), key=lambda item: (-item[1], item[0]))
    assert [(c.value, c.n) for c in facets.best_token] == tokens[:FREQUENT_TOKENS]
    assert [c.token.text for c in facets.best_token] == [texts[c.value] for c in facets.best_token]
    top, bottom = ({n for direction, n in pairs if direction == way} & set(ids(chosen)) for way in ("top", "bottom"))
    counts = {"top": top, "bottom": bottom, "any": top | bottom, "none": set(ids(chosen)) - top - bottom}
    assert {c.value: c.n for c in facets.exclusive} == {word: len(found) for word, found in counts.items() if found}


def test_an_export_has_every_column_and_the_texts(index, monkeypatch):
    atlas, rows, _, texts = index
    monkeypatch.setattr(neuron_index, "_BATCH", 7)
    expected = []
    for row in brute(rows, set(), NeuronSelection(), "token_gap", False):
        wide = {}
        for name, value in row.items():
            wide[name] = value
            if name in ("best_token_id", "worst_token_id"):
                wide[name.removesuffix("_id")] = texts[value]
        expected.append(wide)
    found = list(neuron_rows(atlas, NeuronSelection(), sort="token_gap", descending=False))
    assert tuple(expected[0]) == EXPORT_COLUMNS
    assert found == [tuple(row.values()) for row in expected]


def test_what_cannot_be_asked(index):
    atlas = index[0]
    nothing = NeuronSelection()
    with pytest.raises(QueryError, match=r"Cannot sort neurons by 'name; DROP'; sort by one of neuron_id, best_token"):
        page_of_neurons(atlas, nothing, 1, sort="name; DROP")
    with pytest.raises(QueryError, match=r"Cannot sort neurons by 'name'"):
        next(neuron_rows(atlas, nothing, sort="name"))
    with pytest.raises(QueryError, match=r"Cannot bound neurons by 'name'; bound one of best_congruence, token_gap"):
        neuron_facets(atlas, NeuronSelection(bounds=(Bound("name", "gte", 1),)))
    with pytest.raises(QueryError, match=r"exclusive 'both'; expected one of top, bottom, any, none"):
        neuron_facets(atlas, NeuronSelection(exclusive="both"))
