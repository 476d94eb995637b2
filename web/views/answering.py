"""A statement's answer as pages show it: its first rows, or why there is none, and the answer drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import current_app, request

from atlas import Atlas
from atlas.core.answer.texts import is_number
from atlas.core.sql_text import parameter_names
from atlas.topics.collection import neurons_of_answer
from atlas.topics.cut_list import Note, notes_of
from web.charts.chart import Chart
from web.charts.result import result_chart
from web.workers.sql.answer import Answer
from web.workers.sql.console import Console
from web.workers.sql.errors import SqlError

SHOWN = 1_000
"""Rows of an answer that a page shows; files hold all of it."""


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
    """Names of the neurons that it is about, at most as many as a list may have."""


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
    neurons = tuple(ref.name for ref in neurons_of_answer(atlas, answer.columns, rows[:SHOWN]))
    return Result(
        answer.columns, answer.types, rows[:SHOWN], len(rows), answer_notes(atlas, answer), numbers, neurons
    ), None


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
