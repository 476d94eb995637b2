"""`/{slug}/tables`: what is in the file, whole tables, the file itself; how many are sent at once."""

from __future__ import annotations

import csv
import io
import shutil
import threading
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from web import create_app
from web.site.downloads import Gate, _paced
from web.site.errors import BusyError


@pytest.fixture
def source(tiny_llama_atlas):
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        yield connection


@pytest.fixture
def build(source) -> str:
    return source.execute("SELECT build_id FROM atlas").fetchone()[0]


def names(source, what="duckdb_tables()", column="table_name") -> list[str]:
    return [name for (name,) in source.execute(f"SELECT {column} FROM {what} WHERE NOT internal ORDER BY 1").fetchall()]


def taken(app) -> int:
    return app.extensions["downloads"]._taken


def test_the_page_lists_what_is_there(client, source, tiny_llama_atlas):
    data = client.get("/tiny-llama/tables.json", buffered=True).json
    views = names(source, "duckdb_views()", "view_name")
    assert [item["name"] for item in data["tables"]] == names(source) + views
    assert [item["name"] for item in data["tables"] if item["view"]] == views
    assert data["file_bytes"] == tiny_llama_atlas.stat().st_size
    for item in data["tables"]:
        columns = source.execute(
            "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
            [item["name"]],
        ).fetchall()
        assert [(column["name"], column["type"], column["comment"]) for column in item["columns"]] == columns
        if item["view"]:
            assert item["parquet"] is item["csv"] is item["rows"] is None
        else:
            assert item["rows"] == source.execute(f'SELECT count(*) FROM "{item["name"]}"').fetchone()[0]
            assert client.head(item["parquet"]).status_code == client.head(item["csv"]).status_code == 200
        for _ in range(10):
            answer = client.get(item["sql"], buffered=True)
            if answer.status_code != 503:  # Else it is busy.
                break
            time.sleep(float(answer.headers["Retry-After"]))
        assert answer.status_code == 200
    page = client.get("/tiny-llama/tables", buffered=True).text
    assert 'href="/tiny-llama/tables/neuron.parquet"' in page
    assert 'href="/tiny-llama/atlas.duckdb"' in page
    assert 'href="/tiny-llama/tables"' in client.get("/tiny-llama", buffered=True).text
    assert "/tiny-llama/tables</loc>" in client.get("/sitemap/tiny-llama-0.xml", buffered=True).text


def test_whole_tables_have_the_rows_of_the_file(client, app, source):
    for name in names(source):
        expected = source.sql(f'FROM "{name}"').to_arrow_table()
        response = client.get(f"/tiny-llama/tables/{name}.parquet", buffered=True)
        assert response.headers["Content-Disposition"] == f'attachment; filename="tiny-llama-{name}.parquet"'
        found = pq.read_table(io.BytesIO(response.data))
        assert found.to_pylist() == expected.to_pylist(), name
        assert found.schema.metadata[b"comment"]
        response = client.get(f"/tiny-llama/tables/{name}.csv", buffered=True)
        assert response.mimetype == "text/csv"
        lines = list(csv.reader(io.StringIO(response.text, newline="")))
        assert lines[0] == expected.column_names
        assert len(lines) == 1 + expected.num_rows
    assert taken(app) == 0


def test_validators_head_and_pins(client, app, build):
    url = "/tiny-llama/tables/token.parquet"
    head = client.head(url)
    assert head.status_code == 200
    assert "Content-Length" not in head.headers
    assert head.headers["ETag"].startswith(f'W/"{build}-')
    assert client.get(url, headers={"If-None-Match": head.headers["ETag"]}, buffered=True).status_code == 304
    assert "max-age" in client.head(f"/tiny-llama@{build}/tables/token.csv").headers["Cache-Control"]
    assert client.get("/tiny-llama@000000000000/tables/token.csv", buffered=True).status_code == 404
    assert taken(app) == 0


@pytest.mark.parametrize(
    "name", ["nowhere", "..%2F..%2Fetc%2Fpasswd", "%2e%2e%2fneuron", "neuron%22%20--", "duckdb_tables()", "main.neuron"]
)
def test_an_unknown_table_is_not_found(client, name):
    for form in ("parquet", "csv"):
        response = client.get(
            f"/tiny-llama/tables/{name}.{form}", headers={"Accept": "application/json"}, buffered=True
        )
        assert response.status_code == 404
        if "%2F" not in name.upper():
            assert "there is activation_histogram, activation_sum, atlas, " in response.json["error"]["message"]


def test_a_view_is_not_sent_whole(client):
    response = client.get("/tiny-llama/tables/pair.csv", buffered=True)
    assert response.status_code == 404
    assert "is a view, which is not sent whole: ask it in the SQL console" in response.text


