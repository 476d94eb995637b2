"""The SQL for an atlas elsewhere, on a file beside us: `httpfs` is no part of this environment; requests, counted."""

from __future__ import annotations

from pathlib import Path
from urllib.request import Request, urlopen

import duckdb

from benchmarks.remote import DOCUMENTED, QUERIES, counting, documented
from tests.static_host import static_host


def test_what_is_asked_has_answers(tiny_llama_atlas: Path):
    with duckdb.connect() as connection:
        rows = connection.execute(documented(str(tiny_llama_atlas), "L1N7")).fetchall()
        assert len(rows) == 20
        assert DOCUMENTED not in documented("elsewhere", "L1N7")
        for name, sql in QUERIES.items():
            assert connection.execute(sql).fetchall(), name


def test_requests_are_counted(tmp_path: Path):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with static_host(tmp_path) as host, counting(host.url) as counted:
        with urlopen(Request(f"{counted.address}/file", headers={"Range": "bytes=10-19"})) as answer:
            assert answer.read() == bytes(range(10, 20))
            assert answer.headers["Content-Range"] == "bytes 10-19/100"
        with urlopen(Request(f"{counted.address}/file", method="HEAD")) as answer:
            assert answer.headers["Content-Length"] == "100"
        assert counted.take() == (2, 10)
        assert counted.take() == (0, 0)
