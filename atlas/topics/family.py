"""Families of tokens that differ only in case and surrounding space, and predictions of a whole family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.core.call import OF_NEURON, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.parameter import Most, NeuronId, TokenId
from atlas.core.statements import Statement
from atlas.core.term import BEST_PAIR, POST, Term
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.curve import Curve, CurvePoint, curve_point, neuron_candidates
from atlas.topics.hub import neuron_occurrences
from atlas.topics.neuron import find_neuron
from atlas.topics.pair import FAMILY_GAP, ExclusivePair


@dataclass(frozen=True)
class FamilyMember:
    """A token of a family, and how often it occurs."""

    token: Token
    """The token."""
    n_predicted: int
    """Counted positions at which it is the model's top prediction."""
    n_actual: int
    """Counted positions after which it really comes next."""


@dataclass(frozen=True)
class FamilyTail:
    """Predictions at the strongest positions of a neuron: whole bins from the end until they hold 100."""

    n: int
    """Positions in these bins."""
    edge: float
    """Where they begin: activation at least this, or below it where `direction` of the family is 'bottom'."""
    n_token: int
    """Of these, positions at which the token itself is predicted."""
    n_family: int
    """Of these, positions at which any member is predicted."""


@dataclass(frozen=True)
class FamilyCurve:
    """Predictions of a neuron's best (or worst) token, alone and with its family, against activation."""

    neuron: NeuronRef
    """The neuron."""
    token: Token
    """Its best token, or its worst."""
    direction: str
    """'top': its best token; 'bottom' (gated models): its worst."""
    members: tuple[FamilyMember, ...]
    """The token's family by id, itself included: equal after stripping space at both ends and letter case."""
    alone: Curve
    """The token's own curve."""
    points: tuple[CurvePoint, ...]
    """The family's: a position counts once if any member is predicted (really next)."""
    tail: FamilyTail
    """Predictions of both at the neuron's strongest positions, on the side on which it writes the token."""


@dataclass(frozen=True)
class FamilyPair:
    """An exclusive pair with the other spellings of its token set aside."""

    family_gap: float | None
    """The token gap to the best token of another family. None: every stored token of the neuron is in the family."""
    family_rank: int
    """Place among all exclusive pairs of the direction by family gap × neuron gap, from 1."""


@dataclass(frozen=True)
class KinToken:
    """A token that shares best neurons with another."""

    token: Token
    """The token."""
    likeness: float
    """Weighted Jaccard index of the two lists of 5 best neurons, 0 to 1: a neuron weighs ln(d_vocab / tokens in whose
    lists it is), so that hubs count little."""
    shared: tuple[NeuronRef, ...]
    """The neurons in both lists, in the order of the other token's."""
    same_family: bool
    """Whether the two tokens differ in spelling alone."""


_NOT_A_CHARACTER = "�"


def _spelling(text: str | None) -> str | None:
    return None if text is None or _NOT_A_CHARACTER in text else text.strip().casefold() or None


def family_ids(texts: Sequence[str | None], special: Sequence[bool]) -> np.ndarray:
    """The family of each token, identified by the lowest id among its members: [token], int64.

    Members are equal after stripping space at both ends (a word's start is a space there) and letter case. A token is a
    family of its own if it is special, is not in the tokenizer (text None), is only space, or is not whole characters,
    since its text then does not determine its bytes.
    """
    family = np.arange(len(texts), dtype=np.int64)
    first: dict[str, int] = {}
    for token_id, (text, apart) in enumerate(zip(texts, special, strict=True)):
        spelling = None if apart else _spelling(text)
        if spelling is not None:
            family[token_id] = first.setdefault(spelling, token_id)
    return family


TAIL = 100
"""Fewest positions of an activation's tail, in whole bins."""

BEST = 5
"""Best neurons of a token that are compared with those of others."""

SHARED = 2
"""Fewest of those that kin share."""

FAMILY = Statement(
    """SELECT t."text" AS token, t.n_predicted, t.n_actual, t.token_id
FROM token_family AS f JOIN token_family AS m USING (family_id) JOIN token AS t ON t.token_id = m.token_id
WHERE f.token_id = $token_id
ORDER BY t.token_id""",
    each="f.token_id",
)

FAMILY_CURVES = Statement("""SELECT /*+b.lower, b.upper, */h.bin, h.n, coalesce(p.n_predicted, 0) AS n_predicted,
       coalesce(p.n_actual, 0) AS n_actual, coalesce(f.n_predicted, 0) AS family_predicted,
       coalesce(f.n_actual, 0) AS family_actual
FROM activation_histogram AS h/*+ JOIN histogram_bin AS b USING (bin)*/
LEFT JOIN (
    SELECT bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = $neuron_id AND token_id = $token_id
) AS p USING (bin)
LEFT JOIN (
    SELECT bin, n_predicted, n_actual FROM family_histogram WHERE neuron_id = $neuron_id AND family_id = $family_id
) AS f USING (bin)
WHERE h.neuron_id = $neuron_id
ORDER BY h.bin""")

