"""Queries composed with SQLAlchemy as SQL that people read and run: values written out, a line for each clause."""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.operators import and_


class _Compiler(SQLCompiler):
    def render_literal_value(self, value: object, type_: sa.types.TypeEngine) -> str:
        """A float with an exponent, which makes it a DOUBLE to DuckDB: 0.1 would be a DECIMAL, and compare as one."""
        if isinstance(value, float):
            text = repr(value)
            return text if "e" in text else f"{text}e0"
        return super().render_literal_value(value, type_)


class _Dialect(DefaultDialect):
    """Plain SQL. DuckDB's own dialect writes literals for another database: it doubles every backslash."""

    statement_compiler = _Compiler


_DIALECT = _Dialect()

# Quoted text comes first and stays as it is; of the rest, what may begin a line or be followed by one.
_PARTS = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|[()])"""
    r"|\s+(FROM|WHERE|(?:LEFT OUTER )?JOIN|GROUP BY|ORDER BY|LIMIT|AND)\b|(,)\s",
    re.DOTALL,
)
_WIDTH = 110


def literal(statement: sa.Select) -> str:
    """A query as SQL with its values written out."""
    lines, depth, place = [""], 0, 0
    written = _written(statement)
    for part in _PARTS.finditer(written):
        lines[-1] += written[place : part.start()]
        place = part.end()
        kept, clause, comma = part.groups()
        depth += {"(": 1, ")": -1}.get(kept, 0)
        if clause and depth == 0:
            lines.append(f"  {clause}" if clause == "AND" else clause)
        elif comma and depth == 0 and len(lines[-1]) > _WIDTH - 30:
            lines[-1] += ","
            lines.append(" " * len("SELECT "))
        else:
            lines[-1] += kept or (f" {clause}" if clause else ", ")
    return "\n".join([*lines[:-1], lines[-1] + written[place:]])


def where(conditions: Iterable[sa.ColumnElement[bool]], indent: str = "") -> str:
    """A WHERE clause with a line for each condition, behind a line break; nothing where there are none."""
    texts = [_written(condition.self_group(against=and_)) for condition in conditions]
    return f"\n{indent}WHERE " + f"\n{indent}  AND ".join(texts) if texts else ""


def _written(clause: sa.ClauseElement) -> str:
    return str(clause.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def numbers(values: Iterable[int]) -> str:
    """Whole numbers with commas between them."""
    return ", ".join(map(str, values))


def wrapped(items: Iterable[str], indent: int) -> str:
    """Items with commas between them, in lines that begin after `indent` spaces (but for the first)."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH - indent:
            lines[-1] += ","
            lines.append("")
        lines[-1] += f", {item}" if lines[-1] else item
    return f"\n{' ' * indent}".join(lines)
