"""Reference pages made from what they describe: the click commands and schema.sql."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
import duckdb

from atlas.cli.main import main
from atlas.core.schema import schema_sql
from atlas.topics.tables import SchemaMacro, schema_macros

NOTE = "<!-- Written by `make docs`; edit {source} instead. -->\n"
_WIDTH = 7919
"""Stands for d_model while the schema is created: a number that occurs nowhere else in it."""

_SECTION = re.compile(r"^-- -{20,}\n-- (?P<title>.+)\n-- -{20,}\n", re.MULTILINE)
_CREATED = re.compile(r'^CREATE (?:TABLE|VIEW) "?(\w+)"?', re.MULTILINE)
_MACRO = re.compile(r"^CREATE MACRO (\w+)", re.MULTILINE)


def cli_page() -> str:
    """docs/cli.md: every command with its arguments and options."""
    context = click.Context(main, info_name="atlas")
    lines = [
        "# The command line\n",
        NOTE.format(source="the commands' help"),
        f"{main.help}\n",
        "An error is a message on standard error and exit status 1; a misused option, 2; Ctrl-C, 130. "
        "`atlas COMMAND --help` prints what is below.\n",
    ]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        lines += _command(name, command, click.Context(command, parent=context, info_name=name))
    return "\n".join(lines)


def _command(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    options = [param for param in command.params if isinstance(param, click.Option)]
    words = ["atlas", name, *(["[OPTIONS]"] if options else []), *(_metavar(param, context) for param in arguments)]
    yield f"## atlas {name}\n"
    yield f"`{' '.join(words)}`\n"
    yield f"{inspect.cleandoc(command.help)}\n"
    if not options:
        return
    yield "| option | value | default | meaning |"
    yield "|---|---|---|---|"
    for param in options:
        value = "" if param.is_flag else f"`{_metavar(param, context)}`"
        default = _default(param, context)
        spelt = ", ".join(f"`{spelling}`" for spelling in param.opts)
        yield f"| {spelt} | {value} | {default} | {param.help} |"
    yield ""


def _metavar(param: click.Parameter, context: click.Context) -> str:
    if isinstance(param.type, click.Choice):
        return " / ".join(map(str, param.type.choices))
    if param.metavar:
        return param.metavar
    if isinstance(param, click.Argument):
        return param.name.upper()
    bounds = ""
    if isinstance(param.type, click.IntRange):
        low, high = param.type.min, param.type.max
        bounds = f" from {low}" if high is None else f" from {low} to {high}"
    return param.type.name.split(" ")[0].upper() + bounds


def _default(param: click.Option, context: click.Context) -> str:
    if param.required:
        return "required"
    value = param.to_info_dict()["default"]
    return "" if value is None or param.is_flag else f"`{value}`"


def schema_page() -> str:
    """docs/schema.md: every table and view, with types and comments as DuckDB reports them."""
    sql = schema_sql(_WIDTH)
    with duckdb.connect() as connection:
        connection.execute(sql)
        about = connection.execute(
            "SELECT table_name, comment FROM duckdb_tables() UNION ALL "
            "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
        described = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns() "
            "WHERE NOT internal ORDER BY table_name, column_index"
        ).fetchall()
    comments, columns = dict(about), {}
    for table, *column in described:
        columns.setdefault(table, []).append(column)
    lines = ["# The schema\n", NOTE.format(source="schema.sql")]
    lines.append(
        "An atlas is one DuckDB file of these tables, views and macros. `d_model` stands for the model's width. A "
        "column whose type ends in `?` can be NULL. Ids start at 0, ranks at 1. "
        "Formulas: [how-it-works.md](how-it-works.md); queries: [sql.md](sql.md).\n"
    )
    parts = _SECTION.split(sql)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lines.append(f"## {title}\n")
        for table in _CREATED.findall(body):
            is_view = re.search(rf'^CREATE VIEW "?{table}"? AS', body, re.MULTILINE) is not None
            lines += [f"### {table}\n", f"{_cell(comments[table])}\n", "| column | type | meaning |", "|---|---|---|"]
            lines += [
                f"| `{name}` | {_type(kind, nullable and not is_view)} | {_cell(comment)} |"
                for name, kind, nullable, comment in columns[table]
            ]
            lines.append("")
        for name in _MACRO.findall(body):
            lines += _macro(next(macro for macro in schema_macros() if macro.name == name))
    return "\n".join(lines)


def _macro(macro: SchemaMacro) -> list[str]:
    call = f"{macro.name}({', '.join(macro.parameters)})"
    columns = ", ".join(f"`{column.name}` {column.type}" for column in macro.columns)
    return [f"### {call}\n", f"{macro.comment}\n", *([f"Columns: {columns}.\n"] if columns else [])]


def _type(kind: str, nullable: bool) -> str:
    text = kind.replace(f"[{_WIDTH}]", "[d_model]").replace('"', "")
    return f"`{text}`" + ("?" if nullable else "")


def _cell(comment: str) -> str:
    return comment.replace("|", "\\|")
