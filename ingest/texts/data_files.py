"""The files of a dataset's name: one file, a glob, or a folder with its splits.

A folder is read as `datasets.load_dataset(folder)` finds it: by the configurations of its README, by the names of a
repository's shards (`data/train-00000-of-00002.parquet`), by folders and by files named after a split; hidden files are
no data. The library itself is not used: it takes `[` in a folder's name for a pattern, and silently leaves out files
whose names contain no split's name.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

import datasets.data_files
from huggingface_hub.repocard import metadata_load

from ingest.errors import DatasetError
from ingest.texts.text_file import COMPRESSIONS

FORMATS = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt")
_SAVED_DATASET = ("state.json", "dataset_dict.json")
_NO_DATA = frozenset(datasets.data_files.FILES_TO_IGNORE)
_SHARD = re.compile(r"data/(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*")
_SPLIT_OF = {word: str(split) for split, words in datasets.data_files.SPLIT_KEYWORDS.items() for word in words}
_WORD = re.compile(rf"(?<![^-._ 0-9])(?:{'|'.join(sorted(_SPLIT_OF, key=len)[::-1])})(?![^-._ 0-9])", re.IGNORECASE)
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class DataFiles:
    """Files of one format and one split, in order of name."""

    files: tuple[Path, ...]
    split: str
    config: str | None = None


def find_files(name: str, *, config: str | None = None, split: str | None = "train") -> DataFiles | None:
    """The files of a dataset's name; None: it names no local files.

    Raises:
        DatasetError: the name is a path, but nothing there can be read; or a folder without that configuration or
            split.
    """
    if not name:
        raise DatasetError(
            "The dataset has no name. Expected pydoc, vital-articles, a path or a name on the Hub after --dataset."
        )
    path = Path(name).expanduser()
    if path.is_dir():
        data_files = _in_folder(name, path, config, split)
    elif path.is_file():
        data_files = DataFiles((path,), "train")
    elif glob.has_magic(name):
        data_files = DataFiles(_matching(str(path)), "train")
    elif data_suffix(path) or name.startswith((".", "/", "~")):
        raise DatasetError(f"There is no file {name!r}. Check the path given to --dataset.")
    else:
        return None
    _check(name, data_files.files)
    return data_files


def is_saved_dataset(name: str) -> bool:
    """Whether the name is a folder written by `datasets`' save_to_disk()."""
    return any((Path(name).expanduser() / mark).is_file() for mark in _SAVED_DATASET)


def data_suffix(path: Path) -> str | None:
    """Suffix of a file's format, under any compression ('.jsonl' of 'a.jsonl.gz'). None: not a supported format."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
        if suffixes[-1:] == [".parquet"]:
            return None
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def split_error(name: str, split: str | None, splits: str) -> DatasetError:
    """The error for a split that is missing or must be chosen; `splits` lists the existing ones."""
    problem = "several splits" if split is None else f"no split {split!r}"
    return DatasetError(f"The dataset {name!r} has {problem}: expected one of {splits}. Choose it with --split.")


def _check(name: str, files: tuple[Path, ...]) -> None:
    if not files:
        raise DatasetError(f"There is no data file at {name!r}: expected files ending in {_suffixes()}.")
    suffixes = sorted({data_suffix(file) or file.suffix for file in files})
    if len(suffixes) > 1:
        raise DatasetError(
            f"{name!r} holds files of several formats ({', '.join(suffixes)}). Name one, as in '*{suffixes[0]}'."
        )
    if data_suffix(files[0]) is None:
        raise DatasetError(f"The file {name!r} ends in {suffixes[0]!r}: expected one of {_suffixes()}.")
    for file in files:
        with file.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                raise DatasetError(
                    f"The file {str(file)!r} is a Git LFS pointer, not the data. Fetch it: git lfs pull, in its folder."
                )


def _suffixes() -> str:
    return f"{', '.join(FORMATS)} (all but .parquet also with {', '.join(COMPRESSIONS)})"


def _matching(pattern: str, folder: Path | None = None) -> tuple[Path, ...]:
    """Files that match, in order; `*` and `**` match nothing hidden."""
    base = Path() if folder is None else folder
    paths = (base / file for file in glob.glob(pattern, root_dir=folder, recursive=True))
    return tuple(sorted(filter(_is_there, paths)))


def _is_there(file: Path) -> bool:
    """Whether a path is a file.

    Raises:
        DatasetError: it is a broken link, as git-annex and interrupted downloads leave them.
    """
    if data_suffix(file) and file.is_symlink() and not file.exists():
        raise DatasetError(f"The file {str(file)!r} is a link to {os.readlink(file)!r}, which is not there. Fetch it.")
    return file.is_file()


def _in_folder(name: str, folder: Path, config: str | None, split: str | None) -> DataFiles:
    chosen, base, patterns = _configuration(name, folder, config)
    if patterns is None:
        splits = _splits(name, base)
    else:
        splits = {
            key: tuple(dict.fromkeys(file for pattern in some for file in _matching(pattern, base)))
            for key, some in patterns.items()
        }
    if not splits:
        return DataFiles((), "train")
    if split is None and len(splits) == 1:
        (split,) = splits
    if split not in splits:
        raise split_error(name, split, str(list(splits)))
    return DataFiles(splits[split], split, chosen)


def _configuration(name: str, folder: Path, config: str | None) -> tuple[str | None, Path, dict[str, list[str]] | None]:
    """The configuration in a repository's README: its name, its folder, and patterns of files by split."""
    configs = _readme_configs(folder)
    if not configs:
        if config is not None:
            raise DatasetError(
                f"The README.md of {name!r} names no configurations, but {config!r} was asked for. "
                "Leave out --dataset-config."
            )
        return None, folder, None
    by_name = {str(entry.get("config_name", "default")): entry for entry in configs}
    if config is None:
        default = [key for key, entry in by_name.items() if entry.get("default")] or ["default"]
        config = default[0] if default[0] in by_name else next(iter(by_name)) if len(by_name) == 1 else None
    if config not in by_name:
        problem = "several configurations" if config is None else f"no configuration {config!r}"
        raise DatasetError(
            f"The dataset {name!r} has {problem}: expected one of {list(by_name)}. Choose it with --dataset-config."
        )
    entry = by_name[config]
    base = folder / str(entry.get("data_dir") or "")
    if not entry.get("data_files"):
        return config, base, None
    try:
        patterns = datasets.data_files.sanitize_patterns(entry["data_files"])
    except (ValueError, TypeError) as error:
        raise DatasetError(f"The README.md of {name!r} has data_files that cannot be read: {error}") from error
    return config, base, {split: [str(pattern) for pattern in some] for split, some in patterns.items()}


