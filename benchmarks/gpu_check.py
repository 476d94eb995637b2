"""Check the GPU path and time it: `benchmarks/gpu_check.sh` starts this.

1. Tests of the kernels, on the device.
2. One model and texts, by `atlas ingest`: in float32 on the CPU and on the device, and in bfloat16 on the device; every
   table of the latter two is held against the first.
3. Every phase at two shapes (GPT-2 Large's; a gated one of 1.5 billion parameters), against its limit measured there:
   `benchmarks.gpu`. Memory against the formula of docs/gpu.md.
4. A profile of the phase that is furthest from its goal.

Results: DIR/gpu_check.json and DIR/gpu_check.md; the exit status is 1 if a goal or a bound is missed (goals of time
count on a GPU only).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from benchmarks.gpu import measure
from ingest.file.checks import KEYS, WEIGHT_TABLES
from ingest.model.load import LoadedModel, bridge_for, describe
from ingest.process.device import choose_device, choose_dtype
from ingest.process.settings import Settings
from ingest.process.stop import Stop
from ingest.run.ingest import ingest
from ingest.texts.tokens import Text

GOALS = {
    "congruence / limit": 1.10,
    "unembedding / float32": 0.35,
    "activations / limit": 1.15,
    "attribution / limit": 2.5,
}
"""Times over the limit of each phase, at most."""
SHARED = {"float32": 0.99, "bfloat16": 0.5}
"""Share of a table's keys, at least, that two runs share: lists are cut, and values near a cut change places."""
APART = {"float32": 0.001, "bfloat16": 0.1}
"""Root mean square of the differences over that of the exact values, at most, in each column over the shared keys.
Tables from weights are float32 in either run."""
OF_CHOICES = {
    "neuron_attribution",
    "pair_attribution",
    "pair_metric",
    "prediction_histogram",
    "sign_case",
    "token_driver",
}
CHOICES_APART = 0.5
"""The same for bfloat16 where predictions or extremes are chosen: a random model has near ties, so others win."""
_NOT_OF_A_RUN = {"study", "study_prompt", "study_prediction", "study_step", "study_edge", "pair_effect", "text"}


@dataclass
class Result:
    """What is written."""

    device: str
    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    profile: str = ""

    def step(self, name: str, work: Callable[[], object]) -> None:
        """Take a step; an error in it is kept, and the next one is taken all the same."""
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        try:
            work()
        except Exception:
            self.failed[name] = traceback.format_exc()
            print(self.failed[name], flush=True)
        self.figures[f"{name}: seconds"] = time.perf_counter() - start


