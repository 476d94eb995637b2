"""The two runs of a pair, and runs of the corrupt prompt with values of the clean one put in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.errors import ModelError, StudyError
from ingest.process.memory import is_out_of_memory
from ingest.study.prompts import TokenPair
from ingest.study.study_model import Edits, StudyModel, Tokens

_SAME = 1e-4
"""Largest relative difference of logits between a resumed run and a whole run."""
_LEAST_DIFFERENCE = 1e-4

Progress = Callable[[int], object]
"""Called with the number of forward passes since the last call."""


@dataclass(frozen=True)
class Batches:
    """The number of rows that run together, and the callback for progress."""

    rows: int | None
    """Most rows of a batch; None: by the tokens of a row."""
    progress: Progress

    def size(self, device: torch.device, pos: int) -> int:
        """Rows of `pos` tokens that run together: enough for full-speed GEMMs, few enough for the caches."""
        return self.rows or max(1, (2048 if device.type == "cpu" else 16384) // pos)


class PairRuns:
    """A pair on a model: both runs recorded, and resumed runs that begin at the first token that differs.

    Runs are shortened as far as trials succeed: a cache for the tokens before, blocks left out. A shortcut that does
    not reproduce the plain run's logits is not used.

    Raises:
        ModelError: no resumed run reproduces the plain one.
        StudyError: both prompts give the same logit difference, so there is nothing to recover.
    """

    def __init__(self, model: StudyModel, tokens: TokenPair) -> None:
        self.model, self.tokens = model, tokens
        clean_ids, corrupt_ids = (
            torch.tensor(ids, device=model.device) for ids in (tokens.clean_ids, tokens.corrupt_ids)
        )
        self.clean, self.corrupt = model.record(clean_ids), model.record(corrupt_ids)
        self.clean_difference, self.corrupt_difference = (
            float(model.difference(run.residual[-1][-1:], tokens.answer_id, tokens.other_id))
            for run in (self.clean, self.corrupt)
        )
        if not abs(self.clean_difference - self.corrupt_difference) >= _LEAST_DIFFERENCE:
            raise StudyError(
                f"After {tokens.pair.clean!r} and after {tokens.pair.corrupt!r} logit({tokens.pair.answer!r}) - "
                f"logit({tokens.pair.other!r}) is the same, {self.clean_difference:.4f}: there is nothing to recover. "
                "Choose a corrupt prompt after which the other token is likelier."
            )
        whole = [Tokens(corrupt_ids, skip=skip) for skip in (True, False)]
        self.whole = self._first_exact(whole)
        """Tokens of a run of all positions."""
        first = tokens.first_difference
        self.first = 0
        """First position of `resumed` runs."""
        self.part = self.whole
        """Tokens of a run of positions from `first` on."""
        if first:
            try:
                part = Tokens(corrupt_ids[first:], model.prefix(corrupt_ids[:first]), self.whole.skip)
                if self._exact(part):
                    self.first, self.part = first, part
            except Exception as error:  # Libraries raise any exception here; then the whole prompt is run.
                if is_out_of_memory(error):
                    raise

    def read_after(self, layer: int) -> slice:
        """Positions of the stream behind a block that are read: behind the last block the last position alone."""
        return slice(self.first, None) if layer + 1 < self.model.n_layers else slice(-1, None)

    def recovery(
        self, layer: int, residual: Float[Tensor, "row pos d_model"], edits: Edits | None = None
    ) -> Float[Tensor, " row"]:
        """Relative recovery of corrupt runs from block `layer` on, whose input is `residual` at `first` and later."""
        return self.recovered(self.model.resume(layer, residual, self.part, edits))

    def recovered(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
        """(patched - corrupt) / (clean - corrupt) of logit differences."""
        patched = self.model.difference(final, self.tokens.answer_id, self.tokens.other_id)
        return (patched - self.corrupt_difference) / (self.clean_difference - self.corrupt_difference)

    def _first_exact(self, choices: list[Tokens]) -> Tokens:
        for tokens in choices:
            try:
                if self._exact(tokens):
                    return tokens
            except Exception as error:
                if is_out_of_memory(error) or tokens is choices[-1]:
                    raise
        raise ModelError(
            f"Runs of {self.model.model.name!r} that are resumed at a middle layer do not give the model's own logits: "
            "studies of this architecture are not supported."
        )

    def _exact(self, tokens: Tokens) -> bool:
        """Whether both prompts' runs, resumed at the first and at the middle block, give the logits of whole runs."""
        first = len(self.tokens) - len(tokens.token_ids)
        expected = torch.stack([self.clean.logits, self.corrupt.logits])
        for layer in {0, self.model.n_layers // 2}:
            residual = torch.stack([run.residual[layer][first:] for run in (self.clean, self.corrupt)])
            logits = self.model.logits(self.model.resume(layer, residual, tokens))
            if not (logits - expected).norm() <= _SAME * expected.norm():
                return False
        return True