def _readme_configs(folder: Path) -> list[dict]:
    readme = folder / "README.md"
    if not readme.is_file():
        return []
    try:
        configs = (metadata_load(readme) or {}).get("configs") or []
    except Exception as error:  # not UTF-8, not YAML, no mapping: each has an error of its own
        cause = " ".join(str(error).split())
        raise DatasetError(f"The header of {str(readme)!r} is not YAML: {cause}. Fix it, or move it away.") from error
    return [entry for entry in configs if isinstance(entry, dict)] if isinstance(configs, list) else []


def _splits(name: str, folder: Path) -> dict[str, tuple[Path, ...]]:
    """Every data file of a folder and the folders in it, by split; hidden ones are left out."""
    files = sorted(file for file in _walk(folder) if data_suffix(file) and file.name not in _NO_DATA)
    within = {file: file.relative_to(folder) for file in files}
    shards = {file: match["split"] for file in files if (match := _SHARD.fullmatch(within[file].as_posix()))}
    if shards:
        return _by_split(shards)
    for place in (lambda path: "/".join(path.parts[:-1]), lambda path: path.name):
        named = {file: _words(place(within[file]).replace("/", ".")) for file in files}
        if any(named.values()):
            unsure = next((file for file in files if len(named[file]) != 1), None)
            if unsure is not None:
                problem = "names several splits" if named[unsure] else "names none"
                raise DatasetError(
                    f"Files of {name!r} are named after splits, but {str(within[unsure])!r} {problem}. "
                    "Rename it, or name the files to read with a pattern, as in 'folder/*.jsonl'."
                )
            return _by_split({file: next(iter(splits)) for file, splits in named.items()})
    return {"train": tuple(files)} if files else {}


def _walk(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise DatasetError(f"The folder {error.filename!r} cannot be read: {error.strerror}.") from error

    paths = []
    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        paths += [Path(place, name) for name in files if not name.startswith(".")]
    return [file for file in paths if _is_there(file)]


def _words(text: str) -> set[str]:
    return {_SPLIT_OF[word.lower()] for word in _WORD.findall(text)}


def _by_split(split_of: dict[Path, str]) -> dict[str, tuple[Path, ...]]:
    """The usual splits first, then by name."""
    usual = [str(split) for split in datasets.data_files.DEFAULT_SPLITS]
    present = set(split_of.values())
    order = [split for split in usual if split in present] + sorted(present.difference(usual))
    return {split: tuple(file for file in split_of if split_of[file] == split) for split in order}
