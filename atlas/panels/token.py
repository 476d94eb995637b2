"""SQL of a token's page."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.core.statements import literal
from atlas.panels.family import family_panel, kin_panel
from atlas.panels.pair import CANDIDATES, EXCLUSIVE, curves
from atlas.queries.family import BEST, SHARED
from atlas.queries.study import ASKS_FOR

KIN = 20
"""Tokens shown that share best neurons with one."""

_NEURONS = """SELECT n.name AS neuron, l.rank, l.congruence
FROM token_neuron AS l JOIN neuron AS n USING (neuron_id)
WHERE l.token_id = {token} AND l.direction = '{direction}'
ORDER BY l.rank"""

_RELATIVES = """SELECT t."text" AS token, t.n_actual, t.n_predicted, t.token_id
FROM token AS t, (SELECT "text" FROM token WHERE token_id = {token}) AS q
WHERE lower(trim(t."text")) = lower(trim(q."text")) AND trim(q."text") <> '' AND t.token_id <> {token}
ORDER BY t.token_id
LIMIT 30"""

_OF_TEXT = """SELECT token_id, "text" AS token, bytes, n_actual, n_predicted
FROM token
WHERE "text" = {text}
ORDER BY token_id"""


def token_panels(token_id: int, neurons: Sequence[int] = ()) -> dict[str, str]:
    """SQL of a token's page by panel. `neurons` are those whose curves are drawn."""
    panels = {
        "relatives": _RELATIVES.format(token=token_id),
        "family": family_panel(token_id),
        "studies": ASKS_FOR.shown(token=token_id),
        "kin": kin_panel(token_id, BEST, SHARED, KIN),
        "pairs": EXCLUSIVE.format(key="token_id", value=token_id),
        "neurons": "\nUNION ALL\n".join(
            f"SELECT * FROM (\n{_NEURONS.format(token=token_id, direction=direction)})"
            for direction in ("top", "bottom")
        ),
        "candidates": CANDIDATES.format(key="token_id", value=token_id),
        "numbers": f"SELECT * FROM token WHERE token_id = {token_id}",
    }
    if neurons:
        panels["curves"] = curves([(neuron, token_id) for neuron in neurons])
    return panels


def token_choice_panel(wanted: str) -> str:
    """SQL of the tokens of exactly a text."""
    return _OF_TEXT.format(text=literal(wanted))
