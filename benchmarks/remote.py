"""What it costs to read an atlas from elsewhere: requests and bytes of DuckDB with `httpfs`, counted by a proxy.

    python -m venv away && away/bin/pip install 'duckdb==1.5.*' duckdb-extension-httpfs
    away/bin/python -m benchmarks.remote http://127.0.0.1:8000/smollm2-135m/atlas.duckdb [--tables URL]

Needs nothing of this program, and a DuckDB for which there is a package of the extension. The address is that of
`atlas serve`, or of any server that answers ranges; `--tables` is the address of a folder of `atlas export`. The SQL is
that of docs/remote.md, too, with its address replaced.
"""

from __future__ import annotations

import argparse
import http.client
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "remote.md"
DOCUMENTED = "https://atlas.example/gpt2-large/atlas.duckdb"
"""The address in the document."""

QUERIES = {
    "`SELECT slug, build_id FROM atlas`": "SELECT slug, build_id FROM atlas",
    "a neuron's row of `neuron`, by `neuron_id`": "FROM neuron WHERE neuron_id = 5",
    "its tokens in `neuron_token`, by `neuron_id`": "FROM neuron_token WHERE neuron_id = 5",
    "`SELECT neuron, token, score FROM pair ORDER BY rank LIMIT 10`": (
        "SELECT neuron, token, score FROM pair ORDER BY rank LIMIT 10"
    ),
    "a pair in `prediction_curve`, by ids": (
        "FROM prediction_curve WHERE neuron_id = 5 "
        "AND token_id = (SELECT min(token_id) FROM candidate_pair WHERE neuron_id = 5)"
    ),
    "a neuron's texts in `max_activating_example`, by name": (
        "FROM max_activating_example WHERE neuron = 'L0N5' AND kind = 'max'"
    ),
    "one vector of `neuron_weight`, by `neuron_id`": "SELECT w_out FROM neuron_weight WHERE neuron_id = 5",
    "`congruence_with(token)`: every neuron's weights": (
        "SELECT neuron, congruence FROM congruence_with(5) ORDER BY congruence DESC LIMIT 5"
    ),
}
"""What is asked, in this order, by its name in the document."""


@dataclass
class Counted:
    """A proxy's address, and the (method, path, bytes) of what went through it since it was last emptied."""

    address: str
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    def take(self) -> tuple[int, int]:
        """(requests, bytes) since the last call."""
        taken, self.requests = self.requests, []
        return len(taken), sum(size for _, _, size in taken)


@contextmanager
def counting(target: str) -> Iterator[Counted]:
    """A proxy before the server at `target`, 'http://127.0.0.1:8000'."""
    counted = Counted("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(urlsplit(target).netloc)
            connection.request(
                self.command, self.path, headers={"Range": self.headers["Range"]} if self.headers["Range"] else {}
            )
            response = connection.getresponse()
            body = response.read()
            counted.requests.append((self.command, self.path, len(body)))
            self.send_response(response.status)
            for name in ("Content-Range", "Content-Type", "Accept-Ranges", "ETag", "Last-Modified"):
                if value := response.getheader(name):
                    self.send_header(name, value)
            length = response.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            connection.close()

        do_HEAD = do_GET  # noqa: N815  # as `http.server` calls it

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    counted.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield counted
    finally:
        server.shutdown()
        server.server_close()


def documented(address: str, neuron: str) -> str:
    """The SQL of the document that attaches a server's file, with another address and neuron; what it names on the
    Hub is left out."""
    blocks = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (sql,) = (block for block in blocks if DOCUMENTED in block)
    return sql.replace(DOCUMENTED, address).replace("L31N892", neuron)


def with_httpfs() -> duckdb.DuckDBPyConnection:
    """A connection with the extension of the package `duckdb-extension-httpfs`, loaded by its path."""
    places = [Path(place).glob("duckdb_extension_httpfs/extensions/*/httpfs.duckdb_extension") for place in sys.path]
    extension = next((path for place in places for path in place), None)
    if extension is None:
        sys.exit("There is no httpfs here: pip install duckdb-extension-httpfs, of DuckDB's own version.")
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(f"LOAD '{extension}'")
    return connection


def measure(address: str, tables: str | None) -> None:
    """Print requests, bytes and seconds of every query."""
    parts = urlsplit(address)
    with counting(f"{parts.scheme}://{parts.netloc}") as counted:
        connection = with_httpfs()
        print(f"DuckDB {duckdb.__version__}, httpfs, one thread, {address}")

        def step(name: str, sql: str) -> list[tuple]:
            since = time.monotonic()
            rows = connection.execute(sql).fetchall()
            requests, size = counted.take()
            print(f"| {name} | {requests} | {size / 1e6:.1f} | {time.monotonic() - since:.2f} s, {len(rows)} rows")
            return rows

        step("`ATTACH`", f"ATTACH '{counted.address}{parts.path}' AS away (READ_ONLY); USE away")
        for name, sql in QUERIES.items():
            step(name, sql)
        connection = with_httpfs()
        step("the document's SQL, `ATTACH` included", documented(counted.address + parts.path, "L0N5"))
    if tables is not None:
        parts = urlsplit(tables)
        with counting(f"{parts.scheme}://{parts.netloc}") as counted:
            for name in ("neuron", "example"):
                url = f"{counted.address}{parts.path}/{name}.parquet"
                step(f"`{name}.parquet`, by `neuron_id`", f"FROM '{url}' WHERE neuron_id = 5")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--tables")
    options = parser.parse_args()
    measure(options.address, options.tables)