FAMILY_PAIRS = Statement(f"""WITH pairs AS (SELECT p.*, {FAMILY_GAP} AS family_gap FROM exclusive_pair AS p)
SELECT p.neuron_id, p.direction,
       /*+n.name AS neuron, t."text" AS token, p.rank, p.token_gap, p.neuron_gap, */p.family_gap,
       row_number() OVER (
           PARTITION BY p.direction ORDER BY p.family_gap * p.neuron_gap DESC NULLS LAST, p.neuron_id
       ) AS family_rank
FROM pairs AS p/*+ JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)
ORDER BY p.direction DESC, family_rank*/""")
"""All exclusive pairs; the program reads them once."""

# A neuron weighs less the more tokens have it among their best.
KIN = Statement("""WITH best AS (
    SELECT token_id, neuron_id, ln((SELECT d_vocab FROM atlas) / count(*) OVER (PARTITION BY neuron_id)) AS weight
    FROM token_neuron WHERE direction = 'top' AND rank <= $best
),
own AS (SELECT neuron_id FROM best WHERE token_id = $token_id),
total AS (SELECT token_id, sum(weight) AS weight FROM best GROUP BY token_id),
shared AS (
    SELECT b.token_id, count(*) AS n, sum(b.weight) AS weight, list(n.name ORDER BY b.neuron_id) AS neurons
    FROM best AS b SEMI JOIN own USING (neuron_id) JOIN neuron AS n USING (neuron_id)
    WHERE b.token_id <> $token_id GROUP BY b.token_id
)
SELECT t."text" AS token,
       s.weight / (o.weight + (SELECT weight FROM total WHERE token_id = $token_id) - s.weight) AS likeness,
       s.n AS n_shared, s.neurons AS shared, s.token_id
FROM shared AS s JOIN total AS o USING (token_id) JOIN token AS t USING (token_id)
WHERE s.n >= $shared AND s.weight > 0
ORDER BY likeness DESC, s.token_id
LIMIT $limit""")
"""The rows of `kin`, which answers from memory; `$best` is BEST, `$shared` SHARED."""


@call(OF_TOKEN + "/family", name="token_family", python="demo.token({token}).family()")
def family(atlas: Atlas, token_id: TokenId) -> list[FamilyMember]:
    """The tokens that differ from a token in spelling alone, itself included; empty where there are none.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return [FamilyMember(atlas.tokens[t], *counts) for _, *counts, t in FAMILY.rows(atlas, token_id=token_id)]


def has_family(atlas: Atlas, token_id: int) -> bool:
    """Whether a token has relatives that differ in spelling alone."""

    def read() -> frozenset[int]:
        return frozenset(np.asarray(atlas.arrays("SELECT token_id FROM token_family")["token_id"]).tolist())

    return token_id in atlas.remembered("tokens of families", read)


def family_pairs(atlas: Atlas, pairs: Iterable[ExclusivePair]) -> list[FamilyPair]:
    """Exclusive pairs with the other spellings of their tokens set aside, in their order. The first call reads all
    pairs, which takes about 200 ms."""

    def read() -> tuple[dict[tuple[int, str], int], np.ndarray, np.ndarray]:
        columns = FAMILY_PAIRS.arrays(atlas)
        keys = zip(columns["neuron_id"].tolist(), columns["direction"].tolist(), strict=True)
        return {key: row for row, key in enumerate(keys)}, columns["family_gap"], columns["family_rank"]

    # Arrays, not a record for each pair: the collector would walk them all.
    row_of, gaps, ranks = atlas.remembered("families of pairs", read)
    rows = (row_of[pair.neuron.neuron_id, pair.direction] for pair in pairs)
    return [FamilyPair(gaps[row : row + 1].tolist()[0], int(ranks[row])) for row in rows]


@call(OF_NEURON + "/families", name="neuron_families", python='demo.neuron("{neuron}").families()')
def family_curves(atlas: Atlas, neuron_id: NeuronId) -> list[FamilyCurve]:
    """Predictions of a neuron's best token (gated models: then its worst) alone and with its family; empty where it has
    no relatives.

    Raises:
        NeuronNameError: the id is out of range.
    """
    record = find_neuron(atlas, neuron_id)
    ends = {"top": record.best_token, "bottom": record.worst_token} if atlas.info.gated else {"top": record.best_token}
    ends = {direction: token for direction, token in ends.items() if has_family(atlas, token.token_id)}
    if not ends:
        return []
    candidates = {item.token: item for item in neuron_candidates(atlas, neuron_id)}
    curves = []
    for direction, token in ends.items():
        members = tuple(family(atlas, token.token_id))
        ids = {"neuron_id": neuron_id, "token_id": token.token_id, "family_id": members[0].token.token_id}
        rows = FAMILY_CURVES.rows(atlas, **ids)
        own = tuple(curve_point(*row[:4]) for row in rows)
        points = tuple(curve_point(*row[:2], *row[4:]) for row in rows)
        alone = Curve(candidates[token], own)
        tail = _tail(own, points, direction)
        curves.append(FamilyCurve(neuron_ref(atlas, neuron_id), token, direction, members, alone, points, tail))
    return curves


def _tail(alone: tuple[CurvePoint, ...], points: tuple[CurvePoint, ...], direction: str) -> FamilyTail:
    n = n_token = n_family = 0
    both = list(zip(alone, points, strict=True))
    for own, one in both if direction == "bottom" else reversed(both):
        n, n_token, n_family = n + one.n, n_token + own.n_predicted, n_family + one.n_predicted
        edge = one.upper if direction == "bottom" else one.lower
        if n >= TAIL:
            break
    return FamilyTail(n, edge, n_token, n_family)


@call(OF_TOKEN + "/kin", name="token_kin", python="demo.token({token}).kin()")
def kin(atlas: Atlas, token_id: TokenId, limit: Most = 20) -> list[KinToken]:
    """The tokens that share best neurons with a token, the most similar first.

    They share at least SHARED of their BEST best neurons; ties by id.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    lists, weights, totals, by_neuron = atlas.remembered_large("best neurons of tokens", lambda: _best(atlas))
    own = lists[token_id]
    near = np.unique(np.concatenate([by_neuron[one] for one in own]))  # the tokens that share any
    shared = np.any([lists[near] == one for one in own], axis=0)
    common = (weights[lists[near]] * shared).sum(axis=1)
    both = totals[token_id] + totals[near] - common
    likeness = np.divide(common, both, out=np.zeros_like(common), where=both > 0)
    enough = (shared.sum(axis=1) >= SHARED) & (likeness > 0) & (near != token_id)
    others, likeness = near[enough], likeness[enough]
    relatives = {member.token.token_id for member in family(atlas, token_id)}
    return [
        KinToken(
            atlas.tokens[other],
            float(likeness[place]),
            tuple(neuron_ref(atlas, n) for n in own.tolist() if n in lists[other]),
            other in relatives,
        )
        for place in np.lexsort((others, -likeness))[:limit].tolist()
        for other in (int(others[place]),)
    ]


