"""Calls about all the atlases that are open, about one as a whole, and searches."""

from __future__ import annotations

from collections.abc import Mapping

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.display import read_shown
from atlas.core.info import AtlasInfo
from atlas.core.parameter import Most, Query
from atlas.glossary import TERMS
from atlas.glossary.term import Term
from atlas.topics.search import Matches, Suggestion, matching_tokens, named_neuron, suggestions, text_matches


@call("atlases", python="atlas.open({place!r}).info")
def atlases(served: Mapping[str, Atlas]) -> tuple[AtlasInfo, ...]:
    """The atlases that are served."""
    return tuple(atlas.info for atlas in served.values())


@call("glossary", python="demo.glossary()")
def glossary(served: Mapping[str, Atlas]) -> tuple[Term, ...]:
    """What every number means, and the SQL that computes it."""
    return TERMS


@call(OF_ATLAS, python="demo.info")
def info(atlas: Atlas) -> AtlasInfo:
    """What an atlas is of: the row of the table `atlas`."""
    return atlas.info


@call(OF_ATLAS + "/search", python='demo.search("an")', q="an")
def search(atlas: Atlas, q: Query, limit: Most = 50) -> Matches:
    """The neuron of a name, tokens of a text (at most `limit` in each list), neurons whose texts fire them there."""
    return Matches(
        named_neuron(atlas, q),
        matching_tokens(atlas, q, limit),
        text_matches(atlas, read_shown(q), limit),
    )


@call(OF_ATLAS + "/suggest", python='demo.suggest("an")', q="an")
def suggest(atlas: Atlas, q: Query, limit: Most = 10) -> tuple[Suggestion, ...]:
    """What a search box suggests while one types: neurons, then tokens, the likeliest first."""
    return tuple(suggestions(atlas, q, limit))
