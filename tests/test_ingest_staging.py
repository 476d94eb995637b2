"""Reading without waiting for the device: the same atlas as the plain way, and no wait while the layers run."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.syncs import SyncWatch
from ingest.activations import staging
from ingest.activations.reader import Reader
from ingest.activations.statistic import Plan, StreamSettings
from ingest.model.forward import LeanModel
from ingest.model.load import load_model
from ingest.process.numba_compiler import match_threads
from ingest.process.prefetch import prefetched
from ingest.texts.tokens import Text, TextBatch, batches
from tests import tiny

CPU = torch.device("cpu")
VOCAB = 250


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def lean(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LeanModel:
    match_threads()  # As a run does: otherwise the first compiled loop changes torch's threads, and rounding with them.
    save = {"llama": tiny.save_llama, "gpt2": tiny.save_gpt2}[request.param]
    return LeanModel(load_model(str(save(tmp_path_factory.mktemp(request.param) / "model"))), CPU, torch.float32)


def make_reader(lean: LeanModel, **options: bool) -> Reader:
    rng = np.random.default_rng(5)
    d_vocab = lean.model.embedding.shape[0]
    pairs = np.unique(rng.integers(0, (lean.n_layers * lean.d_mlp, d_vocab), (900, 2)), axis=0)
    settings = StreamSettings(
        d_vocab=d_vocab,
        gated=lean.model.gated,
        count_bos=False,
        has_bos=True,
        top_texts=2,
        window=8,
        fingerprint="f",
        seed=1,
    )
    return Reader(lean, Plan(lean.n_layers, lean.d_mlp, lean.device, settings, pairs[:, 0], pairs[:, 1], **options))


@cache
def make_batches() -> list[TextBatch]:
    """Batches that start long and get shorter, twice over, as in two windows of sorted texts."""
    rng = np.random.default_rng(3)
    texts = [Text(i, i, 0, rng.integers(0, VOCAB, rng.integers(2, 30)).astype(np.int32)) for i in range(80)]
    return list(batches(texts, max_tokens=150, pad_id=0, sort_window=40))


def written(reader: Reader) -> dict[str, list[dict[str, list]]]:
    """Every row of every statistic."""
    rows = [(name, [("columns", part.columns()), *part.rows(reader.texts)]) for name, part in reader.statistics.items()]
    return {
        name: [
            {column: v.to_pylist() if isinstance(v, pa.Array) else v.tolist() for column, v in columns.items()}
            for _, columns in batches
        ]
        for name, batches in rows
    }


@pytest.fixture(scope="module")
def plain(lean: LeanModel) -> Reader:
    """What reading at once, layer by layer, gives."""
    reader = make_reader(lean, staged=False)
    for batch in make_batches():
        reader.read(batch)
    return reader


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(list, layer) of every offer that found too few places. Staging starts as soon as a rate is known."""
    full: list[tuple[str, int]] = []
    settle = staging.Stage.settle

    def noted(stage: staging.Stage, *arguments: object) -> list[tuple[str, int]]:
        full.extend(found := settle(stage, *arguments))
        return found

    monkeypatch.setattr(staging.Stage, "settle", noted)
    monkeypatch.setattr(staging, "_SHARE", 100.0)
    return full


@pytest.mark.parametrize(("slack", "spare", "overflows"), [(2.0, 64, False), (0.4, 1, True), (0.0, 1, True)])
def test_a_staged_reader_ends_with_what_a_plain_one_has(
    lean: LeanModel,
    plain: Reader,
    again: list,
    monkeypatch: pytest.MonkeyPatch,
    slack: float,
    spare: int,
    overflows: bool,
) -> None:
    monkeypatch.setattr(staging, "_SLACK", slack)
    monkeypatch.setattr(staging, "_SPARE", spare)
    monkeypatch.setattr(staging, "_SLICE", 37)
    reader = make_reader(lean, staged=True)
    for batch in make_batches():
        reader.read(batch)
    assert bool(again) == overflows
    assert written(reader) == written(plain)
    assert reader.texts.texts.keys() == plain.texts.texts.keys()


def test_no_layer_makes_the_host_wait(lean: LeanModel, again: list) -> None:
    """From the third batch on: the first has seen no text, so nobody knows how many places to keep."""
    reader, waits = make_reader(lean, staged=True), []
    layer_of = reader._layer

    def watched(layer: int, x: Float[Tensor, "batch pos d_mlp"], *rest: object) -> None:
        with SyncWatch() as watch:
            layer_of(layer, x, *rest)
        waits.append(watch.total)

    reader._layer = watched
    for batch in make_batches():
        reader.read(batch)
    assert not again
    assert len(waits) == len(make_batches()) * lean.n_layers
    assert sum(waits[2 * lean.n_layers :]) == 0
    with SyncWatch() as watch:  # It does see what the plain way would do.
        torch.ones(3).nonzero()
    assert watch.total > 0


def test_the_forward_pass_asks_one_question_and_a_prediction_three(lean: LeanModel) -> None:
    """The first is transformers' own; if it goes, docs/gpu.md has one exception less."""
    with SyncWatch() as watch:
        residual = lean.run(torch.from_numpy(make_batches()[0].input_ids))
        lean.predict(residual.flatten(0, 1))
    assert dict(watch.seen) == {"aten.is_nonzero": 1, "aten.nonzero": 3}


def test_batches_prepared_by_another_thread_are_read_the_same(lean: LeanModel, plain: Reader) -> None:
    reader = make_reader(lean, staged=True)
    for ready in prefetched(map(reader.prepare, make_batches()), 2):
        reader.read(ready)
    assert written(reader) == written(plain)


class TestTheWatch:
    @pytest.mark.parametrize(
        "work",
        [
            lambda x: bool((x > 0).any()),
            lambda x: x.sum().item(),
            lambda x: x.nonzero(),
            lambda x: x[x > 0],
            lambda x: torch.unique(x),
            lambda x: torch.repeat_interleave(x.long()),
            lambda x: torch.bincount(x.long()),
            lambda x: torch.masked_select(x, x > 0),
            lambda x: torch.equal(x, x),
        ],
    )
    def test_it_sees(self, work: object) -> None:
        with SyncWatch() as watch:
            work(torch.arange(4.0))
        assert watch.total >= 1

    @pytest.mark.parametrize(
        "work",
        [
            lambda x: torch.nonzero_static(x, size=2),
            lambda x: x[x.long()],
            lambda x: torch.where(x > 0, x, -x),
            lambda x: torch.repeat_interleave(x, x.long(), output_size=6),
            lambda x: x.topk(2),
            lambda x: x.cumsum(0),
        ],
    )
    def test_it_lets_pass(self, work: object) -> None:
        with SyncWatch() as watch:
            work(torch.arange(4.0))
        assert watch.total == 0
