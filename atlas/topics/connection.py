"""Connections between neurons by their weights: what a neuron writes to, and what it reads from."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.option import IngestOption
from atlas.core.parameter import NeuronId
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import NeuronRef, neuron_ref


@dataclass(frozen=True)
class Connection:
    """A neuron of another layer in a neuron's list of those that it writes to, or reads."""

    TABLE = "neuron_downstream"

    side: str
    """Weights that read: 'in', the input weights of the later neuron; 'gate' (gated models), its gate."""
    direction: str
    """'top': the highest weight first. 'bottom': the lowest first."""
    rank: int
    """Place in that direction, from 1."""
    other: NeuronRef
    """The neuron at the other end."""
    weight: float
    """Output weights of the earlier neuron times the weights with which the later one reads."""


OPTION = IngestOption("--connections", "Keep which neurons of later layers read each neuron most.")

_LIST = """SELECT l.side, l.direction, l.rank, /*+o.name AS other, */l.weight, l.other_neuron_id/*+, p.predicts,
       t."text" AS best_token*/
FROM {table} AS l/*+
JOIN neuron AS o ON o.neuron_id = l.other_neuron_id
JOIN token AS t ON t.token_id = o.best_token_id
LEFT JOIN neuron_prediction AS p ON p.neuron_id = l.other_neuron_id*/
WHERE l.neuron_id = $neuron_id/*+
ORDER BY l.side DESC, l.direction DESC, l.rank*/"""

DOWNSTREAM = Statement(_LIST.format(table="neuron_downstream"), each="l.neuron_id")
UPSTREAM = Statement(_LIST.format(table="neuron_upstream"), each="l.neuron_id")


def has_connections(atlas: Atlas) -> bool:
    """Whether connections are kept: atlases ingested with --connections."""
    return atlas.remembered("has connections", lambda: bool(atlas.rows("SELECT EXISTS (FROM neuron_downstream)")[0][0]))


@call(OF_NEURON + "/downstream", python='demo.neuron("{neuron}").downstream()', title="neurons it writes to")
def downstream(atlas: Atlas, neuron_id: NeuronId) -> list[Connection]:
    """The neurons of later layers that read a neuron's output weights most, and least, by their input weights and by
    their gate; empty where the atlas was ingested without --connections."""
    return _connections(atlas, DOWNSTREAM, neuron_id)


@call(OF_NEURON + "/upstream", python='demo.neuron("{neuron}").upstream()', title="neurons it reads")
def upstream(atlas: Atlas, neuron_id: NeuronId) -> list[Connection]:
    """The neurons of earlier layers whose output weights a neuron reads most, and least, with its input weights and
    with its gate; empty where the atlas was ingested without --connections."""
    return _connections(atlas, UPSTREAM, neuron_id)


def _connections(atlas: Atlas, statement: Statement, neuron_id: int) -> list[Connection]:
    connections = [
        Connection(side, end, rank, neuron_ref(atlas, other), weight)
        for side, end, rank, weight, other in statement.rows(atlas, neuron_id=neuron_id)
    ]
    return sorted(connections, key=lambda item: (item.side != "in", item.direction != "top", item.rank))


TERMS = (
    Term(
        "Writes to, reads from",
        "connection",
        "Two neurons are connected as strongly as the output weights of the earlier one point along the input weights "
        "(or the gate) of the later one: their dot product is what one unit of the earlier activation adds to what the "
        "later neuron reads. Weights alone: neither how often the earlier fires, nor what attention and the blocks in "
        "between make of it, nor the norm in front of the later neuron is included. Kept by atlas ingest "
        "--connections.",
        "SELECT count(*) AS connections, max(weight) AS greatest, min(weight) AS least FROM neuron_downstream",
    ),
)