def test_the_file_and_its_parts(client, app, tiny_llama_atlas):
    whole = tiny_llama_atlas.read_bytes()
    url = "/tiny-llama/atlas.duckdb"
    response = client.get(url, buffered=True)
    assert response.data == whole
    etag = response.headers["ETag"]
    assert response.headers["Accept-Ranges"] == "bytes"
    assert int(client.head(url, buffered=True).headers["Content-Length"]) == len(whole)
    for asked, start, stop in (
        ("bytes=0-3", 0, 4),
        ("bytes=300000-900000", 300_000, 900_001),
        ("bytes=-100", len(whole) - 100, len(whole)),
        (f"bytes={len(whole) - 5}-", len(whole) - 5, len(whole)),
    ):
        part = client.get(url, headers={"Range": asked}, buffered=True)
        assert part.status_code == 206
        assert part.data == whole[start:stop]
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    assert client.get(url, headers={"Range": f"bytes={len(whole)}-"}, buffered=True).status_code == 416
    assert client.get(url, headers={"Range": "bytes=0-3", "If-Range": etag}, buffered=True).status_code == 206
    assert client.get(url, headers={"Range": "bytes=0-3", "If-Range": '"another"'}, buffered=True).data == whole
    assert client.get(url, headers={"If-None-Match": etag}, buffered=True).status_code == 304
    assert taken(app) == 0


def test_so_many_at_once(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas], downloads=1)
    client = app.test_client()
    first = client.get("/tiny-llama/tables/neuron_token.csv")  # not read yet: under way
    assert taken(app) == 1
    for url in ("/tiny-llama/tables/token.parquet", "/tiny-llama/tables/token.csv"):
        response = client.get(url, headers={"Accept": "application/json"}, buffered=True)
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "30"
        assert response.json["error"]["code"] == "busy"
        assert "1 downloads are in progress here" in response.json["error"]["message"]
    assert client.head("/tiny-llama/tables/token.csv").status_code == 200
    assert client.get("/tiny-llama/tables", buffered=True).status_code == 200
    # Parts that a remote DuckDB reads are like pages.
    assert client.get("/tiny-llama/atlas.duckdb", headers={"Range": "bytes=0-4095"}, buffered=True).status_code == 206
    first.close()  # the visitor leaves
    assert taken(app) == 0
    assert client.get("/tiny-llama/tables/token.csv", buffered=True).status_code == 200
    app.extensions["atlases"]["tiny-llama"].close()


def test_a_whole_file_takes_a_place(tiny_llama_atlas, monkeypatch):
    monkeypatch.setattr("web.views.tables._SMALL_PART", 1000)
    app = create_app([tiny_llama_atlas], downloads=1)
    client = app.test_client()
    held = client.get("/tiny-llama/atlas.duckdb")
    assert taken(app) == 1
    assert client.get("/tiny-llama/atlas.duckdb", headers={"Range": "bytes=0-4095"}, buffered=True).status_code == 503
    held.close()
    assert (
        client.get("/tiny-llama/atlas.duckdb", headers={"Range": "bytes=999999999-"}, buffered=True).status_code == 416
    )
    assert taken(app) == 0


def test_another_file_in_its_place_is_not_sent(tiny_llama_atlas, tiny_gpt2_atlas, tmp_path):
    place = Path(shutil.copy(tiny_llama_atlas, tmp_path / "served.duckdb"))
    app = create_app([place])
    client = app.test_client()
    assert client.get("/tiny-llama/tables/atlas.csv", buffered=True).status_code == 200
    for other in (tiny_llama_atlas, tiny_gpt2_atlas):  # of the same size, and of another
        Path(shutil.copy(other, tmp_path / "next.duckdb")).replace(place)
        for url in ("/tiny-llama/tables/atlas.csv", "/tiny-llama/atlas.duckdb"):
            response = client.get(url, buffered=True)
            assert response.status_code == 503
            assert "has been replaced and is not served yet" in response.text
    assert taken(app) == 0


def test_downloads_switched_off(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas], downloads=0)
    client = app.test_client()
    for url in ("/tiny-llama/tables/token.csv", "/tiny-llama/tables/token.parquet", "/tiny-llama/atlas.duckdb"):
        assert client.get(url, buffered=True).status_code == client.head(url).status_code == 404
        assert "switched downloads off" in client.get(url, buffered=True).text
    data = client.get("/tiny-llama/tables.json", buffered=True).json
    assert data["file"] is None
    assert not any(item["parquet"] or item["csv"] for item in data["tables"])
    assert "Whole files are not sent from this site" in client.get("/tiny-llama/tables", buffered=True).text


def test_the_gate_gives_a_place_back_once():
    gate = Gate(2)
    leave, other = gate.enter(), gate.enter()
    with pytest.raises(BusyError):
        gate.enter()
    leave()
    leave()
    gate.enter()
    with pytest.raises(BusyError):
        gate.enter()
    other()


def test_a_slow_visitor_has_a_time_limit_for_each_piece():
    class Connection:
        limits: list[float | None] = []  # noqa: RUF012

        def gettimeout(self):
            return None

        def settimeout(self, seconds):
            self.limits.append(seconds)

    connection = Connection()
    pieces = list(_paced([bytes(600_000), b"x"], connection))
    assert list(map(len, pieces)) == [262_144, 262_144, 75_712, 1]
    assert connection.limits == [60, None]


def test_downloads_side_by_side(site):
    """Two at once over a real connection, as threads of the server."""
    import urllib.request

    found: list[int] = []

    def fetch():
        with urllib.request.urlopen(f"{site}/tiny-llama/tables/neuron_token.parquet", timeout=60) as response:
            found.append(pq.read_table(io.BytesIO(response.read())).num_rows)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [144 * 2 * 20] * 2
