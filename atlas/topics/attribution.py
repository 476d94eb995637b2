"""Attribution: which neurons support and oppose what the model predicts, by how many logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas.core.call import OF_NEURON, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.display import column_decimals, show_decimals
from atlas.core.parameter import NeuronId, TokenId
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.reliability import holds_in

MIN_POSITIONS = 10
"""Positions that must predict a token for it to have drivers (tests hold it against what ingest does)."""

CLEAR = 3.0
"""Standard errors between a mean attribution and 0 beyond which it is clear."""


@dataclass(frozen=True)
class TokenDriver:
    """A neuron that supports ('top') or opposes ('bottom') a token's prediction: a row of `token_driver` (see there).

    `congruence` is the pair's; None: the atlas holds no weights.
    """

    TABLE = "token_driver"

    direction: str
    rank: int
    neuron: NeuronRef
    n: int
    attribution: float
    direct: float
    standard_error: float | None
    congruence: float | None
    holds: bool
    """Whether estimates hold in the neuron's layer (see `Reliability`)."""


@dataclass(frozen=True)
class Cause:
    """What a neuron does at the `n` positions where the model predicts a token (see `pair_attribution`)."""

    token: Token
    n: int
    attribution: float
    direct: float
    standard_error: float | None

    @property
    def clear(self) -> bool:
        """Whether the mean lies at least CLEAR standard errors from 0."""
        return self.standard_error is not None and abs(self.attribution) >= CLEAR * self.standard_error

    @property
    def verb(self) -> str:
        """What it does, in a word."""
        return "supports" if self.attribution > 0 else "opposes"

    @property
    def words(self) -> str:
        """What it does, as a clause; the token in “quotes”."""
        decimals = column_decimals([self.attribution], 3)
        mean, error = (show_decimals(value, decimals) for value in (self.attribution, self.standard_error))
        return (
            f"by attribution it {self.verb} “{self.token.shown}” where the model predicts it ({mean} ± {error} logits, "
            f"{self.n:,} positions)"
        )


@dataclass(frozen=True)
class NeuronCause(Cause):
    """The same with the pair's congruence (None: it was not counted), and the neuron's place among the token's drivers
    (see `token_driver`; None: it is none)."""

    congruence: float | None
    direction: str | None
    rank: int | None


@dataclass(frozen=True)
class NeuronAttribution:
    """What a neuron does for predictions on the mean: a row of `neuron_attribution` (see there). `percentile` is the
    fraction of the model's neurons of lower mean magnitude; `holds`: whether estimates hold in its layer."""

    TABLE = "neuron_attribution"

    n_positions: int
    attribution_mean: float
    attribution_abs_mean: float
    direct_mean: float
    direct_abs_mean: float
    percentile: float
    holds: bool


TOKEN_DRIVERS = Statement(
    """SELECT d.direction, d.rank, /*+n.name AS neuron, */d.n, d.attribution, d.direct,
       d.standard_error, array_inner_product(w.w_out, r.readout) AS congruence, d.neuron_id
FROM token_driver AS d/*+ JOIN neuron AS n USING (neuron_id)*/
LEFT JOIN (FROM token_weight WHERE token_id = $token_id) AS r ON r.token_id = d.token_id
LEFT JOIN (
    FROM neuron_weight WHERE neuron_id IN (SELECT neuron_id FROM token_driver WHERE token_id = $token_id)
) AS w ON w.neuron_id = d.neuron_id
WHERE d.token_id = $token_id
ORDER BY d.direction DESC, d.rank""",
    each="d.token_id",
)

NEURON_CAUSES = Statement(
    """SELECT /*+t."text" AS token, */coalesce(d.n, p.n) AS n, coalesce(d.attribution, p.attribution) AS attribution,
       coalesce(d.direct, p.direct) AS direct, coalesce(d.standard_error, p.standard_error) AS standard_error,
       c.congruence, d.direction, d.rank, coalesce(d.token_id, p.token_id) AS token_id
FROM (FROM token_driver WHERE neuron_id = $neuron_id) AS d
FULL JOIN (FROM pair_attribution WHERE neuron_id = $neuron_id) AS p USING (neuron_id, token_id)
LEFT JOIN (FROM candidate_pair WHERE neuron_id = $neuron_id) AS c
    ON c.neuron_id = coalesce(d.neuron_id, p.neuron_id) AND c.token_id = coalesce(d.token_id, p.token_id)/*+
JOIN token AS t ON t.token_id = coalesce(d.token_id, p.token_id)*/
ORDER BY attribution DESC, token_id""",
    each="coalesce(d.neuron_id, p.neuron_id)",
)
"""What a neuron does to the tokens that it is paired with or drives."""

NEURON_ATTRIBUTIONS = Statement("""SELECT neuron_id, n_positions, attribution_mean, attribution_abs_mean, direct_mean,
       direct_abs_mean
FROM neuron_attribution
ORDER BY neuron_id""")
"""Those of all neurons, which the program reads once."""

_CLEAR_CAUSES = f"""
SELECT neuron_id, token_id, n, attribution, direct, standard_error
FROM (
    SELECT neuron_id, token_id, n, attribution, direct, standard_error FROM token_driver
    UNION SELECT neuron_id, token_id, n, attribution, direct, standard_error FROM pair_attribution
)
WHERE n >= {MIN_POSITIONS} AND abs(attribution) >= {CLEAR} * standard_error
ORDER BY neuron_id, abs(attribution) DESC, token_id
"""


