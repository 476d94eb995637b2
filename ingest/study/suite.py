"""Suites, which are files of prompt pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingest.errors import StudyError
from ingest.study.prompts import PromptPair
from ingest.texts.text_file import NOT_TEXT, read_text, undecodable

_KEYS = ("clean", "corrupt", "answer", "other")


def read_suite(file: Path, answer: str | None = None, other: str | None = None) -> list[PromptPair]:
    """Read a list of entries with keys clean, corrupt, answer, other: JSON Lines (.jsonl, .ndjson), else YAML.

    `answer` and `other` serve entries that have none of their own.

    Raises:
        StudyError: the file cannot be read, or an entry is malformed; names the entry.
    """
    try:
        text = read_text(file)
    except UnicodeDecodeError as error:
        raise StudyError(undecodable(file, error)) from error
    except (OSError, *NOT_TEXT) as error:
        cause = getattr(error, "strerror", None) or error
        raise StudyError(f"The suite {file} cannot be read: {cause}.") from error
    entries = _json_lines(file, text) if file.suffix in (".jsonl", ".ndjson") else _yaml(file, text)
    if not entries:
        raise StudyError(f"The suite {file} is empty: expected entries with keys {', '.join(_KEYS)}.")
    defaults = {"answer": answer, "other": other}
    return [_pair(f"{file}, {place}", entry, defaults) for place, entry in entries]


def _json_lines(file: Path, text: str) -> list[tuple[str, Any]]:
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                entries.append((f"line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise StudyError(f"{file}, line {number} is not JSON: {error.msg} at column {error.colno}.") from error
    return entries


def _yaml(file: Path, text: str) -> list[tuple[str, Any]]:
    import yaml

    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        raise StudyError(f"{file}{place} is not YAML: {getattr(error, 'problem', None) or error}.") from error
    if entries is not None and not isinstance(entries, list):
        raise StudyError(f"The suite {file} holds one {type(entries).__name__}, expected a list of entries ('- …').")
    return [(f"entry {number}", entry) for number, entry in enumerate(entries or [], 1)]


def _pair(place: str, entry: Any, defaults: dict[str, str | None]) -> PromptPair:
    if not isinstance(entry, dict):
        raise StudyError(f"{place} is {entry!r}, expected keys {', '.join(_KEYS)}.")
    unknown = sorted(str(key) for key in set(entry) - set(_KEYS))
    if unknown:
        raise StudyError(f"{place} has a key {unknown[0]!r}, expected only {', '.join(_KEYS)}.")
    values = {**{key: value for key, value in defaults.items() if value is not None}, **entry}
    for key in _KEYS:
        if key not in values:
            raise StudyError(f"{place} has no {key!r}: expected keys {', '.join(_KEYS)}.")
        if not isinstance(values[key], str):
            raise StudyError(f"{place}: {key} is {values[key]!r}, expected text. Put it in quotes.")
    try:
        return PromptPair(**values)
    except StudyError as error:
        raise StudyError(f"{place}: {error}") from error
