"""Statements: one SQL text for each list of the atlas. Pages, API and report run it, and a panel's SQL link shows it.

A fixed query is a `Statement` with `$name` parameters; one composed of a visitor's filters is a `Composed` select of
SQLAlchemy. Both run with `rows` and are written out for people with `shown`, values in place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.operators import and_

from atlas.core.sql_text import quoted_text

if TYPE_CHECKING:
    import numpy as np

    from atlas.core.db import Atlas


# Quoted text and comments are skipped; the rest may hold parameters.
_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\$([a-z_]+)""")
_FOR_READERS = re.compile(r"/\*\+(.*?)\*/", re.DOTALL)


@dataclass(frozen=True)
class Statement:
    """A fixed query. Its parameters are written `$name`.

    A part between `/*+` and `*/` is for readers: it joins names and texts, and sorts. The program has these in memory,
    and the joins would double the cost of a point lookup. DuckDB skips it as a comment when the query runs; `shown`
    writes it out.
    """

    sql: str
    each: str | None = None
    """The neuron_id or token_id that the query compares with the parameter of that name, as its first list of columns
    can spell it. The rows of an id are the same where the comparison is with a range (see `Ahead`); None: they are not.
    """

    def rows(self, atlas: Atlas, **parameters: Any) -> Sequence[tuple]:
        """Rows of the query on an atlas.

        Raises:
            QueryError: DuckDB refuses the query or fails at it.
        """
        if atlas.ahead is not None and self.each is not None:
            rows = atlas.ahead.rows(self, parameters)
            if rows is not None:
                return rows
        return atlas.rows(self.sql, parameters) if parameters else atlas.rows(self.sql)

    def of_range(self) -> str:
        """The query of a statement that has `each` for the ids from `$first` to `$last`, each row led by its id."""
        ranged = re.sub(r"(\w+_id) = \$\1\b", r"\1 BETWEEN $first AND $last", self.sql)
        return ranged.replace("SELECT ", f"SELECT {self.each}, ", 1)

    def arrays(self, atlas: Atlas, **parameters: Any) -> dict[str, np.ndarray]:
        """Columns of the query on an atlas as NumPy arrays, masked where there are NULLs.

        Raises:
            QueryError: DuckDB refuses the query or fails at it.
        """
        return atlas.arrays(self.sql, parameters)

    def shown(self, **parameters: Any) -> str:
        """The query with its values written out: it runs as it is, on the file or in the console.

        Raises:
            KeyError: a parameter has no value.
        """
        return "".join(text if name is None else literal(parameters[name]) for text, name in _pieces(self.sql))


ANSWERED_FROM_MEMORY = {
    "neuron: place, guard, numbers, verdict": "test_web_panels.test_a_neurons_numbers_place_guard_and_verdict",
    "neuron: predicts, threshold, texts": "test_atlas_panels.test_a_neurons_panels",
    "neuron: kind": "test_atlas_kinds.test_kinds",
    "layer: kinds": "test_atlas_kinds.test_kinds_divide_layers_and_selections",
    "neuron: alike": "test_atlas_panels.test_a_neurons_panels",
    "similar: similar": "test_web_panels.test_what_scans_the_weights",
    "neuron_tokens: spread, top, bottom": "test_web_panels.test_what_scans_the_weights",
    "token_neurons: layers, outliers": "test_web_panels.test_what_scans_the_weights",
    "token: relatives, curves": "test_web_panels.test_a_tokens_curves_and_relatives",
    "token: spellings": "test_atlas_families.test_pairs_with_other_spellings_set_aside",
    "token: texts": "test_atlas_panels.test_a_neurons_panels",
    "token: kin": "test_atlas_families.test_kin_share_best_neurons",
    "reduced_tokens: ranked": "test_atlas_kinds.test_reduced_congruence",
    "reduced_neurons: ranked": "test_atlas_kinds.test_reduced_congruence",
    "reduced_hubs: occurrence, plain, reduced": "test_atlas_kinds.test_reduced_hubs",
    "pairs: curves": "test_web_panels.test_pairs",
    "hubs: occurrence, distribution": "test_web_panels.test_hubs",
    "centring: centred, uncentred": "test_web_panels.test_centring",
    "compare: numbers, percentiles, histograms, curves, texts": "test_web_panels.test_neurons_side_by_side",
    "overview: kinds": "test_atlas_kinds.test_kinds_divide_layers_and_selections",
    "overview: provenance": "test_web_panels.test_the_overviews_best_neurons_and_layers",
    "neurons: neurons, facets, glances": "test_web_panels.test_every_page_of_the_neurons",
    "layer: glances": "test_web_panels.test_every_page_of_the_neurons",
    "study: numbers, direct, curve": "test_atlas_study.test_the_panels_answer",
    "neuron: studies": "test_atlas_study.test_where_neurons_and_tokens_stand_out",
    "token: studies": "test_atlas_study.test_where_neurons_and_tokens_stand_out",
    "search: tokens, writers, neurons, texts": "test_web_panels.test_what_a_search_finds",
    "bridge_token: numbers, neurons, curves, metrics": "test_web_bridge.test_its_sql_answers_what_the_pages_show",
    "bridge_compare: numbers, histograms, tokens, curves": "test_web_bridge.test_its_sql_answers_what_the_pages_show",
}
"""Panels, by template, whose SQL is not the SQL that the page runs, each with a test that both agree: the page answers
from arrays read once in a process, from rows that it has read already, by key instead of by place, or from several
files."""


