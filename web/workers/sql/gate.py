"""The gate: a single read-only statement may run; anything unknown is refused.

DuckDB's own parser (`json_serialize_sql`) describes the statement; every node of its description must be listed here.
The gate is not the security boundary: the process that runs the statement can change nothing (see `layers.py`). The
gate gives clear errors, and hides information about this machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from atlas.core.reads import Reads, misplaced_macro, reads

_QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLES = {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF"}
_MODIFIERS = {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER", "DISTINCT_MODIFIER"}
_ORDERS = {"ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
_NODES = _QUERIES | _TABLES | _MODIFIERS | _ORDERS
_EXPRESSIONS = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "DEFAULT",
    "FUNCTION",
    "LAMBDA",
    "LAMBDA_REF",
    "OPERATOR",
    "PARAMETER",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "TYPE",
    "WINDOW",
}

_TABLE_FUNCTIONS = {
    "range",
    "generate_series",
    "unnest",
    "repeat",
    "json_each",
    "json_tree",
    "summary",
    "duckdb_columns",
    "duckdb_constraints",
    "duckdb_functions",
    "duckdb_keywords",
    "duckdb_schemas",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
    "pragma_table_info",
    "pragma_version",
}
"""Table functions that read only their arguments and the atlas."""

_FUNCTIONS = {"current_setting", "getenv", "write_log", "pg_sleep", "parse_duckdb_log_message", "json_serialize_plan"}
"""Scalar functions that reveal information about this machine or write; all others are allowed."""

_VIEWS = {"duckdb_columns", "duckdb_constraints", "duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views"}
"""Allowed ones of DuckDB's views named duckdb_… and pragma_…; the others reveal paths and settings."""

_SHOWN = {"tables", "databases", "variables", "__show_tables_expanded"}
"""Allowed arguments of SHOW, besides a table."""

_ONLY = (
    "Only one statement that reads can be run here: SELECT, FROM, WITH, VALUES, TABLE, DESCRIBE, SHOW, SUMMARIZE, "
    "PIVOT, or EXPLAIN of one of them."
)

# Space and comments before a statement, and EXPLAIN, which json_serialize_sql does not know. This pattern does not
# match nested block comments, so an EXPLAIN after one is refused.
_EXPLAIN = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)*(?P<word>explain)\b", re.IGNORECASE)


