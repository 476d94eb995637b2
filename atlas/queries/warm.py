"""What an atlas's pages need that is made once in a process, made before anyone asks."""

from __future__ import annotations

from atlas.db import Atlas
from atlas.queries.atlas import column_comments
from atlas.queries.kind import neuron_kind
from atlas.queries.neuron import neuron
from atlas.queries.overview import highlights
from atlas.queries.percentile import neighbours, percentiles
from atlas.texts import texts_by_id
from atlas.token_index import token_index


def warm(atlas: Atlas) -> None:
    """Read the vocabulary, the texts and the sorted columns, and what the overview shows: seconds for a large atlas."""
    token_index(atlas)
    neighbours(atlas, 0)
    percentiles(atlas, neuron(atlas, 0))
    texts_by_id(atlas, ())
    for table in ("atlas", "neuron", "token", "exclusive_pair"):
        column_comments(atlas, table)
    highlights(atlas)
    neuron_kind(atlas, 0)
