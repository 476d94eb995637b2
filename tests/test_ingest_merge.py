"""Parts of a dataset, run apart and merged, are the atlas of one run over all of it, row by row."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from transformers import AutoTokenizer

from ingest.activations.hashing import example_key
from ingest.merge.merge import merge
from ingest.merge.parts import overlap, parse_ranges, write_ranges
from tests import tiny
from tests.conftest import Built, build_tiny

BATCH = 8
CUTS = ((0, 16), (16, 24), (24, None))
"""At whole batches: together or apart, every text is in the same batch, so that its activations are the same floats."""


@dataclass(frozen=True)
class Split:
    """One run over a dataset, and the same in parts."""

    whole: Path
    parts: list[Path]


def full_texts(tokenizer_of: Path, n: int, length: int) -> list[str]:
    """Texts of once or twice `length` tokens, so that all batches are alike; some twice, so that activations tie."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    rng = random.Random(5)
    texts: list[str] = []
    while len(texts) < n:
        words, n_tokens = [], 0
        while n_tokens not in (length, 2 * length):
            words = [*words, rng.choice(tiny.WORDS)] if n_tokens < 2 * length else []
            n_tokens = len(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"])
        texts.append(" ".join(words))
    return texts + texts[: n // 3]


def split(folder: Path, built: Built) -> Split:
    texts = full_texts(built.model, 20, built.context_length - 1)
    dataset = tiny.save_texts(folder / "full.jsonl", texts)
    options = {"context_length": built.context_length, "overflow": built.overflow, "batch_size": BATCH, "top_texts": 4}
    whole = build_tiny(folder, built.model, dataset, "whole", **options)
    parts = [
        build_tiny(folder, built.model, dataset, f"part-{first}", first_text=first, last_text=last, **options)
        for first, last in CUTS
    ]
    return Split(whole, parts)


@pytest.fixture(scope="module")
def llama(built_llama: Built, tmp_path_factory: pytest.TempPathFactory) -> Split:
    return split(tmp_path_factory.mktemp("llama-parts"), built_llama)


@pytest.fixture(scope="module")
def gpt2(built_gpt2: Built, tmp_path_factory: pytest.TempPathFactory) -> Split:
    return split(tmp_path_factory.mktemp("gpt2-parts"), built_gpt2)


def merged(out: Path, *parts: Path, slug: str = "whole", **options: object) -> Path:
    with out.with_suffix(".log").open("w") as log:
        merge(parts, out, Console(file=log), slug=slug, **options)
    return out


def rows(atlas: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(atlas), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def assert_same(one: Path, other: Path) -> None:
    """Every table equal, in the same order, to the bit, and so the build_id; what says when and how the file was made
    apart."""
    for (table,) in rows(one, "SELECT table_name FROM duckdb_tables() ORDER BY 1"):
        query = f'SELECT * {"EXCLUDE (built_at, command)" if table == "atlas" else ""} FROM "{table}"'
        found, expected = rows(one, query), rows(other, query)
        assert len(found) == len(expected), table
        differing = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
        assert not differing, (table, differing[0])


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_parts_merge_into_the_run_over_everything(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    runs: Split = request.getfixturevalue(name)
    tied = (
        "SELECT count(*) FROM (SELECT neuron_id FROM example WHERE kind = 'max' "
        "GROUP BY neuron_id, activation HAVING count(*) > 1)"
    )
    assert rows(runs.whole, tied)[0][0] > 0, "without ties the order of equal activations is not tested"
    builds = set()
    a, b, c = runs.parts
    for i, order in enumerate(((b, c, a), (c, b, a))):
        out = merged(tmp_path / f"{i}.duckdb", *order)
        assert_same(out, runs.whole)
        builds |= set(rows(out, "SELECT build_id FROM atlas"))
    assert len(builds) == 1, "the order in which parts are named says nothing"


def test_merges_merge(llama: Split, tmp_path: Path) -> None:
    """However they are grouped; also with a gap that a later merge fills."""
    a, b, c = llama.parts
    left = merged(tmp_path / "left.duckdb", merged(tmp_path / "a's b.duckdb", a, b), c)
    gap = merged(tmp_path / "ac.duckdb", a, c)
    filled = merged(tmp_path / "filled.duckdb", b, gap)
    for out in (left, filled):
        assert_same(out, llama.whole)
    ((ranges, first, n, positions),) = rows(gap, "SELECT text_ranges, first_text, n_texts, n_positions FROM atlas")
    ((last, total),) = rows(llama.whole, "SELECT n_texts, n_positions FROM atlas")
    ((of_b,),) = rows(b, "SELECT n_positions FROM atlas")
    assert (ranges, first, n, positions) == (f"0:16,24:{last}", 0, last - 8, total - of_b)


def test_a_part_whose_texts_nobody_cites(llama: Split, tmp_path: Path) -> None:
    """Its texts go, its counts stay."""
    dull = tmp_path / "dull.duckdb"
    dull.write_bytes(llama.parts[1].read_bytes())
    with duckdb.connect(str(dull)) as connection:
        connection.execute("DELETE FROM example WHERE kind = 'interval'")
        connection.execute("UPDATE example SET activation = 0")
        connection.execute("UPDATE neuron SET activation_min = 0, activation_max = 0")
    out = merged(tmp_path / "out.duckdb", llama.parts[0], dull)
    assert rows(out, 'SELECT count(*) > 0, max(text_id) < 16 FROM "text"') == [(True, True)]
    assert rows(out, 'SELECT count(*) FROM example ANTI JOIN "text" USING (text_id)') == [(0,)]
    counted = "SELECT sum(n) FROM activation_histogram"
    assert rows(out, counted)[0][0] == sum(rows(part, counted)[0][0] for part in (llama.parts[0], dull))


def test_devices_and_versions_are_listed_where_they_differ(gpt2: Split, tmp_path: Path) -> None:
    a, b, c = gpt2.parts
    other = tmp_path / "other.duckdb"
    other.write_bytes(b.read_bytes())
    with duckdb.connect(str(other)) as connection:
        connection.execute("UPDATE atlas SET device = 'cuda', model_name = 'there', versions = '{\"torch\": \"9.9\"}'")
    out = merged(tmp_path / "out.duckdb", merged(tmp_path / "first.duckdb", other, a), c)
    said = "SELECT device, versions->>'torch', versions->>'numpy', model_name FROM atlas"
    assert rows(out, said) == [("cpu,cuda", f"{version('torch')},9.9", np.__version__, "model")]


def test_the_key_of_each_pair_is_that_of_every_pair() -> None:
    generator = torch.Generator().manual_seed(2)
    texts = torch.randint(-(2**62), 2**62, (5,), generator=generator)
    neurons = torch.arange(7)
    table = example_key(texts[:, None], neurons[None]).numpy()
    text, neuron = (place.ravel() for place in np.indices(table.shape))
    assert example_key(texts[text], neurons[neuron]).tolist() == table.ravel().tolist()


IDS = st.sets(st.integers(0, 40), min_size=1)


@given(IDS, IDS)
def test_ranges_are_sets_of_ids(one: set[int], other: set[int]) -> None:
    def ranges(ids: set[int]) -> list[range]:
        return [range(i, i + 1) for i in sorted(ids, key=hash)]

    text = write_ranges(ranges(one))
    parsed = parse_ranges(text)
    assert set(itertools.chain(*parsed)) == one
    assert all(a.stop < b.start for a, b in itertools.pairwise(parsed))
    shared = overlap(parsed, parse_ranges(write_ranges(ranges(other))))
    assert (set(shared) if shared else set()) <= one & other
    assert (shared is None) == (not one & other)
    assert shared is None or shared.start == min(one & other)