@cache
def _pieces(sql: str) -> tuple[tuple[str, str | None], ...]:
    """A statement for readers, cut at its parameters: (text, None) and ("", name)."""
    sql, pieces, place = _FOR_READERS.sub(r"\1", sql), [], 0
    for parameter in _PARAMETER.finditer(sql):
        if parameter[1]:
            pieces += [(sql[place : parameter.start()], None), ("", parameter[1])]
            place = parameter.end()
    return (*pieces, (sql[place:], None))


@dataclass(frozen=True)
class Composed:
    """A query composed with SQLAlchemy Core."""

    select: sa.Select
    named: sa.Select | None = None
    """The same rows with names of neurons and texts of tokens, for `shown`; None: `select` has them."""

    def rows(self, atlas: Atlas) -> Sequence[tuple]:
        """Rows of the query on an atlas.

        Raises:
            QueryError: DuckDB refuses the query or fails at it.
        """
        return atlas.select(self.select)

    def shown(self) -> str:
        """The query with its values written out and a line for each clause."""
        return _lines(_rendered(self.select if self.named is None else self.named))


def literal(value: Any) -> str:
    """A value as SQL writes it; a sequence becomes a list.

    Floats have an exponent, which makes them DOUBLE to DuckDB: it reads 0.1 as a DECIMAL and compares it as one.

    Raises:
        TypeError: SQL has no literal for the value.
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case int():
            return str(value)
        case float():
            text = repr(value)
            if not math.isfinite(value):
                return f"'{text}'::DOUBLE"
            return text if "e" in text else f"{text}e0"
        case str():
            return quoted_text(value)
        case list() | tuple():
            return f"[{', '.join(map(literal, value))}]"
    raise TypeError(f"{value!r} has no literal in SQL; expected None, a bool, a number, a text, or a list of them.")


class _Compiler(SQLCompiler):
    def render_literal_value(self, value: object, type_: sa.types.TypeEngine) -> str:
        """A float with its exponent, as `literal` writes it."""
        return literal(value) if isinstance(value, float) else super().render_literal_value(value, type_)


class _Dialect(DefaultDialect):
    """Plain SQL. DuckDB's own dialect writes literals for another database: it doubles every backslash."""

    statement_compiler = _Compiler


_DIALECT = _Dialect()

# Quoted text comes first and stays as it is; then the words that begin a line or end one.
_PARTS = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|[()])"""
    r"|\s+(FROM|WHERE|(?:LEFT OUTER )?JOIN|GROUP BY|ORDER BY|LIMIT|AND)\b|(,)\s",
    re.DOTALL,
)
_WIDTH = 110


def _lines(sql: str) -> str:
    """A rendered SELECT, broken into a line for each clause; a subquery is indented."""
    lines, place = [""], 0
    subqueries: list[bool] = []  # whether each open bracket holds a subquery
    for part in _PARTS.finditer(sql):
        lines[-1] += sql[place : part.start()]
        place = part.end()
        token, clause, comma = part.groups()
        if token == "(":
            subqueries.append(sql.startswith("SELECT", place))
        indent, broken = "    " * sum(subqueries), all(subqueries)
        if token == "(" and broken:
            lines[-1] += "("
            lines.append(indent)
        elif token == ")" and subqueries.pop() and broken:
            lines.append("    " * sum(subqueries) + ")")
        elif clause and broken:
            lines.append(indent + (f"  {clause}" if clause == "AND" else clause))
        elif comma and broken and len(lines[-1]) > _WIDTH - 30:
            lines[-1] += ","
            lines.append(indent + " " * len("SELECT "))
        else:
            lines[-1] += token or (f" {clause}" if clause else ", ")
    return "\n".join([*lines[:-1], lines[-1] + sql[place:]])


def where(conditions: Iterable[sa.ColumnElement[bool]], indent: str = "") -> str:
    """A WHERE clause on a new line, with a line for each condition; empty without conditions."""
    texts = [_rendered(condition.self_group(against=and_)) for condition in conditions]
    return f"\n{indent}WHERE " + f"\n{indent}  AND ".join(texts) if texts else ""


def _rendered(clause: sa.ClauseElement) -> str:
    return str(clause.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def wrapped(items: Iterable[str], indent: int) -> str:
    """Items separated by commas, in lines indented by `indent` spaces (except the first)."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH - indent:
            lines[-1] += ","
            lines.append("")
        lines[-1] += f", {item}" if lines[-1] else item
    return f"\n{' ' * indent}".join(lines)