def word_tokenizer(d_vocab: int) -> PreTrainedTokenizerFast:
    """A word a token."""
    words = {"<s>": 0, **{f"w{i}": i for i in range(1, d_vocab)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<s>")


def gpt2_shape(*, tiny: bool) -> PreTrainedModel:
    """GPT-2 Large's shape, random."""
    size = (
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 300}
        if tiny
        else {"n_embd": 1280, "n_layer": 36, "n_head": 20, "vocab_size": 50257}
    )
    return GPT2LMHeadModel(GPT2Config(n_positions=1024, **size))


def gated_shape(*, tiny: bool) -> PreTrainedModel:
    """The shape of Qwen2 1.5B, random."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    size = (64, 160, 2, 4, 300) if tiny else (1536, 8960, 28, 12, 151_936)
    config = Qwen2Config(
        **dict(zip(names, size, strict=True)),
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
    )
    return Qwen2ForCausalLM(config)


def loaded(make: Callable[[], PreTrainedModel], name: str) -> LoadedModel:
    """A model in memory, made on the device that is fastest at it."""
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        net = make()
    net = net.cpu().eval()
    tokenizer = word_tokenizer(net.config.vocab_size)
    return describe(name, None, bridge_for(name, net, tokenizer), tokenizer)


def random_texts(model: LoadedModel, *, context: int) -> Iterator[Text]:
    """Texts of random tokens without end, of the context's length."""
    rng, d_vocab, text_id = np.random.default_rng(0), len(model.unembedding), 0
    while True:
        token_ids = rng.integers(1, d_vocab, context, dtype=np.int32)
        token_ids[0] = 0
        yield Text(text_id, text_id, 0, token_ids)
        text_id += 1


def tests(result: Result) -> None:
    """The kernels' tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_ingest_cuda.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    print("\n".join(lines[-15:]))
    result.figures["tests"] = lines[-1] if lines else "no output"
    if done.returncode:
        result.missed.append(f"tests: {result.figures['tests']}")


def tables(result: Result, device: torch.device) -> None:
    """Build the same atlas three times and hold its tables against each other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(1)
        config = LlamaConfig(
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=3,
            num_attention_heads=4,
            vocab_size=400,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
        LlamaForCausalLM(config).save_pretrained(folder / "model")
        word_tokenizer(400).save_pretrained(folder / "model")
        rng = np.random.default_rng(2)
        texts = [" ".join(f"w{i}" for i in rng.integers(1, 400, rng.integers(8, 48))) for _ in range(200)]
        (folder / "texts.txt").write_text("\n".join(texts))
        runs = {"cpu": ("cpu", "float32"), "float32": (device.type, "float32"), "bfloat16": (device.type, "bfloat16")}
        for run, (where, dtype) in runs.items():
            settings = Settings(
                str(folder / "model"),
                str(folder / "texts.txt"),
                folder / f"{run}.duckdb",
                slug="check",
                device=where,
                dtype=dtype,
                attribution=None,
                statistics=("--connections", "--sign-cases"),
            )
            ingest(settings, Console(quiet=True), Stop())
        for dtype in ("float32", "bfloat16"):
            compare(result, folder / "cpu.duckdb", folder / f"{dtype}.duckdb", dtype)


def compare(result: Result, exact: Path, other: Path, dtype: str) -> None:
    """Hold every table of a run against the exact one."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{exact}' AS a (READ_ONLY); ATTACH '{other}' AS b (READ_ONLY)")
        for table, key in sorted(KEYS.items()):
            if table in _NOT_OF_A_RUN:
                continue
            key = tuple(part.strip('"') for part in key)
            if ranked := table in _MEMBER:
                key = (*(part for part in key if part not in ("rank", "interval")), _MEMBER[table])
            columns = connection.execute(
                "SELECT column_name FROM duckdb_columns() WHERE database_name = 'a' AND table_name = ? "
                "AND data_type IN ('FLOAT', 'DOUBLE', 'INTEGER', 'BIGINT', 'SMALLINT')",
                [table],
            ).fetchall()
            values = [column for (column,) in columns if column not in key and not column.endswith("_id")]
            values = [column for column in values if not (ranked and column == "rank")]
            using = ", ".join(f'"{part}"' for part in key)
            picked = "".join(f", {_APART.format(value)}" for value in values)
            (n_a, n_b) = connection.execute(
                f"SELECT (SELECT count(*) FROM a.{table}), (SELECT count(*) FROM b.{table})"
            ).fetchone()
            shared, *differences = connection.execute(
                f"SELECT count(*){picked} FROM a.{table} AS a JOIN b.{table} AS b USING ({using})"
            ).fetchone()
            share = shared / max(n_a, n_b, 1)
            known = {v: d for v, d in zip(values, differences, strict=True) if d is not None}
            worst = max(known, key=known.get, default=None)
            result.figures[f"{table}, {dtype}"] = {
                "rows": n_a,
                "keys in common": share,
                "greatest difference": None if worst is None else known[worst],
                "of": worst,
            }
            line = f"  {dtype:<9} {table:<22} {n_a:>8,} rows, {share:.4f} in common"
            print(line + ("" if worst is None else f", {worst} is {known[worst]:.2e} apart"))
            if max(n_a, n_b) and share < SHARED[dtype]:
                result.missed.append(f"{table}, {dtype}: {share:.4f} of the keys in common")
            bound = APART["float32" if table in WEIGHT_TABLES else dtype]
            if dtype == "bfloat16" and table in OF_CHOICES:
                bound = CHOICES_APART
            if worst is not None and not known[worst] <= bound:
                result.missed.append(f"{table}, {dtype}: {worst} is {known[worst]:.2e} apart, at most {bound} is right")


_FINITE = """FILTER (isfinite(a."{0}"::DOUBLE) AND isfinite(b."{0}"::DOUBLE))"""
_APART = f"""sqrt(sum((a."{{0}}"::DOUBLE - b."{{0}}"::DOUBLE) ** 2) {_FINITE}
    / nullif(sum(a."{{0}}"::DOUBLE ** 2) {_FINITE}, 0))"""

_MEMBER = {
    "neuron_token": "token_id",
    "token_neuron": "neuron_id",
    "neuron_input_token": "token_id",
    "token_driver": "neuron_id",
    "neuron_downstream": "other_neuron_id",
    "neuron_upstream": "other_neuron_id",
    "example": "text_id",
}
"""What a list ranks: its members are compared, not its places."""


def phases(result: Result, device: torch.device, *, tiny: bool) -> None:
    """Measure both shapes, and profile the phase furthest from its goal."""
    dtype, worst = choose_dtype("auto", device), (0.0, "")
    context, tokens, n = (64, 512, 3) if tiny else (1024, 65_536, 16)
    for name, make in {"gpt2-large": gpt2_shape, "gated-1.5b": gated_shape}.items():
        load = partial(loaded, partial(make, tiny=tiny), name)
        figures, again = measure(load, partial(random_texts, context=context), device, dtype, tokens, n)
        result.figures[name] = figures
        for goal, most in GOALS.items():
            if device.type == "cuda" and figures[goal] > most:
                result.missed.append(f"{name}: {goal} is {figures[goal]:.2f}, at most {most} is the goal")
            worst = max(worst, (figures[goal] / most, f"{name}, {goal.split(' ')[0]}"))
        if worst[1].startswith(name):
            result.profile = profile(again[worst[1].split(", ")[1]], worst[1], device)
        del figures, again
        if device.type == "cuda":
            torch.cuda.empty_cache()


def profile(work: Callable[[], object], what: str, device: torch.device) -> str:
    """Where a phase's time goes."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device.type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profiler:
        work()
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return f"{what}\n\n" + profiler.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=60)


def shown(value: object) -> str:
    """A figure for people."""
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def write(result: Result, out: Path) -> None:
    """One file for programs, one for people."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu_check.json").write_text(json.dumps(vars(result), indent=1))
    lines = [f"# GPU check: {result.device}", ""]
    lines += [f"- missed: {line}" for line in result.missed] + [f"- failed: {name}" for name in result.failed]
    lines += [*([] if result.missed or result.failed else ["Every goal and bound is met."]), ""]
    for name, values in result.figures.items():
        if isinstance(values, dict):
            rows = [
                f"| {key} | {value:,.4g} |" if isinstance(value, float) else f"| {key} | {value} |"
                for key, value in values.items()
            ]
            lines += [f"## {name}", "", "| figure | value |", "|---|--:|", *rows, ""]
        else:
            lines.append(f"- {name}: {shown(values)}")
    lines += ["", "## Profile", "", "```", result.profile, "```", ""]
    (out / "gpu_check.md").write_text("\n".join(lines))


def main() -> int:
    """Take every step; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="Small shapes, with or without a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu_check"))
    options = parser.parse_args()
    device = choose_device("auto")
    if device.type != "cuda" and not options.tiny:
        parser.error("torch finds no CUDA here; --tiny takes every step without it")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    result = Result(f"{name}, torch {torch.__version__}")
    result.step("tests", lambda: tests(result))
    result.step("tables", lambda: tables(result, device))
    write(result, options.out)
    result.step("phases", lambda: phases(result, device, tiny=options.tiny))
    write(result, options.out)
    print(
        "\n".join(["", *[f"missed: {line}" for line in result.missed], *[f"failed: {name}" for name in result.failed]])
    )
    print(f"{options.out}/gpu_check.md")
    return 1 if result.missed or result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
