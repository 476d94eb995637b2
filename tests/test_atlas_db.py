"""Opening an atlas: what is refused and how it is said; threads; queries that fail."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.db import answer_together
from atlas.core.errors import NotAnAtlasError, QueryError, SchemaVersionError, TokenError
from atlas.core.schema import SCHEMA_VERSION, schema_sql


def make(path, sql):
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql)
    return path


def refused(path, error):
    with pytest.raises(error) as caught:
        open_atlas(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path):
    text = refused(tmp_path / "no.duckdb", NotAnAtlasError)
    assert "does not exist; expected an atlas file" in text
    assert "`atlas ingest` writes one" in text


def test_a_folder(tmp_path):
    assert "is a folder" in refused(tmp_path, NotAnAtlasError)


def test_a_file_that_is_not_duckdb(tmp_path):
    path = tmp_path / "text.duckdb"
    path.write_text("hello " * 2000)
    assert "is not a DuckDB file" in refused(path, NotAnAtlasError)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.duckdb"
    path.touch()
    assert "`atlas ingest`" in refused(path, NotAnAtlasError)


def test_duckdb_without_an_atlas(tmp_path):
    path = make(tmp_path / "other.duckdb", "CREATE TABLE t (a INT)")
    assert "without a table `atlas`" in refused(path, NotAnAtlasError)


def test_an_atlas_without_its_row(tmp_path):
    path = make(tmp_path / "none.duckdb", schema_sql(8))
    assert "has 0 rows in its table `atlas`; expected one" in refused(path, NotAnAtlasError)


def test_a_table_of_another_kind(tmp_path):
    path = make(tmp_path / "kind.duckdb", "CREATE TABLE atlas (name TEXT)")
    assert "`atlas ingest`" in refused(path, NotAnAtlasError)


def test_an_older_schema(tmp_path):
    path = make(tmp_path / "old.duckdb", "CREATE TABLE atlas AS SELECT 0 AS schema_version")
    text = refused(path, SchemaVersionError)
    assert "has schema version 0" in text
    assert f"reads version {SCHEMA_VERSION}" in text
    assert f"`atlas upgrade {path}` writes a new one" in text


def test_a_newer_schema(tmp_path):
    path = make(tmp_path / "new.duckdb", "CREATE TABLE atlas AS SELECT 99 AS schema_version")
    text = refused(path, SchemaVersionError)
    assert "has schema version 99" in text
    assert "Upgrade the program: pip install --upgrade neuron-atlas" in text


def test_it_is_read_only(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas, pytest.raises(QueryError, match="read-only"):
        atlas.query("DROP TABLE token")


def test_a_failed_query_does_not_spoil_the_next(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        with pytest.raises(QueryError, match=r"The query failed on .*nonsense"):
            atlas.query("SELECT nonsense FROM token")
        assert atlas.rows("SELECT count(*) FROM token") == [(atlas.info.d_vocab,)]


def test_others_may_read_the_file_meanwhile(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas, duckdb.connect(str(tiny_llama_atlas), read_only=True) as other:
        assert atlas.rows("SELECT count(*) FROM neuron") == other.execute("SELECT count(*) FROM neuron").fetchall()


def test_threads_share_an_atlas(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas, ThreadPoolExecutor(8) as pool:
        names = list(
            pool.map(lambda n: atlas.rows("SELECT name FROM neuron WHERE neuron_id = ?", n % 5)[0][0], range(200))
        )
    assert names == [f"L0N{n % 5}" for n in range(200)]


def test_what_is_remembered_is_made_once_however_many_threads_ask(tiny_llama_atlas):
    looks, begun, go_on = threading.Semaphore(0), threading.Event(), threading.Event()

    class Watched(dict):
        def __contains__(self, name):
            looks.release()
            return super().__contains__(name)

    made = []

    def make():
        made.append(object())
        begun.set()
        assert go_on.wait(60)
        return made[-1]

    with open_atlas(tiny_llama_atlas) as atlas, ThreadPoolExecutor(2) as pool:
        atlas._remembered = Watched()
        first = pool.submit(atlas.remembered, "it", make)
        assert begun.wait(60)
        second = pool.submit(atlas.remembered, "it", make)
        for _ in range(3):  # The first looked twice; the second has looked, seen nothing, and waits for the first.
            assert looks.acquire(timeout=60)
        go_on.set()
        assert first.result() is second.result() is made[0]
        assert atlas.remembered("it", lambda: None) is made[0]
        assert atlas.remembered("other", lambda: 5) == 5
    assert len(made) == 1


def test_a_closed_atlas_opens_again(tiny_llama_atlas):
    atlas = open_atlas(tiny_llama_atlas)
    count = atlas.rows("SELECT count(*) FROM neuron")
    connections = list(atlas._connections)
    atlas.close()
    assert all(connection.closed for connection in connections)
    assert atlas.rows("SELECT count(*) FROM neuron") == count
    atlas.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_an_atlas_opened_before_a_fork_answers_after_it(tiny_llama_atlas):
    # In a fresh interpreter: forking one with pytest's threads would prove nothing.
    import subprocess
    import sys

    code = (
        "import os, sys; from atlas import open_atlas; a = open_atlas(sys.argv[1]); pid = os.fork()\n"
        "n = a.rows('SELECT count(*) FROM token')[0][0]\n"
        "if pid == 0: os._exit(0 if n == a.info.d_vocab else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tiny_llama_atlas)], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == "0", result.stderr


def test_tokens_out_of_range(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        last = atlas.info.d_vocab - 1
        assert atlas.tokens[last].text is None  # a padded row
        for wrong in (-1, last + 1):
            with pytest.raises(
                TokenError, match=f"There is no token {wrong}: this model's token ids go from 0 to {last}"
            ):
                atlas.tokens[wrong]


def test_a_quote_in_a_path_is_a_part_of_the_path(tiny_llama_atlas, tiny_gpt2_atlas, tmp_path):
    paths = [tmp_path / name for name in ("it's; DROP.duckdb", "a \"b\" 'c'.duckdb")]
    for path, target in zip(paths, (tiny_llama_atlas, tiny_gpt2_atlas), strict=True):
        path.symlink_to(target)
    opened = [open_atlas(path) for path in paths]
    answer = answer_together(opened, 'SELECT a.slug, b.slug FROM atlas AS a, "tiny-gpt2".atlas AS b')
    assert answer.rows == (["tiny-llama", "tiny-gpt2"],)
    assert [atlas.query("SELECT slug FROM atlas").rows for atlas in opened] == [(("tiny-llama",),), (("tiny-gpt2",),)]
    for atlas in opened:
        atlas.close()
