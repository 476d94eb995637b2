"""The reads of a statement: the tables, macros, tokens and neurons that it names, from DuckDB's description of it.

The sandbox's small processes import this too: it needs only the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, fields
from typing import Any

from atlas.core.sql_text import quoted_text

SERIALIZE = "SELECT json_serialize_sql(?)"
"""The query for DuckDB's description of a statement, which only statements that read have."""

_TOKENS, _NEURONS = ("token", "text"), ("neuron", "name")
"""Columns that hold a token's text and a neuron's name."""


@dataclass(frozen=True)
class Reads:
    """What a statement reads; each name once, in the order of the statement."""

    tables: tuple[str, ...] = ()
    """Tables and views."""
    macros: tuple[str, ...] = ()
    """Functions and macros that answer with a table."""
    tokens: tuple[str, ...] = ()
    """Token texts that a column is compared with, as SQL: a literal or a parameter."""
    neurons: tuple[str, ...] = ()
    """Names of neurons, likewise."""


def reads(description: dict[str, Any]) -> Reads:
    """What the statement of that description reads. A DESCRIBE or SHOW reads no rows."""
    nodes = list(_nodes(description))
    defined = {item["key"].lower() for node in nodes for item in (node.get("cte_map") or {}).get("map", ())}
    tables = [str(node["table_name"]).lower() for node in nodes if node.get("type") == "BASE_TABLE"]
    macros = [str(node["function"]["function_name"]).lower() for node in nodes if node.get("type") == "TABLE_FUNCTION"]
    compared = [pair for node in nodes for pair in _compared(node)]

    def values(columns: tuple[str, ...]) -> tuple[str, ...]:
        places = {_sql(value): value.get("query_location", 0) for column, value in compared if column in columns}
        return tuple(sorted((sql for sql in places if sql), key=lambda sql: places[sql]))

    return Reads(
        tuple(dict.fromkeys(name for name in tables if name not in defined)),
        tuple(dict.fromkeys(macros)),
        values(_TOKENS),
        values(_NEURONS),
    )


def misplaced_macro(description: dict[str, Any], macros: Set[str]) -> str | None:
    """Why a statement may not call one of `macros` with a database before its name: the macro's tables would still be
    those of the connection's own atlas. None: it does not."""
    for node in _nodes(description):
        name = str(node.get("function_name", "")).lower()
        if name in macros and (node.get("schema") or node.get("catalog")):
            return (
                f"The macro {name} reads the first atlas, whatever database is written before it: write {name}(…) "
                "without a database before it, and ask about another atlas in a query of its own."
            )
    return None


def reads_from_json(record: Any) -> Reads:
    """Reads from a record of lists of texts, as `dataclasses.asdict` makes it.

    Raises:
        KeyError, TypeError: it is not one.
    """
    return Reads(**{field.name: tuple(map(str, record[field.name])) for field in fields(Reads)})


def _nodes(item: Any) -> Iterator[dict[str, Any]]:
    """Every node of a description, at any depth, in order."""
    pending = [item]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item[::-1]
        elif isinstance(item, dict) and item.get("type") != "SHOW_REF":
            yield item
            pending += list(item.values())[::-1]


def _compared(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The column and the value of each equality in a node."""
    kind = node.get("type")
    if kind == "COMPARE_EQUAL":
        sides = [(node["left"], node["right"]), (node["right"], node["left"])]
    elif kind == "COMPARE_IN":
        first, *others = node["children"]
        sides = [(first, other) for other in others]
    else:
        return
    for column, value in sides:
        if column.get("class") == "COLUMN_REF" and value.get("class") in ("CONSTANT", "PARAMETER"):
            yield str(column["column_names"][-1]).lower(), value


def _sql(value: dict[str, Any]) -> str | None:
    """A text or a parameter as SQL; None for other values."""
    if value["class"] == "PARAMETER":
        return f"${value['identifier']}"
    text = _text(value)
    return None if text is None else quoted_text(text)


def _text(value: dict[str, Any]) -> str | None:
    literal = value.get("literal")
    if literal is not None:  # DuckDB 2
        return literal["text"] if literal.get("kind") == "STRING" else None
    constant = value.get("value") or {}
    return constant.get("value") if (constant.get("type") or {}).get("id") == "VARCHAR" else None
