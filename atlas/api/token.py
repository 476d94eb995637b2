"""Calls about tokens."""

from __future__ import annotations

from atlas import queries
from atlas.api.call import Page, call
from atlas.api.kinds import AfterRow, End, Exactly, Few, Limit, TokenId
from atlas.db import Atlas
from atlas.records import Candidate, CongruentNeuron, ExclusivePair, NeuronSpread, Token, TokenRow

_TOKEN = "atlases/{atlas}/tokens/{token}"


@call("atlases/{atlas}/tokens", python="demo.tokens(limit=20)", limit=20)
def tokens(atlas: Atlas, text: Exactly | None = None, after: AfterRow = 0, limit: Limit = 100) -> Page[Token]:
    """Tokens by id: the vocabulary, or those of exactly a text (several, where bytes are not UTF-8 by themselves)."""
    if text is None:
        rows, total = range(after, min(after + limit, atlas.info.d_vocab)), atlas.info.d_vocab
        found = atlas.tokens.many(rows)
    else:
        every = queries.tokens_by_text(atlas, text)
        found, total = tuple(every[after : after + limit]), len(every)
    return Page(found, total, str(after + len(found)) if found and after + len(found) < total else None)


@call(_TOKEN, python="demo.token({token}).record")
def token(atlas: Atlas, token: TokenId) -> TokenRow:
    """One token: its row of the table `token`."""
    return queries.token_row(atlas, token)


@call(_TOKEN + "/neurons", python="demo.token({token}).best_neurons")
def token_neurons(atlas: Atlas, token: TokenId, direction: End | None = None) -> tuple[CongruentNeuron, ...]:
    """The neurons most and least congruent with a token, those first."""
    _check(atlas, token)
    return tuple(item for item in queries.token_neurons(atlas, token) if direction in (None, item.direction))


@call(_TOKEN + "/pairs", python="demo.token({token}).pairs()")
def token_pairs(atlas: Atlas, token: TokenId) -> tuple[ExclusivePair, ...]:
    """The exclusive pairs that a token is in: at most one of each direction."""
    _check(atlas, token)
    return tuple(queries.token_pairs(atlas, token))


@call(_TOKEN + "/candidates", python="demo.token({token}).candidates()")
def token_candidates(atlas: Atlas, token: TokenId) -> tuple[Candidate, ...]:
    """The pairs of a token whose predictions were counted, the most congruent first."""
    return tuple(queries.token_candidates(atlas, token))


@call(_TOKEN + "/relatives", python="demo.token({token}).relatives()")
def relatives(atlas: Atlas, token: TokenId) -> tuple[Token, ...]:
    """Other tokens with the same letters: equal after stripping spaces and case."""
    return tuple(atlas.tokens.relatives(token))


@call(_TOKEN + "/spread", python="demo.token({token}).spread()")
def token_spread(atlas: Atlas, token: TokenId, limit: Few = 60) -> NeuronSpread:
    """A token's congruence with every neuron: quantiles by layer, and the neurons farthest from zero."""
    return queries.neuron_spread(atlas, token, limit=limit)


def _check(atlas: Atlas, token: int) -> None:
    atlas.tokens[token]  # raises TokenError for an id that is out of range
