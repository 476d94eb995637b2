"""Searches over disjoint layers become one: on workers that shared a model, whatever each of them did."""

from __future__ import annotations

import torch
from torch import Tensor

from ingest.congruence.ranked import Congruence, congruence_of, keys_of
from ingest.errors import RankError
from ingest.process import sort_keys as keys


def merge_states(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Merge `state_dict`s of searches over disjoint sets of neurons; also their 'layers', where they have them.

    Neuron lists and sums come from whoever has them; token lists are merged by the tie rule. Order does not matter.

    Raises:
        RankError: the parts differ in shape, or two of them have the same neuron.
    """
    first = parts[0]
    for part in parts[1:]:
        for name in ("neuron_keys", "token_keys", "powers"):
            if part[name].shape != first[name].shape:
                raise RankError(
                    f"Searches to be merged have {list(first[name].shape)} and {list(part[name].shape)} for {name!r}: "
                    "expected searches of one model with the same options. Start all workers with the same ones."
                )
    owners = torch.stack([part["neuron_keys"][0, :, 0] != keys.EMPTY for part in parts]).sum(0)
    if (owners > 1).any():
        neuron = int((owners > 1).nonzero()[0])
        raise RankError(
            f"Neuron {neuron} is in {int(owners[neuron])} of the searches to be merged, expected one at most: share "
            "the layers out so that each is searched by one worker."
        )
    token_keys, k = first["token_keys"], first["token_keys"].shape[2]
    neuron_keys, powers = first["neuron_keys"], first["powers"]
    for part in parts[1:]:  # Empty places hold the least key, sums not made are zero.
        neuron_keys = torch.maximum(neuron_keys, part["neuron_keys"])
        powers = powers + part["powers"]
        token_keys = torch.cat([token_keys, part["token_keys"]], dim=2).topk(k, dim=2).values if k else token_keys
    merged = {"neuron_keys": neuron_keys, "token_keys": token_keys, "powers": powers}
    if all("layers" in part for part in parts):
        merged["layers"] = torch.cat([part["layers"] for part in parts])
    return merged


def merge_congruence(parts: list[Congruence]) -> Congruence:
    """As `merge_states`, for results.

    Raises:
        RankError: as there.
    """
    return congruence_of(merge_states([_state_of(part) for part in parts]))


def _state_of(part: Congruence) -> dict[str, Tensor]:
    neuron_keys = keys_of(part.neuron_token)
    token_keys = keys_of(part.token_neuron) if part.token_neuron else neuron_keys.new_empty((2, 0, 0))
    nothing = torch.zeros(2, 0, dtype=torch.float64, device=neuron_keys.device)
    powers = nothing if part.third is None or part.fourth is None else torch.stack([part.third, part.fourth])
    return {"neuron_keys": neuron_keys, "token_keys": token_keys, "powers": powers}