@call(OF_TOKEN + "/drivers", python="demo.token({token}).drivers()")
def token_drivers(atlas: Atlas, token_id: TokenId) -> list[TokenDriver]:
    """The neurons that support a token's prediction most, then those that oppose it most. Empty: attribution was off,
    or the model predicts the token at fewer than 10 of the positions read for it.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return [
        TokenDriver(end, rank, ref, *rest, holds_in(atlas, ref.layer))
        for end, rank, *rest, neuron_id in TOKEN_DRIVERS.rows(atlas, token_id=token_id)
        for ref in (neuron_ref(atlas, neuron_id),)
    ]


@call(OF_NEURON + "/causes", python='demo.neuron("{neuron}").causes()')
def neuron_causes(atlas: Atlas, neuron_id: NeuronId) -> list[NeuronCause]:
    """What a neuron does where the model predicts each token that it was counted with or drives: what it supports most
    first, what it opposes most last. Empty: attribution was off, or none of these tokens was predicted."""
    rows = NEURON_CAUSES.rows(atlas, neuron_id=neuron_id)
    return [NeuronCause(atlas.tokens[token_id], *rest) for *rest, token_id in rows]


@call(OF_NEURON + "/attribution", python='demo.neuron("{neuron}").attribution()')
def neuron_attribution(atlas: Atlas, neuron_id: NeuronId) -> list[NeuronAttribution]:
    """What a neuron does for predictions on the mean: one record, or none where attribution was off."""
    columns = _attributions(atlas)
    if not len(columns["neuron_id"]):
        return []
    values = {name: columns[name][neuron_id].item() for name in columns if name not in ("neuron_id", "sorted")}
    below = np.searchsorted(columns["sorted"], values["attribution_abs_mean"]) / len(columns["sorted"])
    holds = holds_in(atlas, neuron_ref(atlas, neuron_id).layer)
    return [NeuronAttribution(**values, percentile=float(below), holds=holds)]


def attributed_positions(atlas: Atlas) -> int:
    """Positions read for attribution; 0: it was off."""
    columns = _attributions(atlas)
    return int(columns["n_positions"][0]) if len(columns["n_positions"]) else 0


def attribution_magnitudes(atlas: Atlas, neuron_ids: Sequence[int]) -> list[float | None]:
    """Mean magnitudes of the attribution of neurons; None: attribution was off."""
    values = _attributions(atlas)["attribution_abs_mean"]
    return [float(values[i]) if len(values) else None for i in neuron_ids]


def _attributions(atlas: Atlas) -> dict[str, np.ndarray]:
    """Columns of `neuron_attribution`, by neuron_id, and the magnitudes sorted."""

    def read() -> dict[str, np.ndarray]:
        columns = _plain(NEURON_ATTRIBUTIONS.arrays(atlas))
        return columns | {"sorted": np.sort(columns["attribution_abs_mean"])}

    return atlas.shared("attributions of neurons", lambda: read().items())


def clearest_cause(atlas: Atlas, neuron_id: int, token: Token | None) -> Cause | None:
    """What a neuron clearly does where the model predicts `token`; else, what it clearly does to the token that it
    supports or opposes most. None: nothing, or estimates do not hold in its layer."""
    if not holds_in(atlas, neuron_ref(atlas, neuron_id).layer):
        return None
    columns = atlas.shared("clear causes", lambda: _plain(atlas.arrays(_CLEAR_CAUSES)).items())
    first, end = np.searchsorted(columns["neuron_id"], (neuron_id, neuron_id + 1))
    if first == end:
        return None
    same = np.flatnonzero(columns["token_id"][first:end] == (-1 if token is None else token.token_id))
    token_id, *numbers = (columns[name][first + (same[0] if len(same) else 0)].item() for name in _CAUSE)
    return Cause(atlas.tokens[token_id], *numbers)


_CAUSE = ("token_id", "n", "attribution", "direct", "standard_error")


def _plain(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in columns.items()}


TERMS = (
    Term(
        "Attribution",
        "attribution",
        "What a neuron does for a prediction, to first order: at a position that predicts a token, (activation − the "
        "neuron's mean) × the derivative of the token's logit, less the mean logit, by the activation, with "
        "attention's keys and values held. About how many logits the token loses there if the neuron is set to its "
        "mean; below 0 the neuron opposes the token.",
        "SELECT count(*) AS neurons, max(n_positions) AS positions, avg(attribution_abs_mean) AS mean_magnitude\n"
        "FROM neuron_attribution",
    ),
    Term(
        "Direct part",
        "direct-part",
        "The part of an attribution that goes straight to the logits: (activation − the neuron's mean) × congruence / "
        "the final norm's scale. It leaves out what later layers, and the norm, do about it.",
        "SELECT sum(attribution * direct) / sum(direct * direct) AS kept, count(*) AS pairs\n"
        "FROM pair_attribution WHERE n >= 10",
    ),
    Term(
        "Driver",
        "driver",
        "One of the 50 neurons that support a token's prediction most, or of the 50 that oppose it most, on the mean "
        "over the positions that predict it.",
        "SELECT count(*) AS drivers, count(DISTINCT token_id) AS tokens, count(DISTINCT neuron_id) AS neurons\n"
        "FROM token_driver",
    ),
)
