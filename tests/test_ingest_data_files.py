"""Which files a folder's name means: its splits, its configurations, what is no data."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import DatasetError
from ingest.texts.data_files import find_files
from ingest.texts.dataset import open_dataset


def write(folder: Path, *names: str, readme: str | None = None) -> Path:
    """A folder of files that each hold their own name as their one text."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pq.write_table(pa.table({"text": [name]}), path)
        else:
            path.write_text(f'{{"text": "{name}"}}\n' if ".json" in name else f"{name}\n")
    if readme is not None:
        (folder / "README.md").write_text(f"---\n{readme}---\n# Some data\n")
    return folder


def texts(folder: Path, **options) -> list[str]:
    return [text for _, text in open_dataset(str(folder), **options).rows()]


LAYOUTS = {
    "one format, no names": ["b.jsonl", "a.jsonl", "sub/c.jsonl"],
    "splits by name": ["train.jsonl", "test.jsonl", "validation.jsonl"],
    "words in names": ["my-train_1.csv", "my-train_2.csv", "my.eval.csv", "dev.csv"],
    "no words in words": ["latest.txt", "trainer.txt", "contested.txt"],
    "folders": ["train/a.txt", "train/b.txt", "test/a.txt"],
    "folders over names": ["data/train/test-logs.txt", "data/testing/train-logs.txt"],
    "shards": [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
    ],
    "shards of a split of any name": ["data/pile_10k-00000-of-00001-4746b8785c874cc7.parquet"],
    "shards over what is beside them": ["data/train-00000-of-00001.parquet", "other.parquet"],
    "hidden": ["a.jsonl", "._a.jsonl", ".x-checkpoint.jsonl", ".ipynb_checkpoints/a-checkpoint.jsonl", "__x/b.jsonl"],
    "what describes data": ["a.jsonl", "config.json", "README.md"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_have_the_splits_that_datasets_finds(tmp_path, layout):
    folder = write(tmp_path / "data set", *LAYOUTS[layout])
    theirs = datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache")).config.data_files
    for split, files in theirs.items():
        ours = find_files(str(folder), split=str(split))
        assert ours.split == split
        assert sorted(map(str, ours.files)) == sorted(files)
        assert list(ours.files) == sorted(ours.files)
    with pytest.raises(DatasetError) as error:
        find_files(str(folder), split="other")
    assert f"has no split 'other': expected one of {[str(split) for split in theirs]}" in str(error.value)


CONFIGS = """\
configs:
- config_name: en
  data_files:
  - {split: train, path: [en/part-*.jsonl, en/more.jsonl]}
  - {split: test, path: "en/held*"}
- config_name: de
  data_dir: de
- config_name: fr
  data_files: fr/**
"""


def test_configurations_of_a_readme(tmp_path):
    names = [
        "en/part-1.jsonl",
        "en/part-2.jsonl",
        "en/more.jsonl",
        "en/held.jsonl",
        "de/train.jsonl",
        "de/dev.jsonl",
        "fr/x/y.jsonl",
        "fr/.z.jsonl",
    ]
    folder = write(tmp_path / "set", *names, readme=CONFIGS)
    assert texts(folder, config="en") == ["en/part-1.jsonl", "en/part-2.jsonl", "en/more.jsonl"]
    assert texts(folder, config="en", split="test") == ["en/held.jsonl"]
    assert texts(folder, config="de", split="validation") == ["de/dev.jsonl"]
    assert texts(folder, config="fr") == ["fr/x/y.jsonl"]
    assert open_dataset(str(folder), config="fr").config == "fr"
    with pytest.raises(DatasetError, match=r"has several configurations: expected one of \['en', 'de', 'fr'\]. Choose"):
        open_dataset(str(folder))
    with pytest.raises(DatasetError, match=r"has no configuration 'it': expected one of \['en', 'de', 'fr'\]"):
        open_dataset(str(folder), config="it")
    named = CONFIGS.replace("config_name: de", "config_name: default")
    (folder / "README.md").write_text(f"---\n{named}---\n")
    assert texts(folder) == ["de/train.jsonl"]
    (folder / "README.md").write_text(f"---\n{CONFIGS}  default: true\n---\n")
    assert texts(folder) == ["fr/x/y.jsonl"]


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("configs: [}\n", "The header of .*README.md' is not YAML: "),
        ("configs:\n- data_files: [{path: x}]\n", "has data_files that cannot be read: "),
        ("configs:\n- data_files: nothing*.csv\n", "There is no data file at"),
    ],
)
def test_readmes_that_cannot_be_followed(tmp_path, readme, message):
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(write(tmp_path, "a.csv", readme=readme)))


