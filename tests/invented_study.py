"""An invented study: rows as `atlas study` would write them, of a model that was never run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

N_POSITIONS = 7
CHANGED = 4
"""The position at which the two prompts differ."""


def _steps(rng: np.random.Generator, info: dict, n_prompts: int, from_end: bool) -> list[dict]:
    layers, d_mlp = info["n_layers"], info["d_mlp"]
    rows = []

    def add(kind, value, **where):
        half = 0.05 + 0.1 * abs(value)
        ends = {"low": value - half, "high": value + half} if n_prompts > 1 else {"low": None, "high": None}
        rows.append({"kind": kind, "value": float(value), "n_prompts": n_prompts, **ends, **where})

    for variant, end in (("own_norm", 2.0), ("final_norm", 2.0)):
        value = -0.5
        for layer in range(layers):
            add("logit_lens", value, variant=variant, site="pre", layer=layer)
            value += rng.normal(0, 0.05)
            add("logit_lens", value, variant=variant, site="mid", layer=layer)
            value += 2.0 if layer == layers - 2 else rng.normal(0, 0.05)
        add("logit_lens", end, variant=variant, site="post", layer=layers - 1)
    positions = range(-N_POSITIONS, 0) if from_end else range(N_POSITIONS)
    for kind in ("patch_resid_pre", "patch_attn_out", "patch_mlp_out"):
        for layer in range(layers):
            for place, position in enumerate(positions):
                near = place in (CHANGED, N_POSITIONS - 1)
                value = rng.normal(0.4 if near else 0, 0.1)
                far = (kind, layer, place) == ("patch_resid_pre", 0, 1)  # one beyond whole recovery
                add(kind, -1.75 if far else value, layer=layer, position=position)
    for neuron in range((layers - 2) * d_mlp, layers * d_mlp):
        recovery = {(layers - 1) * d_mlp + 7: 0.4, (layers - 2) * d_mlp + 3: 0.2}.get(neuron, rng.normal(0, 0.01))
        add("patch_neuron", recovery, layer=neuron // d_mlp, neuron_id=neuron)
        add("attribution", 1.1 * recovery, layer=neuron // d_mlp, neuron_id=neuron)
    for neuron in range((layers - 2) * d_mlp):
        add("attribution", rng.normal(0, 0.001), layer=neuron // d_mlp, neuron_id=neuron)
    for neuron in range(layers * d_mlp):
        for variant in ("clean", "corrupt"):
            add("direct_effect", rng.normal(0, 0.2), variant=variant, layer=neuron // d_mlp, neuron_id=neuron)
    for variant in ("zero", "mean", "negate"):
        for neuron in (*found_ids(info), None):
            layer = None if neuron is None else neuron // d_mlp
            add("ablation", rng.uniform(-0.3, 0.05), variant=variant, layer=layer, neuron_id=neuron)
    return rows


def found_ids(info: dict) -> list[int]:
    """The neurons that stand out."""
    last = (info["n_layers"] - 1) * info["d_mlp"]
    return [last + 7, last - info["d_mlp"] + 3]


def invent(
    file: Path, name: str = "an", *, n_prompts: int = 1, from_end: bool = False, clean: str | None = None, seed: int = 0
) -> dict[str, pa.Table]:
    """Rows of a study of the atlas at `file`, by table."""
    rng = np.random.default_rng(seed)
    with duckdb.connect(str(file), read_only=True) as connection:
        columns = ("n_layers", "d_mlp", "d_vocab")
        info = dict(zip(columns, connection.execute(f"SELECT {', '.join(columns)} FROM atlas").fetchone(), strict=True))
        # A counted pair of the neuron that stands out most: its curve can be drawn.
        found = found_ids(info)
        answer = connection.execute(
            "SELECT token_id FROM candidate_pair WHERE neuron_id = ? ORDER BY congruence DESC, token_id", [found[0]]
        ).fetchone()[0]
    other = (answer + 1) % info["d_vocab"]
    means = (
        "clean_logit_diff",
        "corrupt_logit_diff",
        "p_answer_clean",
        "p_answer_corrupt",
        "p_other_clean",
        "p_other_corrupt",
    )
    prompts, predictions = [], []
    for prompt in range(n_prompts):
        ids = [int(token) for token in rng.integers(0, info["d_vocab"], N_POSITIONS)]
        changed = [*ids[:CHANGED], (ids[CHANGED] + 1) % info["d_vocab"], *ids[CHANGED + 1 :]]
        texts = (clean or f"I climbed up the pear tree and picked a pear. {prompt}", f"a lemon. {prompt}")
        numbers = [2 + 0.1 * prompt, -1 - 0.1 * prompt, 0.5, 0.05, 0.1, 0.4]
        prompts.append(
            {
                "prompt": prompt,
                "clean": texts[0],
                "corrupt": texts[1],
                "clean_token_ids": ids,
                "corrupt_token_ids": changed,
                "answer_token_id": answer,
                "other_token_id": other,
                **dict(zip(means, numbers, strict=True)),
            }
        )
        for side in ("clean", "corrupt"):
            best = [int(t) for t in rng.choice(info["d_vocab"], 9, replace=False) if t not in (answer, other)]
            order = [answer, *best, other] if side == "clean" else [other, *best, answer]
            for rank, token in enumerate(order, start=1):
                predictions.append(
                    {
                        "prompt": prompt,
                        "side": side,
                        "rank": rank if rank < 9 else 10 + rank,
                        "token_id": token,
                        "logit": 12.0 - rank,
                        "probability": 0.5**rank,
                    }
                )
    study = {
        "name": name,
        "made_at": datetime(2026, 11, 23, 1, 2, 3),
        **{column: prompts[0][column] for column in ("clean", "corrupt", "answer_token_id", "other_token_id")},
        **{column: float(np.mean([row[column] for row in prompts])) for column in means},
        "n_prompts": n_prompts,
        "from_end": from_end,
        "patched_layers": [info["n_layers"] - 2, info["n_layers"] - 1],
        "found_neuron_ids": found,
        "versions": '{"neuron-atlas": "0.1.0"}',
        "command": f"atlas study x.duckdb --name {name}",
    }
    tables = {
        "study": [study],
        "study_prompt": prompts,
        "study_prediction": predictions,
        "study_step": _steps(rng, info, n_prompts, from_end),
        "study_edge": [
            {"source_neuron_id": found[1], "target_neuron_id": found[0], "estimate": 0.21, "exact": 0.19},
            {"source_neuron_id": found[1], "target_neuron_id": found[0] + 1, "estimate": -0.05, "exact": None},
        ],
    }
    keys = {"study_step": dict.fromkeys(("variant", "site", "layer", "position", "neuron_id"))}
    return {
        table: pa.Table.from_pylist(
            [{**keys.get(table, {}), **({} if table == "study" else {"study": name}), **row} for row in rows]
        )
        for table, rows in tables.items()
    }
