"""The check of a GPU: it passes the same tables and misses changed ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb

from benchmarks.gpu_check import Result, compare, write


def test_changed_tables_are_missed(tiny_llama_atlas: Path, tmp_path: Path) -> None:
    other, result = tmp_path / "other.duckdb", Result("none")
    compare(result, tiny_llama_atlas, tiny_llama_atlas, "float32")
    assert result.missed == []
    assert result.figures["neuron, float32"]["keys in common"] == 1
    shutil.copyfile(tiny_llama_atlas, other)
    with duckdb.connect(str(other)) as connection:
        connection.execute("UPDATE neuron SET activation_mean = 2 * activation_mean")
        connection.execute("DELETE FROM neuron_token WHERE neuron_id % 2 = 0")
    compare(result, tiny_llama_atlas, other, "float32")
    assert any(line.startswith("neuron, float32: activation_mean is 1.00e+00 apart") for line in result.missed)
    assert any(line.startswith("neuron_token, float32: 0.5") for line in result.missed)
    result.step("wrong", lambda: 1 / 0)
    write(result, tmp_path / "out")
    assert "ZeroDivisionError" in json.loads((tmp_path / "out" / "gpu_check.json").read_text())["failed"]["wrong"]
    assert "- failed: wrong" in (tmp_path / "out" / "gpu_check.md").read_text()
