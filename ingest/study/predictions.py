"""What the model predicts after each prompt."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ingest.study.lens import hold_final
from ingest.study.result import PromptRecord
from ingest.study.runs import PairRuns

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
            shown = {*order[:_TOP].tolist(), runs.tokens.answer_id, runs.tokens.other_id}
            for token in sorted(shown, key=lambda token: rank[token]):
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
