"""`/{slug}/tables`: the file's tables and views; whole tables as Parquet or CSV, and the file itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

from flask import Response, g, request
from werkzeug.wsgi import FileWrapper

from atlas import Atlas
from atlas.export.pieces import FORMATS, pieces
from atlas.topics.tables import (
    SchemaColumn,
    SchemaMacro,
    SchemaTable,
    TableSize,
    schema_macros,
    schema_tables,
    table_sizes,
)
from web.site import urls
from web.site.caching import lasting, not_modified, validated
from web.site.downloads import PIECE, check_file, check_on, gate, paced
from web.site.errors import NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("tables", __name__)

_MIMETYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv"}
_SMALL_PART = 16 << 20
"""Bytes of a part of the file that is sent like a page: DuckDB reads a remote file in many small parts."""


@dataclass(frozen=True, kw_only=True)
class TableListing:
    """A table or view: its description, and its size if it is a table."""

    name: str
    comment: str | None
    view: bool
    rows: int | None
    """None: a view, whose rows are not counted."""
    bytes: int | None
    """What it takes of the atlas's file. None: a view takes nothing."""
    columns: tuple[SchemaColumn, ...]
    parquet: str | None
    """Where it is whole. None: a view, or downloads are off."""
    csv: str | None
    """The same as CSV."""
    sql: str
    """Its first rows, in the SQL console."""


@dataclass(frozen=True, kw_only=True)
class TablesPage(AtlasPage, template="tables.html"):
    """What is in the file, and whole tables to download."""

    macros: tuple[SchemaMacro, ...] = field(metadata=doc("The schema's macros, those that answer with a table first."))
    tables: tuple[TableListing, ...] = field(
        metadata=doc("Tables, then views (ids resolved, for people), with their columns.")
    )
    file: str | None = field(metadata=doc("Where the whole file is. Null: downloads are off."))
    file_bytes: int = field(metadata=doc("Size of the whole file, bytes."))


@page(blueprint, "/<atlas:ref>/tables")
def tables(atlas: Atlas) -> TablesPage:
    """The tables and views that can be downloaded, tables first."""
    sizes = table_sizes(atlas)
    listed = sorted(schema_tables(atlas), key=lambda table: (table.view, table.name))
    on = gate().places > 0
    return TablesPage(
        title="Tables",
        url=urls.to("tables", g.ref),
        description=f"The tables and views of the neuron atlas of {atlas.info.model_name}, every column explained; "
        "whole tables as Parquet or CSV.",
        **atlas_fields(atlas),
        macros=schema_macros(),
        tables=tuple(_listing(table, sizes.get(table.name), on) for table in listed),
        file=urls.to("atlas_file", g.ref) if on else None,
        file_bytes=os.stat(atlas.path).st_size,
    )


def _listing(table: SchemaTable, size: TableSize | None, on: bool) -> TableListing:
    whole = on and not table.view
    return TableListing(
        name=table.name,
        comment=table.comment,
        view=table.view,
        rows=size.rows if size else None,
        bytes=size.bytes if size else None,
        columns=table.columns,
        parquet=urls.to("table_parquet", g.ref, table.name) if whole else None,
        csv=urls.to("table_csv", g.ref, table.name) if whole else None,
        sql=urls.sql(g.ref, f'SELECT * FROM "{table.name}" LIMIT 100'),
    )


def table_file(ref: AtlasRef, name: str, form: str) -> Response:
    """A whole table, made while it is sent: it has no length, and no part of it can be asked for."""
    g.ref, atlas = ref, find_atlas(ref)
    check_on(urls.to("tables", ref))
    table = _find(atlas, name, form)
    held = not_modified(atlas.info.build_id)
    if held is not None:
        return held
    check_file(atlas, os.stat(atlas.path))
    if request.method == "HEAD":
        answer = Response(iter(()))  # no list: its length, which Flask would send, is not the file's
    else:
        leave = gate().enter()
        answer = Response(paced(pieces(atlas, table, form)))
        answer.call_on_close(leave)
    answer.mimetype = _MIMETYPES[form]
    answer.headers["Content-Disposition"] = f'attachment; filename="{atlas.info.slug}-{name}.{form}"'
    return validated(answer, atlas.info.build_id, pinned=lasting(ref, atlas.info))


def _find(atlas: Atlas, name: str, form: str) -> SchemaTable:
    known = {table.name: table for table in schema_tables(atlas)}
    if name in known and not known[name].view:
        return known[name]
    names = ", ".join(table.name for table in known.values() if not table.view)
    what = "is a view, which is not sent whole: ask it in the SQL console" if name in known else "is no table here"
    raise NotServedError(f"{name!r} {what}; as .{form} there is {names}.", urls.to("tables", g.ref))


for _form in FORMATS:
    blueprint.add_url_rule(
        f"/<atlas:ref>/tables/<name>.{_form}", f"table_{_form}", table_file, defaults={"form": _form}
    )


@blueprint.get("/<atlas:ref>/atlas.duckdb")
def atlas_file(ref: AtlasRef) -> Response:
    """The file itself, or the part of it that `Range` asks for: DuckDB's httpfs reads it in place."""
    g.ref, atlas = ref, find_atlas(ref)
    check_on(urls.to("tables", ref))
    # Everything that is taken here is given back when the answer is closed, sent or not.
    with ExitStack() as stack:
        file = stack.enter_context(atlas.path.open("rb"))
        status = os.fstat(file.fileno())
        check_file(atlas, status)
        if request.method == "GET" and _length(status.st_size) > _SMALL_PART:
            stack.callback(gate().enter())
        answer = Response(FileWrapper(file, PIECE), mimetype="application/octet-stream")
        answer.headers["Content-Disposition"] = f'attachment; filename="{atlas.info.slug}.duckdb"'
        answer.headers["Cache-Control"] = "no-cache"
        # Strong, and of these very bytes: parts of two files of one build must not be put together.
        answer.set_etag(f"{atlas.info.build_id}-{status.st_size:x}-{status.st_mtime_ns:x}")
        answer.content_length = status.st_size
        answer.make_conditional(request, accept_ranges=True, complete_length=status.st_size)
        answer.response = paced(cast(Iterable[bytes], answer.response))
        answer.call_on_close(stack.pop_all().close)
        return answer


def _length(size: int) -> int:
    """Bytes that the request asks for."""
    part = request.range.range_for_length(size) if request.range is not None else None
    return size if part is None else part[1] - part[0]