class RefusedError(Exception):
    """A statement may not run; the text says why."""

    def __init__(self, message: str, code: str = "sql_refused", position: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.position = position


@dataclass(frozen=True)
class Surroundings:
    """What the gate knows of the connection that a statement would run on."""

    serialize: Callable[[str], str]
    """DuckDB's `json_serialize_sql`."""
    is_table: Callable[[str], bool]
    """Whether the atlas has a table of that name."""
    macros: Set[str] = frozenset()
    """The schema's macros, which the connection has in place of the files' (`atlas.core.schema.own_macros`)."""
    foreign: Set[str] = frozenset()
    """Other macros in the files, in lower case: somebody else wrote what they do."""
    called: Set[str] = frozenset()
    """The functions that the schema's macros call, in lower case."""

    @property
    def shadowing(self) -> str | None:
        """A macro of a file that one of the schema's would call in place of DuckDB's function or operator."""
        return min((name for name in self.foreign if name in self.called or re.search(r"\W", name)), default=None)


@dataclass(frozen=True)
class Checked:
    """A statement that may run, and what it reads."""

    sql: str
    reads: Reads


def check(sql: str, longest: int, around: Surroundings) -> Checked:
    """Check a statement of at most `longest` bytes; EXPLAIN reads nothing.

    Raises:
        RefusedError: it is not a single read-only statement.
    """
    if len(sql.encode("utf-8", "surrogatepass")) > longest:
        raise RefusedError(f"The statement is longer than {longest:,} bytes, this site's limit.")
    if "\0" in sql:
        raise RefusedError(
            "The statement contains a NUL character, which SQL does not allow.", position=sql.index("\0")
        )
    explain = _EXPLAIN.match(sql)
    offset = explain.end() if explain else 0
    rest = sql[offset:]
    if explain and re.match(r"\W*analy[sz]e\b", rest, re.IGNORECASE):
        raise RefusedError(
            "EXPLAIN ANALYZE runs its statement; EXPLAIN alone shows the plan.", position=explain.start("word")
        )
    statement = _parsed(around.serialize(rest), rest, offset)
    _check_tree(statement, around)
    misplaced = misplaced_macro(statement, around.macros)  # such a name would also run the file's own macro
    if misplaced is not None:
        raise RefusedError(misplaced)
    if not explain:
        return Checked(sql, reads(statement))
    # Blank out the prefix, so that every byte after it keeps its place for the positions in errors.
    return Checked("EXPLAIN".rjust(len(sql[:offset].encode("utf-8", "surrogatepass"))) + rest, Reads())


def _parsed(text: str, sql: str, offset: int) -> dict[str, Any]:
    """The one statement of the parser's answer."""
    try:
        answer = json.loads(text)
    except RecursionError as error:
        raise RefusedError("The statement is nested too deeply.") from error
    if answer.get("error"):
        if answer.get("error_type") == "parser":
            place = character(sql, answer.get("position"))
            message = f"Parser Error: {answer.get('error_message')}"
            raise RefusedError(message, "sql_failed", None if place is None else place + offset)
        raise RefusedError(_ONLY)
    statements = answer.get("statements")
    if not isinstance(statements, list) or not statements:
        raise RefusedError("There is no statement. " + _ONLY)
    if len(statements) > 1:
        raise RefusedError(f"There are {len(statements)} statements. " + _ONLY)
    return statements[0]


def _check_tree(statement: dict[str, Any], around: Surroundings) -> None:
    """Check every node, at any depth."""
    if statement.get("node", {}).get("type") not in _QUERIES:
        raise RefusedError(_ONLY)
    pending: list[Any] = [statement]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
            _check_node(item, around)


def _check_node(node: dict[str, Any], around: Surroundings) -> None:
    kind = node.get("class")
    if kind is not None:
        if kind not in _EXPRESSIONS:
            raise RefusedError(f"{kind} cannot be used here. {_ONLY}")
        if kind in ("FUNCTION", "WINDOW"):
            _check_function(node, around)
        return
    kind = node.get("type")
    if kind == "BASE_TABLE":
        _check_table(node)
    elif kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in _TABLE_FUNCTIONS and name not in around.macros:
            raise RefusedError(f"The table function {name} cannot be used here.")
    elif kind == "SHOW_REF":
        _check_show(node, around.is_table)
    elif "info_type" in node or (isinstance(kind, str) and kind not in _NODES and not kind.endswith("_TYPE_INFO")):
        raise RefusedError(_ONLY)


def _check_function(node: dict[str, Any], around: Surroundings) -> None:
    """Check a call of a function or macro; the call in a table function is one too."""
    name = str(node.get("function_name", "")).lower()
    if name in _FUNCTIONS:
        raise RefusedError(f"The function {name} cannot be used here.")
    if name in around.foreign:
        raise RefusedError(f"The macro {name} cannot be used here: it is not one of the schema's.")
    if name in around.macros and around.shadowing is not None:
        raise RefusedError(
            f"The macro {name} cannot be used here: this file has a macro {around.shadowing!r} of its own, which "
            f"{name} would run in place of DuckDB's. Ask the tables instead."
        )


def _check_table(node: dict[str, Any]) -> None:
    name = str(node.get("table_name", "")).lower()
    if name == "pg_settings" or (name.startswith(("duckdb_", "pragma_")) and name not in _VIEWS):
        raise RefusedError(f"The view {name} cannot be used here: it reveals information about this machine.")


def _check_show(node: dict[str, Any], is_table: Callable[[str], bool]) -> None:
    """Check a SHOW of a name, which is a table or else a setting."""
    name = str(node.get("table_name", "")).strip('"')
    if node.get("query") is None and name.lower() not in _SHOWN and not is_table(name):
        raise RefusedError(f"There is nothing to show under the name {name}; SHOW TABLES lists the tables.")


def character(sql: str, position: Any) -> int | None:
    """The character at DuckDB's position in bytes; None if DuckDB gives none."""
    if not str(position).isdigit():
        return None
    return len(sql.encode("utf-8", "surrogatepass")[: int(position)].decode("utf-8", "ignore"))
