"""The reader's lasting state: saved, restored and merged, it goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from ingest.activations.reader import Reader
from ingest.activations.statistic import Plan, StreamSettings
from ingest.model.forward import LeanModel, bytes_per_token
from ingest.model.load import load_model
from ingest.texts.tokens import Text, TextBatch, batches
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def lean(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LeanModel:
    folder: Path = tiny.save_llama(tmp_path_factory.mktemp("reader"))
    return LeanModel(load_model(str(folder)), CPU, request.param)


def reader(lean: LeanModel) -> Reader:
    rng = np.random.default_rng(5)
    d_vocab = len(lean.model.unembedding)
    pairs = np.unique(rng.integers(0, lean.n_layers * lean.d_mlp * d_vocab, 2000))
    settings = StreamSettings(
        d_vocab=d_vocab, gated=True, count_bos=False, has_bos=True, top_texts=4, window=8, fingerprint="x", seed=0
    )
    return Reader(lean, Plan(lean.n_layers, lean.d_mlp, lean.device, settings, pairs // d_vocab, pairs % d_vocab))


def work() -> list[TextBatch]:
    rng = np.random.default_rng(0)
    texts = [Text(i + 3, i // 2, i % 2, rng.integers(0, 300, rng.integers(2, 30)).astype(np.int32)) for i in range(40)]
    return list(batches(texts, max_tokens=128, pad_id=0))


def assert_equal_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        assert torch.equal(values, other[name]), name


def test_restored_reader_ends_with_the_same_bits(lean: LeanModel) -> None:
    first, *rest = work()
    middle = len(rest) // 2
    straight, restored = reader(lean), reader(lean)
    for batch in (first, *rest[:middle]):
        straight.read(batch)
    restored.read(rest[-1])  # What was there before must not matter.
    restored.load_state_dict(load(save(straight.state_dict())))
    for batch in rest[middle:]:
        straight.read(batch)
        restored.read(batch)
    assert straight.n_texts == restored.n_texts == 40
    assert_equal_bits(straight.state_dict(), restored.state_dict())
    stored = restored.texts.texts
    assert set(stored) == set(straight.texts.texts) == set(straight.cited().tolist())
    for text_id, text in straight.texts.texts.items():
        assert (stored[text_id].text.source_row, stored[text_id].text.chunk) == (text.text.source_row, text.text.chunk)
        assert stored[text_id].text.token_ids.tolist() == text.text.token_ids.tolist()
        assert stored[text_id].predicted.tolist() == text.predicted.tolist()


def test_merged_readers_equal_one(lean: LeanModel) -> None:
    whole, left, right = reader(lean), reader(lean), reader(lean)
    for number, batch in enumerate(work()):
        whole.read(batch)
        (left if number % 2 else right).read(batch)
    left.merge(right)
    assert (left.n_texts, left.n_positions) == (whole.n_texts, whole.n_positions)
    exact, merged = whole.state_dict(), left.state_dict()
    assert left.texts.texts.keys() == whole.texts.texts.keys()
    for name, values in exact.items():
        if not name.startswith("texts.") and ".pool." not in name and not name.endswith(".slots"):
            assert torch.equal(merged[name], values), name
    for kind, lists in whole.statistics["examples"].lists.items():
        other = left.statistics["examples"].lists[kind].result()
        for name, values in lists.result().items():
            assert torch.equal(other[name], values), (kind, name)


def test_empty_reader_is_restored_too(lean: LeanModel) -> None:
    restored = reader(lean)
    restored.read(work()[0])
    restored.load_state_dict(load(save(reader(lean).state_dict())))
    assert_equal_bits(restored.state_dict(), reader(lean).state_dict())
    assert restored.texts.texts == {}


def test_rotary_frequencies_stay_in_float32(lean: LeanModel) -> None:
    """In bfloat16 they would have 8 bits, and positions a hundred tokens on a wrong angle."""
    buffers = dict(lean._module.named_buffers())
    frequencies = [buffer for name, buffer in buffers.items() if name.endswith("inv_freq")]
    assert frequencies
    assert all(buffer.dtype == torch.float32 for buffer in frequencies)
    assert next(lean._module.parameters()).dtype == lean.dtype


def test_bytes_per_token_grow_with_the_model(lean: LeanModel) -> None:
    bins = lean.n_layers * lean.d_mlp
    assert (
        bytes_per_token(lean.n_layers, lean.d_mlp, lean.d_model, lean.dtype)
        > bins + 4 * lean.d_mlp * lean.dtype.itemsize
    )
