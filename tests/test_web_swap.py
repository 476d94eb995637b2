"""`atlas serve` while its files are replaced and its processes end: what is served, and that no request is lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from web.server.generation import Generation, _inspect
from web.server.swap import Site
from web.workers.sql.console import ConsoleOptions
from web.workers.sql.hard_links import HardLinks

NEW = "0123456789ab"
SQL = "/tiny-llama/sql.json?sql=SELECT+build_id+FROM+atlas"


class Server:
    """`atlas serve` on a copy of an atlas, and what it writes to stderr."""

    def __init__(self, path: Path, process: subprocess.Popen, said: Path) -> None:
        self.path, self.process, self.said = path, process, said
        self.address = re.search(r"http://([^/]+)", process.stdout.readline())[1]

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def health(self) -> dict:
        """What `/healthz` says."""
        return json.loads(self.get("/healthz")[1])

    def until(self, found: Callable[[dict], bool]) -> dict:
        """What `/healthz` says once it is so."""
        deadline = time.monotonic() + 90
        while not found(said := self.health()):
            assert time.monotonic() < deadline, (said, self.said.read_text())
            time.sleep(0.1)
        return said

    def children(self) -> dict[int, bytes]:
        """The processes that it has, and how each was started; what just ended is none."""
        pid, found = self.process.pid, {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                found[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes()
        return {child: line for child, line in found.items() if line}

    def workers(self) -> list[int]:
        """The processes that answer, and those that are about to."""
        return [child for child, line in self.children().items() if b"broker" not in line]

    def brokers(self) -> list[int]:
        """The processes that start visitors' queries."""
        return [child for child, line in self.children().items() if b"broker" in line]

    def end_one(self, number: signal.Signals) -> None:
        """Send a signal to one of the processes that answer."""
        for pid in self.workers():
            with suppress(ProcessLookupError):  # one that was about to end has ended
                os.kill(pid, number)
                return


@contextmanager
def serving(atlas: Path, folder: Path, *options: str) -> Iterator[Server]:
    path, said = Path(shutil.copy(atlas, folder / "served.duckdb")), folder / "stderr"
    code = "from web.server.command import serve; serve()"
    arguments = [sys.executable, "-c", code, str(path), "--port", "0", *options]
    with said.open("w") as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield Server(path, process, said)
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        status = process.wait(timeout=60)
    assert status == 0


def another_build(atlas: Path, folder: Path, build: str = NEW, slug: str = "tiny-llama") -> Path:
    """A copy that says it is another build."""
    copy = Path(shutil.copy(atlas, folder / f"{build}.duckdb"))
    copy.chmod(0o644)
    with duckdb.connect(str(copy)) as connection:
        connection.execute("UPDATE atlas SET build_id = ?, slug = ?", [build, slug])
        connection.execute("CHECKPOINT")
    return copy


_KEPT = 1.0
"""Seconds: a process that ends waits two for what comes on a kept connection; a client may be late where it is busy."""


_PAUSE = 0.05
"""Seconds between two requests of a visitor: enough to leave the processor to what is tested."""


class Visitors:
    """Clients that ask on and on, each on a connection that it keeps; what went wrong is in `lost`."""

    def __init__(self, address: str, path: str, number: int = 2) -> None:
        self.lost: list[str] = []
        self.statuses: set[int] = set()
        self.again = self.answered = 0
        self._address, self._path, self._stop = address, path, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        again, answered = False, time.monotonic()
        while not self._stop.wait(_PAUSE):
            kept = time.monotonic() - answered
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                response.read()
                self.statuses.add(response.status)
                self.answered += 1
                again, answered = False, time.monotonic()
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                # As browsers do: a GET whose connection ends without an answer is sent again, once.
                if again:
                    self.lost.append(repr(error))
                self.again += kept < _KEPT
                again = not again
        connection.close()


