"""The results of a study, as columns of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Int32

from ingest.study.bootstrap import means
from ingest.study.lens import hold_final
from ingest.study.runs import PairRuns


@dataclass(frozen=True)
class PromptRecord:
    """One pair: a row of `study_prompt`, and two facts that are not stored."""

    clean: str
    corrupt: str
    clean_token_ids: list[int]
    """BOS included where the model has one."""
    corrupt_token_ids: list[int]
    answer_token_id: int
    other_token_id: int
    clean_logit_diff: float
    """logit(answer) - logit(other) after the clean prompt."""
    corrupt_logit_diff: float
    p_answer_clean: float
    """Probability, 0 to 1."""
    p_answer_corrupt: float
    p_other_clean: float
    p_other_corrupt: float
    first_difference: int
    """First position at which the prompts differ."""
    logit_bias: float
    """The contribution of biases behind the residual stream (final norm's, unembedding's) to the logit difference of
    any prompt. Every value of the logit lens includes it; the post's own lens leaves it out."""


@dataclass(frozen=True)
class StudyResult:
    """A study of one pair or many. Columns are named as the schema names them, all but `study`."""

    prompts: list[PromptRecord]
    predictions: dict[str, list[int] | list[float] | list[str]]
    """Columns of `study_prediction`, sorted."""
    steps: dict[str, np.ndarray]
    """Columns of `study_step`, sorted with NULLs last. NULLs: None in columns of text, masked in those of numbers."""
    edges: dict[str, np.ndarray]
    """Columns of `study_edge`, sorted; `exact` is masked where it was not measured."""
    patched_layers: list[int]
    """Layers that were patched whole, ascending."""
    found_neuron_ids: list[int]
    """Most recovering first."""
    from_end: bool
    """Whether positions count back from the last token, -1."""
    forward_passes: dict[str, int]
    """Runs of a prompt, or of its end, by phase."""
    seconds: dict[str, float]
    """Wall time by phase."""


@dataclass
class Steps:
    """Gathers rows of `study_step`. Add parts in their order: kind, variant, site; rows by layer, position, neuron."""

    resamples: int
    seed: int
    parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        values: Float32[np.ndarray, "pair row"],
        *,
        layer: Int32[np.ndarray, " row"],
        position: Int32[np.ndarray, " row"] | None = None,
        neuron_id: Int32[np.ndarray, " row"] | None = None,
        variant: str | None = None,
        site: str | None = None,
    ) -> None:
        """Add rows: the mean over pairs, with its interval. NaN: a pair has no such row. Numbers may be masked."""
        mean = means(values, self.resamples, self.seed)
        n = values.shape[1]
        null = np.ma.masked_all(n, np.int32)
        self.parts.append(
            {
                **{
                    name: np.full(n, text, object)
                    for name, text in (("kind", kind), ("variant", variant), ("site", site))
                },
                "layer": layer,
                "position": null if position is None else position,
                "neuron_id": null if neuron_id is None else neuron_id,
                "value": mean.value.astype(np.float32),
                "low": np.ma.masked_invalid(mean.low.astype(np.float32)),
                "high": np.ma.masked_invalid(mean.high.astype(np.float32)),
                "n_prompts": mean.n,
            }
        )

    def columns(self) -> dict[str, np.ndarray]:
        """All rows."""
        columns = {}
        for name in self.parts[0]:
            parts = [part[name] for part in self.parts]
            if name in ("layer", "position", "neuron_id"):
                columns[name] = np.ma.concatenate(parts).astype(np.int32)
            else:
                columns[name] = (np.ma.concatenate if name in ("low", "high") else np.concatenate)(parts)
        return columns


_TOP = 10


@dataclass
class Predictions:
    """Columns of `study_prediction`: the ten best tokens, the answer and the other token, of each side of a pair."""

    columns: dict[str, list] = field(
        default_factory=lambda: {name: [] for name in ("prompt", "side", "rank", "token_id", "logit", "probability")}
    )

    def add(self, number: int, runs: PairRuns) -> None:
        """Add a pair. Equal logits: the lower token first."""
        for side, run in (("clean", runs.clean), ("corrupt", runs.corrupt)):
            logits = run.logits.cpu().numpy()
            probabilities = run.logits.softmax(-1).cpu().numpy()
            order = np.argsort(-logits, kind="stable")
            rank = np.empty(len(order), np.int64)
            rank[order] = np.arange(1, len(order) + 1)
            token_ids = {*order[:_TOP].tolist(), runs.tokens.answer_id, runs.tokens.other_id}
            for token in sorted(token_ids, key=lambda token: rank[token]):
                row = (number, side, int(rank[token]), token, float(logits[token]), float(probabilities[token]))
                for column, value in zip(self.columns.values(), row, strict=True):
                    column.append(value)


@torch.inference_mode()
def describe_pair(runs: PairRuns) -> PromptRecord:
    """The pair with its logit differences and probabilities."""
    tokens = runs.tokens
    clean, corrupt = (run.logits.softmax(-1) for run in (runs.clean, runs.corrupt))
    direction, bias = runs.model.direction(tokens.answer_id, tokens.other_id)
    return PromptRecord(
        clean=tokens.pair.clean,
        corrupt=tokens.pair.corrupt,
        clean_token_ids=list(tokens.clean_ids),
        corrupt_token_ids=list(tokens.corrupt_ids),
        answer_token_id=tokens.answer_id,
        other_token_id=tokens.other_id,
        clean_logit_diff=runs.clean_difference,
        corrupt_logit_diff=runs.corrupt_difference,
        p_answer_clean=float(clean[tokens.answer_id]),
        p_answer_corrupt=float(corrupt[tokens.answer_id]),
        p_other_clean=float(clean[tokens.other_id]),
        p_other_corrupt=float(corrupt[tokens.other_id]),
        first_difference=tokens.first_difference,
        logit_bias=float(hold_final(runs.model, runs.clean).bias @ direction) + bias,
    )
