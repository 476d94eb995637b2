"""The columns of `neuron` as people read them, against the schema and the record."""

from __future__ import annotations

import duckdb
import pytest

from atlas.core.units import field_names
from atlas.topics.layer import SUMMARY_COLUMNS, LayerSummary
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_columns import COLUMN, COLUMNS, columns_of

PLACES = {"list", "index", "layer", "compare", "terminal", "strip"}


def test_every_column_of_the_table_is_shown_somewhere(tiny_llama_atlas):
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        types = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE neuron)").fetchall())
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert set(types) - set(names) == {"layer", "name", "dead"}
    assert {column.name for column in COLUMNS if column.whole} == {name for name in names if types[name] == "INTEGER"}
    assert {column.field for column in COLUMNS} <= set(field_names(Neuron))
    assert {place for column in COLUMNS for place in column.shown} == PLACES


def test_a_layers_columns_are_those_of_its_record():
    assert {column.name for column in SUMMARY_COLUMNS} <= set(field_names(LayerSummary))


@pytest.mark.parametrize("place", sorted(PLACES))
def test_places_keep_one_order(place):
    places = [COLUMNS.index(column) for column in columns_of(place)]
    assert places
    assert places == sorted(places)


def test_a_column_shows_its_numbers():
    assert COLUMN["positive_fraction"].show(0.65932) == "65.9%"
    assert COLUMN["worst_congruence"].show(-1.23456) == "−1.235"
    assert COLUMN["hub_count"].show(12345) == "12,345"
    assert COLUMN["token_gap"].show(None) == "–"
    assert COLUMN["congruence_mean"].show(-6.411e-09) == "0"
    assert COLUMN["token_gap"].decimals([None, 11.4441, 0.002]) == 2
    assert COLUMN["token_gap"].decimals([0.02762, None]) == 5
    assert COLUMN["activation_max"].decimals([3714.87, 2.5]) == 0
    assert [COLUMN["token_gap"].show(value, 2) for value in (11.4441, 2.0, -0.001)] == ["11.44", "2.00", "0.00"]
    assert COLUMN["positive_fraction"].show(0.5, COLUMN["positive_fraction"].decimals([0.65932, 0.5])) == "50.0%"
    assert COLUMN["in_out_cosine"].decimals([1.0]) == 3
    assert COLUMN["in_out_cosine"].label == "in-out cosine"
    assert COLUMN["token_gap_bottom"].label == "token gap bottom"
