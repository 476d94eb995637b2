"""A statement's answer as pages show it: its first rows, or why there is none, and the answer drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import current_app, request

from atlas import Atlas
from atlas.core.answer.texts import is_number
from atlas.core.names import is_neuron_name
from atlas.core.sql_text import parameter_names
from atlas.topics.collection import LONGEST_ADDRESS, Entry, neurons_of_answer
from atlas.topics.cut_list import Note, notes_of
from web.charts.chart import Chart
from web.charts.result import result_chart
from web.workers.sql.answer import Answer
from web.workers.sql.console import Console
from web.workers.sql.errors import SqlError

SHOWN = 1_000
"""Rows of an answer that a page shows; files hold all of it."""

LINKED = {"neuron": "neuron|name|second_neuron", "token_id": "(?:.*_)?token_id", "token": "(?:.*_)?token"}
"""Kinds of cells that lead to a page, and the columns that have them, as regular expressions."""


def cell_kind(column: str, value: object) -> str | None:
    """The kind of a cell that leads to a page; None: it leads nowhere."""
    kind = next((kind for kind, columns in LINKED.items() if re.fullmatch(columns, column)), None)
    fits = isinstance(value, int) and not isinstance(value, bool) if kind == "token_id" else isinstance(value, str)
    return kind if fits and (kind != "neuron" or is_neuron_name(str(value))) else None


@dataclass(frozen=True)
class Result:
    """An answer as the page shows it: its first rows, of `n` in all."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    n: int
    notes: tuple[Note, ...]
    numbers: tuple[bool, ...]
    """Of each column, whether it is of numbers."""
    neurons: tuple[str, ...]
    """The neurons that it is about as the address of a list has them, at most as many as a list may have."""
    notes_of_list: str | None
    """Whether these are 'with' the answer's notes on them or, since those are too long, 'without'; None: no notes."""


@dataclass(frozen=True)
class Problem:
    """Why there is no answer."""

    code: str
    message: str
    status: int
    place: tuple[str, str, str] | None
    """The statement before the wrong word, that word, and the rest; None if the place is not known."""


def console() -> Console:
    """Where the site's visitors may run SQL."""
    return current_app.extensions["console"]


def ask(atlas: Atlas, sql: str, parameters: Mapping[str, str]) -> Answer:
    """A statement's answer; a query ends when its visitor leaves, where the server shows the visitor's socket.

    Raises:
        SqlError: it has none.
    """
    return console().ask(atlas.info.slug, sql, parameters, client=request.environ.get("gunicorn.socket"))


def answered(atlas: Atlas, sql: str, parameters: Mapping[str, str]) -> tuple[Result | None, Problem | None]:
    """A statement's answer, or why it has none; neither for an empty statement."""
    if not sql.strip():
        return None, None
    missing = [name for name in parameter_names(sql) if not parameters.get(name)]
    if missing:
        text = f"The statement's parameter {missing[0]!r} has no value; write it beside its name."
        return None, Problem("bad_request", text, 400, None)
    try:
        answer = ask(atlas, sql, parameters)
        rows = tuple(map(tuple, answer.rows))
    except SqlError as error:
        place = None if error.position is None else _around(sql, error.position)
        return None, Problem(error.code, str(error), error.status, place)
    numbers = tuple(map(is_number, answer.shapes))
    neurons, notes = _as_list(neurons_of_answer(atlas, answer.columns, rows[:SHOWN]))
    return Result(
        answer.columns, answer.types, rows[:SHOWN], len(rows), answer_notes(atlas, answer), numbers, neurons, notes
    ), None


def _as_list(entries: Sequence[Entry]) -> tuple[tuple[str, ...], str | None]:
    """The entries of a list as its address has them, and whether with notes (see Result)."""
    written = tuple(entry.written() for entry in entries)
    if not any(entry.note for entry in entries):
        return written, None
    if sum(len(f"n={quote(text)}&") for text in written) <= LONGEST_ADDRESS:
        return written, "with"
    return tuple(entry.name for entry in entries), "without"


_WORD = re.compile(r'"(?:[^"]|"")*"?|\'(?:[^\']|\'\')*\'?|\w+|\S')


def _around(sql: str, place: int) -> tuple[str, str, str]:
    """A statement parted around the word at a place."""
    match = _WORD.match(sql, place)
    end = place if match is None else match.end()
    return sql[:place], sql[place:end], sql[end:]


def answer_notes(atlas: Atlas, answer: Answer) -> tuple[Note, ...]:
    """What a reader of an answer must know: the limit at which it ends, and the lists that it read which are cut."""
    cut = () if answer.cut is None else (Note(console().options.limits.cut_words(answer.cut)),)
    return cut + notes_of(atlas.info, answer.reads)


def drawn(atlas: Atlas, result: Result | None, kind: str, x: str, y: str) -> Chart | None:
    """The answer drawn; None if it is not to be, or has no such columns."""
    if result is None or kind == "none" or not {x, y} <= set(result.columns):
        return None
    rows = [tuple(map(_drawable, row, result.numbers)) for row in result.rows]
    return result_chart(kind, result.columns, rows, x, y, f"SQL on {atlas.info.model_name}")


def _drawable(value: Any, number: bool) -> Any:
    """A value for a chart: decimals and NaN, which are texts in JSON, are numbers and nothing there."""
    if not (number and isinstance(value, str)):
        return value
    with suppress(ValueError):  # its end may be cut
        found = float(value)
        return found if math.isfinite(found) else None
    return value
