"""An atlas with temporary tables in place of some of the file's tables; they last as long as it is open."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import duckdb
import duckdb_engine
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from atlas.core.db import Atlas
from atlas.core.files import database


class Overlaid(Atlas):
    """An Atlas with other rows in some tables. The file is not changed, and only this object sees the rows. Close it
    after use; it shares the vocabulary of the atlas beneath.
    """

    def __init__(self, beneath: Atlas, tables: Mapping[str, pa.Table]) -> None:
        super().__init__(beneath.path, beneath.info)
        self.tokens = beneath.tokens
        self._tables = dict(tables)

    @cached_property
    def _engine(self) -> sa.Engine:
        def connect() -> duckdb_engine.ConnectionWrapper:
            connection = duckdb.connect(database(self.path), read_only=True)
            for name, table in self._tables.items():
                # DuckDB prefers a temporary table to one of the file.
                connection.register("_overlaid", table)
                connection.execute(f'CREATE TEMPORARY TABLE "{name}" AS SELECT * FROM _overlaid')
                connection.unregister("_overlaid")
            return duckdb_engine.ConnectionWrapper(connection)

        return sa.create_engine("duckdb://", creator=connect, poolclass=NullPool)
