"""GGUF files: the whole file and nothing else becomes the model; what is kept of it is the same to the last bit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock

from atlas.cli.options import VARIABLE, no_cache
from ingest.errors import ModelError
from ingest.model import cache as model_cache
from ingest.model.forward import LeanModel
from ingest.model.gguf_file import read_gguf
from ingest.model.load import LoadedModel, load_model
from tests import tiny
from tests.tiny_gguf import write_gguf

UP = "blk.1.ffn_up.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: LoadedModel, other: LoadedModel) -> None:
    """Weights, what they compute, and the tokenizer."""
    assert one.fingerprint == other.fingerprint
    ids = torch.arange(2, 40)[None]
    finals = [LeanModel(model, torch.device("cpu"), torch.float32).run(ids) for model in (one, other)]
    assert torch.equal(*finals)
    texts = [*tiny.HOSTILE, " ".join(tiny.WORDS), "<|bos|>"]
    encoded = [[m.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts] for m in (one, other)]
    assert encoded[0] == encoded[1]
    assert one.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    assert one.tokenizer.bos_token_id == other.tokenizer.bos_token_id
    assert one.tokenizer.all_special_ids == other.tokenizer.all_special_ids


def test_the_same_model_as_the_folder_it_was_made_from(folder: Path, tmp_path: Path) -> None:
    loaded, plain = load_model(str(write_gguf(folder, tmp_path / "tiny.gguf"))), load_model(str(folder))
    assert (loaded.name, loaded.fingerprint) == ("tiny.gguf", plain.fingerprint)
    text = " ".join(tiny.WORDS)
    ids = [m.tokenizer(text, add_special_tokens=False)["input_ids"] for m in (loaded, plain)]
    assert ids[0] == ids[1]
    assert loaded.tokenizer.bos_token_id == plain.tokenizer.bos_token_id


@pytest.mark.parametrize("name", ["TINY.GGUF", "no-suffix", "with space [1].gguf"])
def test_any_name_alone_in_a_folder_or_by_itself(name: str, folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    write_gguf(folder, alone / name)
    assert load_model(str(alone / name)).name == name
    if name.lower().endswith(".gguf"):
        assert load_model(str(alone)).name == "alone"


def drop(*names: str):
    return lambda tensors: [tensors.pop(name) for name in names]


def add(name: str, shape: tuple[int, ...], value: float = 0.5):
    return lambda tensors: tensors.update({name: np.full(shape, value, np.float32)})


NOT_WHOLE = {
    "a tensor missing": (drop(UP), {}, r"lack 1 tensor \(model\.layers\.1\.mlp\.up_proj\.weight\)"),
    "no final norm": (drop("output_norm.weight"), {}, r"lack 1 tensor \(model\.norm\.weight\)"),
    "fewer blocks than it says": (None, {"block_count": 4}, r"lack 9 tensors \(model\.layers\.3"),
    "more blocks than it says": (None, {"block_count": 2}, r"without 9 tensors \(blk\.2\.attn_k\.weight"),
    "a bias that is passed over": (add("blk.0.attn_q.bias", (32,)), {}, r"without 1 tensor \(blk\.0\.attn_q\.bias\)"),
    "frequencies of its own": (add("rope_freqs.weight", (4,), 8.0), {}, "scales its rotary frequencies by a table"),
    "one of several files": (None, {"split__count": 3}, "is one of 3 parts.*llama-gguf-split --merge"),
    "not finite": (add("output_norm.weight", (32,), np.nan), {}, r"not all finite: model\.norm\.weight"),
}


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_files_that_are_not_the_whole_model_are_refused(case: str, folder: Path, tmp_path: Path) -> None:
    change, fields, words = NOT_WHOLE[case]
    with pytest.raises(ModelError, match=words):
        load_model(str(write_gguf(folder, tmp_path / "tiny.gguf", change, **fields)))


def test_a_file_cut_off_or_damaged(folder: Path, tmp_path: Path) -> None:
    path = write_gguf(folder, tmp_path / "tiny.gguf")
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:40], b"GGUF", data[:60] + b"\xff" * 30 + data[90:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="cannot be read: ") as caught:
            load_model(str(path))
        assert "\n" not in str(caught.value)


def test_parsed_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times is what transformers asks for; the package is left as it was."""
    parsed, build = [], gguf.GGUFReader._build_fields
    monkeypatch.setattr(gguf.GGUFReader, "_build_fields", lambda *args: parsed.append(1) or build(*args))
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    load_model(str(write_gguf(folder, tmp_path / "tiny.gguf")))
    assert parsed == [1]
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before