def _best(atlas: Atlas) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """The best neurons of every token, [token, rank]; the weight of every neuron; the sum of weights of each list; the
    tokens in whose lists each neuron is."""
    d_vocab, k = atlas.info.d_vocab, min(BEST, atlas.info.top_neurons)
    rows = atlas.arrays(
        "SELECT neuron_id FROM token_neuron WHERE direction = 'top' AND rank <= ? ORDER BY token_id, rank", k
    )
    lists = np.asarray(rows["neuron_id"]).reshape(d_vocab, -1)
    weights = np.log(d_vocab / np.maximum(neuron_occurrences(atlas, k), 1))
    order = np.argsort(lists, axis=None, kind="stable")
    starts = np.searchsorted(lists.ravel()[order], np.arange(1, atlas.info.n_neurons))
    return lists, weights, weights[lists].sum(axis=1), np.split((order // lists.shape[1]).astype(np.int32), starts)


TERMS = (
    Term(
        "Family",
        "family",
        "Tokens that differ in spelling alone: equal after stripping space at both ends and letter case (' an', "
        "'an', ' An'). A neuron that writes one is likely to write the others, which looks like noise in the curve "
        "of one. For each neuron's best token the predictions of the whole family are counted too: a position counts "
        "once if any member is predicted.",
        'SELECT count(*) AS members, list(t."text" ORDER BY t.token_id)[:8] AS tokens, sum(n_predicted) AS predicted\n'
        "FROM token_family AS f JOIN token AS t USING (token_id)\n"
        "GROUP BY f.family_id ORDER BY predicted DESC, f.family_id LIMIT 3",
        POST,
    ),
    Term(
        "Family gap",
        "family-gap",
        "Token gap of an exclusive pair with the other spellings of its token set aside: the congruence of the "
        "neuron's best token less that of its best token of another family. ' An' close behind ' an' makes the token "
        "gap small and says nothing against the pair.",
        FAMILY_PAIRS.shown() + "\nLIMIT 3",
    ),
    Term(
        "Kin",
        "kin",
        "Tokens that share at least two of their five best neurons, as the post found ' though' and ' however' to "
        "do. Their similarity is the weighted Jaccard index of the two lists, 0 to 1: a neuron weighs the "
        "logarithm of the vocabulary's size over the number of tokens in whose lists it is, so that hubs count "
        "little.",
        BEST_PAIR + "SELECT count(*) AS kin FROM (\n"
        "    SELECT other.token_id FROM best JOIN token_neuron AS own USING (token_id)\n"
        "    JOIN token_neuron AS other ON other.neuron_id = own.neuron_id AND other.token_id <> own.token_id\n"
        "    WHERE own.direction = 'top' AND own.rank <= 5 AND other.direction = 'top' AND other.rank <= 5\n"
        "    GROUP BY other.token_id HAVING count(*) >= 2\n)",
        POST,
    ),
)