def test_a_repository_cloned_from_the_hub(tmp_path):
    names = [".git/objects/a.jsonl", ".gitattributes", "data/train-00000-of-00001.parquet", "LICENSE.txt"]
    folder = write(tmp_path / "clone", *names, readme="license: mit\ntags: [text]\n")
    dataset = open_dataset(str(folder))
    assert (dataset.name, dataset.split, dataset.n_rows) == ("clone", "train", 1)
    (folder / "data" / "train-00000-of-00001.parquet").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    with pytest.raises(DatasetError, match=r"train-00000-of-00001.parquet' is a Git LFS pointer, not .*git lfs pull"):
        open_dataset(str(folder))


def test_a_file_of_no_split_is_not_left_out_silently(tmp_path):
    write(tmp_path, "train.txt", "test.txt", "extra.txt")
    with pytest.raises(
        DatasetError, match=r"named after splits, but 'extra.txt' names none. Rename it, or name the fi"
    ):
        open_dataset(str(tmp_path))
    (tmp_path / "extra.txt").rename(tmp_path / "train-and-test.txt")
    with pytest.raises(DatasetError, match=r"'train-and-test.txt' names several splits"):
        open_dataset(str(tmp_path))
    assert texts(tmp_path / "t*[nt].txt") == ["test.txt", "extra.txt", "train.txt"]


def test_what_the_hub_writes_about_data_is_no_data(tmp_path):
    assert texts(write(tmp_path, "a.json", "dataset_infos.json", "dataset_info.json")) == ["a.json"]


@pytest.mark.parametrize("name", ["", "/*.txt"])
def test_links_to_nothing_are_not_left_out_silently(tmp_path, name):
    write(tmp_path, "a.txt")
    (tmp_path / "b.txt").symlink_to(".git/annex/objects/b.txt")
    with pytest.raises(DatasetError, match=r"b.txt' is a link to '.git/annex/objects/b.txt', which is not there"):
        open_dataset(f"{tmp_path}{name}")


def test_no_name():
    with pytest.raises(DatasetError, match="The dataset has no name"):
        open_dataset("")


def test_capitals(tmp_path):
    write(tmp_path, "TRAIN.TXT", "Test.txt")
    assert texts(tmp_path, split="test") == ["Test.txt"]


def test_globs_match_nothing_hidden(tmp_path):
    write(tmp_path, "a.txt", "._a.txt", ".git/b.txt", "c/d.txt")
    assert texts(tmp_path / "*.txt") == ["a.txt"]
    assert texts(tmp_path / "**" / "*.txt") == ["a.txt", "c/d.txt"]


@pytest.mark.parametrize("name", ["set [old]", "set*", "a 'b' \"c\"", "100%", "line\nend", ":smile:"])
def test_folders_of_any_name(tmp_path, name):
    folder = write(tmp_path / name, "data/train-00000-of-00001.parquet")
    assert open_dataset(str(folder)).name == name
    assert texts(folder / "data" / "train-00000-of-00001.parquet") == ["data/train-00000-of-00001.parquet"]


def test_no_split_asked_for(tmp_path):
    assert open_dataset(str(write(tmp_path / "one", "test.txt")), split=None).split == "test"
    with pytest.raises(DatasetError, match=r"has several splits: expected one of \['train', 'test'\]"):
        open_dataset(str(write(tmp_path / "two", "test.txt", "train.txt")), split=None)