class TestCache:
    @pytest.fixture
    def path(self, folder: Path, tmp_path: Path) -> Path:
        return write_gguf(folder, tmp_path / "tiny.gguf")

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """A line for each time a GGUF file itself is read."""
        done, read = [], read_gguf
        monkeypatch.setattr(model_cache, "read_gguf", lambda source: done.append(source.label) or read(source))
        return done

    def entry(self, cache: Path) -> Path:
        (entry,) = (path for path in cache.iterdir() if path.is_dir())
        return entry

    def test_the_second_load_is_the_first_to_the_last_bit(self, path: Path, reads, cache, capsys) -> None:
        first, second = load_model(str(path)), load_model(str(path))
        assert reads == ["tiny.gguf"]
        assert capsys.readouterr().err.count("Kept the dequantised model in") == 1
        same(first, second)
        moved = path.rename(path.with_name("other name.gguf"))
        assert load_model(str(moved)).name == "other name.gguf"
        assert len(reads) == 1
        assert sorted(child.suffix for child in cache.iterdir()) == ["", ".lock"]

    def test_another_file_is_another_entry(self, path: Path, reads, folder: Path) -> None:
        first = load_model(str(path))
        write_gguf(folder, path, lambda tensors: tensors[UP].__setitem__((0, 0), 1.0))
        second = load_model(str(path))
        assert len(reads) == 2
        assert first.fingerprint != second.fingerprint

    @pytest.mark.parametrize(
        ("name", "how"),
        [
            ("model.safetensors", "removed"),
            ("model.safetensors", "cut off"),
            ("model.safetensors", "changed"),
            ("config.json", "changed"),
            ("tokenizer.json", "removed"),
            ("manifest.json", "cut off"),
        ],
    )
    def test_a_damaged_entry_is_made_again(self, name: str, how: str, path: Path, reads, cache) -> None:
        first = load_model(str(path))
        file = self.entry(cache) / name
        data = bytearray(file.read_bytes())
        if how == "removed":
            file.unlink()
        elif how == "cut off":
            file.write_bytes(data[: len(data) // 2])
        else:
            data[-9] ^= 1
            file.write_bytes(data)
        second = load_model(str(path))
        assert len(reads) == 2
        assert second.fingerprint == first.fingerprint
        assert load_model(str(path)).fingerprint == first.fingerprint
        assert len(reads) == 2

    def test_other_versions_of_the_libraries_make_it_anew(self, path: Path, reads, cache, monkeypatch) -> None:
        load_model(str(path))
        before, version = self.entry(cache), model_cache.metadata.version
        monkeypatch.setattr(model_cache.metadata, "version", lambda name: version(name) + (name == "gguf") * "+1")
        load_model(str(path))
        assert len(reads) == 2
        assert self.entry(cache) != before  # And the older is gone.

    @pytest.mark.parametrize("place", ["file", "read-only", "full", "locked"])
    def test_without_a_place_to_keep_it(self, place: str, path: Path, reads, cache, capsys, monkeypatch) -> None:
        if place == "file":
            cache.write_text("in the way")
        elif place == "read-only":
            # Not the folder's mode, which root passes over.
            monkeypatch.setenv(VARIABLE, "/proc/nothing")
        elif place == "full":
            usage = shutil.disk_usage("/")
            monkeypatch.setattr(model_cache.shutil, "disk_usage", lambda _: usage._replace(free=1000))
        else:
            monkeypatch.setattr(model_cache, "_WAIT", 0.0)
            cache.mkdir()
            held = FileLock(cache / f"{model_cache._key(path)}.lock")
            held.acquire()
        for _ in range(2):
            assert load_model(str(path)).name == "tiny.gguf"
            said = capsys.readouterr().err
            assert said.count("The dequantised model is not kept in") == 1
        assert len(reads) == 2

    def test_a_full_disk_leaves_nothing(self, path: Path, tmpfs: Path, monkeypatch, capsys) -> None:
        monkeypatch.setenv(VARIABLE, str(tmpfs))
        usage = shutil.disk_usage("/")
        monkeypatch.setattr(model_cache.shutil, "disk_usage", lambda _: usage)
        (tmpfs / "other").write_bytes(bytes(1_990_000))
        assert load_model(str(path)).name == "tiny.gguf"
        assert "No space left" in capsys.readouterr().err
        assert sorted(child.name for child in tmpfs.iterdir() if child.suffix != ".lock") == ["other"]

    def test_off(self, path: Path, reads, cache) -> None:
        import click

        @click.command()
        @no_cache()
        def command() -> None:
            load_model(str(path))

        before = os.environ[VARIABLE]
        for _ in range(2):
            result = CliRunner().invoke(command, ["--no-cache"], catch_exceptions=False)
            assert result.exit_code == 0
        assert len(reads) == 2
        assert not cache.exists()
        assert os.environ[VARIABLE] == before

    def test_where_it_lies(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.delenv(VARIABLE)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert model_cache.cache_folder() == tmp_path / "neuron-atlas" / "models"

    def test_a_tokenizer_that_would_not_come_back_is_not_kept(self, path: Path, cache, capsys, monkeypatch) -> None:
        kept = model_cache.AutoTokenizer.from_pretrained

        def other(*args: object, **options: object):
            tokenizer = kept(*args, **options)
            tokenizer.add_tokens(["one more"])
            return tokenizer

        monkeypatch.setattr(model_cache.AutoTokenizer, "from_pretrained", other)
        load_model(str(path))
        assert "its tokenizer changes" in capsys.readouterr().err
        assert not any(child.is_dir() for child in cache.iterdir())

    def test_the_manifest_lists_every_file(self, path: Path, cache) -> None:
        load_model(str(path))
        entry = self.entry(cache)
        listed = json.loads((entry / "manifest.json").read_text())["files"]
        assert sorted([*listed, "manifest.json"]) == sorted(child.name for child in entry.iterdir())