def test_a_new_build_takes_over_and_nothing_else_does(tiny_llama_atlas, tiny_gpt2_atlas, tmp_path):
    with open_atlas(tiny_llama_atlas) as atlas:
        old = atlas.info.build_id
    new = another_build(tiny_llama_atlas, tmp_path)
    whole = new.read_bytes()
    with serving(tiny_llama_atlas, tmp_path, "--workers", "2") as server:
        assert server.health()["atlases"] == {"tiny-llama": old}
        assert server.health()["replaced"] is None
        refused = {
            "served.duckdb is not a DuckDB file": lambda: put(server.path, whole[: len(whole) // 2]),
            "slugs are tiny-gpt2 now": lambda: os.replace(shutil.copy(tiny_gpt2_atlas, tmp_path / "x"), server.path),
            "No such file": lambda: server.path.unlink(),
        }
        seen = None
        for expected, replace in refused.items():
            replace()
            said = server.until(lambda said, seen=seen: said["replaced"] not in (None, seen))
            seen = said["replaced"]
            assert expected in seen
            assert str(tmp_path) not in seen  # strangers read it
            assert said["atlases"] == {"tiny-llama": old}
            assert f"The previous build is still served: {seen}" in server.said.read_text()
        # A process started now still serves what is not at the path any more, SQL included.
        server.end_one(signal.SIGKILL)
        os.kill(server.brokers()[0], signal.SIGKILL)
        for _ in range(8):
            assert server.health()["atlases"] == {"tiny-llama": old}
            assert json.loads(server.get(SQL)[1])["rows"] == [[old]]
        first, brokers = set(server.workers()), set(server.brokers())
        os.replace(new, server.path)
        assert server.until(lambda said: said["atlases"] == {"tiny-llama": NEW})["replaced"] is None
        for _ in range(8):
            assert json.loads(server.get("/tiny-llama.json")[1])["build_id"] == NEW
            assert json.loads(server.get(SQL)[1])["rows"] == [[NEW]]
        status, page = server.get(f"/tiny-llama@{old}/L1N2")
        assert status == 200
        assert f"The link was to build <code>{old}</code>".encode() in page
        assert server.get(f"/tiny-llama@{old}/L1N2.json")[0] == 404
        # Nothing of the old generation stays.
        deadline = time.monotonic() + 60
        while first & set(server.workers()) or brokers & set(server.brokers()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert len(server.workers()) == 2


def put(path: Path, data: bytes) -> None:
    """Another file in the place of one."""
    path.with_suffix(".new").write_bytes(data)
    os.replace(path.with_suffix(".new"), path)


def test_no_request_is_lost_meanwhile(tiny_llama_atlas, tmp_path):
    new = another_build(tiny_llama_atlas, tmp_path)
    with serving(tiny_llama_atlas, tmp_path, "--workers", "2") as server:
        server.until(lambda _: len(server.workers()) == 2)
        with Visitors(server.address, "/tiny-llama/L1N2") as pages, Visitors(server.address, SQL, 1) as queries:
            server.end_one(signal.SIGTERM)
            os.replace(new, server.path)
            server.until(lambda said: said["atlases"] == {"tiny-llama": NEW})
            first = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 90
            while first & set(server.workers()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            asked_to_end = pages.again
            server.end_one(signal.SIGKILL)
            time.sleep(1)
        assert pages.lost == queries.lost == []
        assert asked_to_end == 0  # processes that are told to end lose nothing, not even what could be sent again
        assert pages.answered > 20
        assert pages.statuses == {200}
        assert 200 in queries.statuses <= {200, 408, 503}  # on a busy machine a query may run out of its time


def test_no_part_of_a_file_passes_for_an_atlas(tiny_llama_atlas, tmp_path):
    whole, part = tiny_llama_atlas.read_bytes(), tmp_path / "part.duckdb"
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        part.write_bytes(whole[: int(share * len(whole))])
        assert set(_inspect([part])) == {"error"}


def test_blocks_that_were_freed_at_the_end_are_not_missed(tiny_llama_atlas, tmp_path):
    """DuckDB cuts them off the file and counts them all the same: what `atlas effects` leaves, at times."""
    path = tmp_path / "freed.duckdb"
    shutil.copyfile(tiny_llama_atlas, path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE large AS SELECT range AS i, random() AS r FROM range(300000); CHECKPOINT")
        connection.execute("DROP TABLE large; CREATE TABLE small AS SELECT 1 AS i; CHECKPOINT")
    with duckdb.connect(str(path), read_only=True) as connection:
        ((counted,),) = connection.execute("SELECT block_size * total_blocks FROM pragma_database_size()").fetchall()
    assert counted > path.stat().st_size
    with open_atlas(path) as atlas:
        assert _inspect([path]) == {"tiny-llama": atlas.info.build_id}
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert set(_inspect([path])) == {"error"}


def test_a_file_that_can_have_no_link_is_served_all_the_same(tiny_llama_atlas, monkeypatch, capsys):
    monkeypatch.setattr(HardLinks, "link", lambda self, path, place: path)
    site = Site([tiny_llama_atlas], ["tiny-llama"], ConsoleOptions(enabled=False))
    try:
        with open_atlas(tiny_llama_atlas) as atlas:
            assert site.generation.inspected() == {"tiny-llama": atlas.info.build_id}
        assert f"{tiny_llama_atlas} can have no hard link, neither in" in capsys.readouterr().err
    finally:
        site.close()


def test_what_generations_before_opened_by_goes_with_their_last_process(tiny_llama_atlas, tmp_path):
    path = Path(shutil.copy(tiny_llama_atlas, tmp_path / "served.duckdb"))
    site = Site([path], ["tiny-llama"], ConsoleOptions(enabled=False))
    try:
        first = site.generation
        os.replace(another_build(tiny_llama_atlas, tmp_path), path)
        assert site.look() is first
        first.release(wait=True)
        site.clean([first])  # a process of it still answers
        folder = site.status.parent
        with open_atlas(folder / "1" / "file0" / "served.duckdb") as before:
            assert before.info.build_id != NEW
        assert site.generation.inspected() == {"tiny-llama": NEW}
        assert sorted(item.name for item in folder.iterdir() if item.is_dir()) == ["1", "2"]
        site.clean([])
        assert [item.name for item in folder.iterdir() if item.is_dir()] == ["2"]
        put(path, b"no atlas")
        assert site.look() is None
        assert [item.name for item in folder.iterdir() if item.is_dir()] == ["2"]
    finally:
        site.close()
    assert not folder.exists()


def test_a_file_that_crashes_its_reader_or_holds_it_up_is_refused(tiny_llama_atlas, tmp_path, monkeypatch):
    room = HardLinks()
    generation = Generation([tiny_llama_atlas], room)
    try:
        with open_atlas(tiny_llama_atlas) as atlas:
            assert generation.inspected() == {"tiny-llama": atlas.info.build_id}
        monkeypatch.setattr("web.server.generation._inspect", lambda _: os._exit(1))
        with pytest.raises(Exception, match=r"A file crashed the process that read it; expected a complete atlas"):
            generation.inspected()
        monkeypatch.setattr("web.server.generation._INSPECTING", 0.2)
        monkeypatch.setattr("web.server.generation._inspect", lambda _: time.sleep(60))
        with pytest.raises(Exception, match=r"A file could not be read in 0\.2 s"):
            generation.inspected()
    finally:
        generation.release(wait=True)
        room.close()
