"""Calls about tokens."""

from __future__ import annotations

from atlas.core.call import Page, call
from atlas.core.db import Atlas
from atlas.core.parameter import AfterRow, End, Exactly, Few, Limit, TokenId
from atlas.core.units import Token
from atlas.topics.curve import Candidate
from atlas.topics.curve import token_candidates as read_token_candidates
from atlas.topics.pair import ExclusivePair
from atlas.topics.search import tokens_by_text
from atlas.topics.spread import NeuronSpread, neuron_spread
from atlas.topics.token import CongruentNeuron, TokenRow, token_row
from atlas.topics.token import token_neurons as read_token_neurons
from atlas.topics.token import token_pairs as read_token_pairs

_TOKEN = "atlases/{atlas}/tokens/{token}"


@call("atlases/{atlas}/tokens", python="demo.tokens(limit=20)", limit=20)
def tokens(atlas: Atlas, text: Exactly | None = None, after: AfterRow = 0, limit: Limit = 100) -> Page[Token]:
    """Tokens by id: the vocabulary, or those of exactly a text (several, where bytes are not UTF-8 by themselves)."""
    if text is None:
        rows, total = range(after, min(after + limit, atlas.info.d_vocab)), atlas.info.d_vocab
        found = atlas.tokens.many(rows)
    else:
        every = tokens_by_text(atlas, text)
        found, total = tuple(every[after : after + limit]), len(every)
    return Page(found, total, str(after + len(found)) if found and after + len(found) < total else None)


@call(_TOKEN, python="demo.token({token}).record")
def token(atlas: Atlas, token: TokenId) -> TokenRow:
    """One token: its row of the table `token`."""
    return token_row(atlas, token)


@call(_TOKEN + "/neurons", python="demo.token({token}).best_neurons")
def token_neurons(atlas: Atlas, token: TokenId, direction: End | None = None) -> tuple[CongruentNeuron, ...]:
    """The neurons most and least congruent with a token, those first."""
    _check(atlas, token)
    return tuple(item for item in read_token_neurons(atlas, token) if direction in (None, item.direction))


@call(_TOKEN + "/pairs", python="demo.token({token}).pairs()")
def token_pairs(atlas: Atlas, token: TokenId) -> tuple[ExclusivePair, ...]:
    """The exclusive pairs that a token is in: at most one of each direction."""
    _check(atlas, token)
    return tuple(read_token_pairs(atlas, token))


@call(_TOKEN + "/candidates", python="demo.token({token}).candidates()")
def token_candidates(atlas: Atlas, token: TokenId) -> tuple[Candidate, ...]:
    """The pairs of a token whose predictions were counted, the most congruent first."""
    return tuple(read_token_candidates(atlas, token))


@call(_TOKEN + "/relatives", python="demo.token({token}).relatives()")
def relatives(atlas: Atlas, token: TokenId) -> tuple[Token, ...]:
    """Other tokens with the same letters: equal after stripping spaces and case."""
    return tuple(atlas.tokens.relatives(token))


@call(_TOKEN + "/spread", python="demo.token({token}).spread()")
def token_spread(atlas: Atlas, token: TokenId, limit: Few = 60) -> NeuronSpread:
    """A token's congruence with every neuron: quantiles by layer, and the neurons farthest from zero."""
    return neuron_spread(atlas, token, limit=limit)


def _check(atlas: Atlas, token: int) -> None:
    atlas.tokens[token]  # raises TokenError for an id that is out of range
