"""The result of a congruence search, the state of a search that is under way, and the union of searches over disjoint
layers, which may run on different workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.errors import CheckpointError, RankError
from ingest.process import sort_keys as keys

DIRECTIONS = {"top": 1.0, "bottom": -1.0}
"""Direction to sign: the bottom lists are the top lists of negated values. Also the order of stacked states."""


@dataclass(frozen=True)
class RankedList:
    """Ids and values of ranked lists, best first: top descending, bottom ascending. Id -1 marks an empty place."""

    ids: Int[Tensor, "row k"]
    values: Float[Tensor, "row k"]

    def first(self, k: int) -> RankedList:
        """The first `k` places."""
        return RankedList(self.ids[:, :k], self.values[:, :k])


@dataclass(frozen=True)
class Congruence:
    """Ranked tokens of neurons, ranked neurons of tokens (each by direction), and sums of powers over tokens.

    A search over some layers only leaves the others' lists empty and their sums zero. `token_neuron` is empty when no
    neurons are kept for tokens; the sums are None when no moments were requested.
    """

    neuron_token: dict[str, RankedList]
    token_neuron: dict[str, RankedList]
    third: Float[Tensor, " neuron"] | None
    """Sum over tokens of (congruence - its mean)^3, float64."""
    fourth: Float[Tensor, " neuron"] | None
    """Sum over tokens of (congruence - its mean)^4, float64."""


def ranked_of(stacked: Int[Tensor, "direction row k"]) -> dict[str, RankedList]:
    """The lists of packed keys."""
    return {
        direction: RankedList(keys.decode_ids(part), keys.decode_values(part) * sign)
        for part, (direction, sign) in zip(stacked, DIRECTIONS.items(), strict=True)
    }


class SearchState:
    """Lists and sums of a search in progress.

    Args:
        readout: [d_vocab, d_model] float32, the readout's columns as rows.
        n_neurons: neurons of the whole model.
        k_tokens: tokens kept per neuron and direction.
        k_neurons: neurons kept per token and direction; 0 keeps none (for input weights).
        moments: whether third and fourth powers are summed.
        by_norm: visit tokens by decreasing norm, so that likely best ones come first and tokens of similar norm are
            together; `token_keys` are in the order of visiting.
    """

    def __init__(
        self,
        readout: Float[Tensor, "d_vocab d_model"],
        n_neurons: int,
        k_tokens: int,
        k_neurons: int,
        moments: bool,
        by_norm: bool = True,
    ) -> None:
        d_vocab, self.device = len(readout), readout.device
        self.order, self._in_order = torch.arange(d_vocab, device=self.device), not by_norm
        if by_norm:
            self.order = torch.argsort(readout.norm(dim=1), descending=True, stable=True)
        self.mean = torch.stack([part.sum(0) for part in readout.split(64)]).to(torch.float64).sum(0) / d_vocab
        self.k_tokens, self.k_neurons, self.moments = min(k_tokens, d_vocab), min(k_neurons, n_neurons), moments

        def empty(rows: int, k: int) -> Int[Tensor, "direction rows k"]:
            if self.device.type == "cpu":  # From numpy, which asks the system for large pages: lists lie far apart.
                return torch.from_numpy(np.full((len(DIRECTIONS), rows, k), keys.EMPTY))
            return torch.full((len(DIRECTIONS), rows, k), keys.EMPTY, dtype=torch.int64, device=self.device)

        self.neuron_keys, self.token_keys = empty(n_neurons, self.k_tokens), empty(d_vocab, self.k_neurons)
        self.powers = torch.zeros(2, n_neurons if moments else 0, dtype=torch.float64, device=self.device)

    def flush(self) -> None:
        """Bring the lists up to date."""

    def result(self) -> Congruence:
        """The lists so far; may be read at any time."""
        self.flush()
        return congruence_of(self._state())

    def state_dict(self) -> dict[str, Tensor]:
        """Copies: 'neuron_keys' [2, neuron, k] and 'token_keys' [2, d_vocab, k] int64, in order of id, each list best
        first; 'powers' [2, neuron] float64 (no neurons when no moments are summed)."""
        self.flush()
        return {name: tensor.clone() for name, tensor in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        by_id = self.token_keys if self._in_order else self.token_keys[:, torch.argsort(self.order)]
        return {"neuron_keys": self.neuron_keys, "token_keys": by_id, "powers": self.powers}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Resume from a state; other names in it are ignored.

        Raises:
            CheckpointError: it is of a search of another shape.
        """
        for name in ("neuron_keys", "token_keys", "powers"):
            mine, other = getattr(self, name), state.get(name)
            if other is None or other.shape != mine.shape or other.dtype != mine.dtype:
                saved = "nothing" if other is None else f"{str(other.dtype)[6:]} {list(other.shape)}"
                raise CheckpointError(
                    f"The saved search has {saved} for {name!r}, expected {str(mine.dtype)[6:]} {list(mine.shape)}: it "
                    "is of another model or other options. Start it again."
                )
        self.neuron_keys.copy_(state["neuron_keys"])
        self.token_keys.copy_(state["token_keys"].to(self.device)[:, self.order])
        self.powers.copy_(state["powers"])


def congruence_of(state: dict[str, Tensor]) -> Congruence:
    """A tensor's shape and dtype in words."""
    by_token = ranked_of(state["token_keys"]) if state["token_keys"].shape[2] else {}
    third, fourth = state["powers"].clone() if state["powers"].shape[1] else (None, None)
    return Congruence(ranked_of(state["neuron_keys"]), by_token, third, fourth)


def merge_states(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Merge `state_dict`s of searches over disjoint sets of neurons; also their 'layers', where they have them.

    Neuron lists and sums come from the part that has them; token lists are merged by the tie rule. Order does not
    matter.

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
