"""The memory of a site: what `--memory` may say, how it is divided, that processes keep to it and share arrays."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from atlas import open_atlas
from atlas.core import texts
from atlas.core.errors import QueryError
from atlas.core.room import Room, shared_arrays
from atlas.core.tokens import letters
from atlas.topics import text_index
from atlas.topics.centring import other_best
from atlas.topics.search import token_index
from atlas.topics.text_index import fold
from web.server import arbiter as master
from web.server import memory
from web.server.command import serve
from web.server.memory import MIB, SiteMemoryError, divide, read_memory
from web.site.app import create_app
from web.workers.sql.limits import Limits

GIB = 1024 * MIB


def test_an_amount_of_memory(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 8 * GIB)
    assert [read_memory(text) for text in ("512MiB", "1GB", " 1.5 gib", "25%", "12.5 %")] == [
        512 * MIB,
        10**9,
        1536 * MIB,
        2 * GIB,
        GIB,
    ]
    assert read_memory(None) == 2 * GIB
    monkeypatch.setattr(memory, "machine_memory", lambda: GIB)
    assert read_memory(None) == 512 * MIB  # never less


@pytest.mark.parametrize("text", ["lots", "", "-1GB", "0", "0%", "101%", "5 %%", "1GBB", "1e9"])
def test_no_amount_of_memory(text):
    with pytest.raises(SiteMemoryError, match="is not an amount of memory: expected one like 512MiB or 1GB"):
        read_memory(text)


def test_a_container_has_less_than_its_machine(monkeypatch):
    seen = memory.machine_memory()
    read_text = memory.Path.read_text
    monkeypatch.setattr(
        memory.Path, "read_text", lambda path: "104857600\n" if "cgroup" in str(path) else read_text(path)
    )
    assert memory.machine_memory() == 100 * MIB < seen
    monkeypatch.setattr(memory.Path, "read_text", lambda path: "max\n")
    assert memory.machine_memory() >= seen


def size(d_vocab: int = 50_000, n_neurons: int = 46_000, d_model: int = 576) -> SimpleNamespace:
    """An atlas as far as its size goes."""
    return SimpleNamespace(info=SimpleNamespace(slug="some", d_vocab=d_vocab, n_neurons=n_neurons, d_model=d_model))


def taken(budget, atlases) -> int:
    """What all processes of a site come to, by the figures that the budget is made of."""
    limits, whole = budget.limits, memory._MASTER + budget.workers * budget.share
    if limits is not None:
        whole += memory._BROKER + len(atlases) * limits.ready * memory._WARM
        whole += limits.slots * (limits.data - memory._WARM)
    return whole


@pytest.mark.parametrize("total", [700, 900, 1500, 3000, 6000, 64_000])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("limits", [None, Limits(running=1)])
def test_the_parts_are_no_more_than_the_whole(total, number, limits):
    atlases = [size()] * number
    budget = divide(total * MIB, atlases, limits=limits)
    assert taken(budget, atlases) <= total * MIB
    assert budget.workers in (1, 2)
    assert budget.buffers * number <= 256 * MIB  # more is in the system's cache, once
    assert budget.buffers >= 48 * MIB
    assert budget.threads >= 1


def test_room_for_more_is_used_in_order():
    known = {"limits": Limits(running=1), "downloads": 2}
    small, middle, large = (divide(total * MIB, [size()], **known) for total in (512, 1500, 6000))
    assert (small.workers, middle.workers, large.workers) == (1, 2, 2)
    assert small.limits.data < middle.limits.data < large.limits.data == Limits().data
    assert (small.downloads, small.limits.ready, middle.limits.ready) == (1, 1, 2)
    assert large.downloads == 2
    assert large.buffers == 256 * MIB


def test_what_the_operator_says_is_kept():
    budget = divide(4000 * MIB, [size()], workers=5, limits=None)
    assert (budget.workers, budget.limits) == (5, None)
    given = Limits(running=2, memory=300 * MIB)
    assert divide(8000 * MIB, [size()], limits=given, sql_memory=True).limits.memory == 300 * MIB
    assert divide(8000 * MIB, [size()], limits=given).limits.slots == 2
    assert divide(8000 * MIB, [size()], limits=None, downloads=0).downloads == 0


@pytest.mark.parametrize("atlases", [[size()], [size(), size(d_model=1280)], [size(256_000, 1_000_000, 16_384)]])
def test_too_little_says_what_is_enough(atlases):
    with pytest.raises(SiteMemoryError, match=r"200MiB is not enough .*: expected \d+MiB at least") as caught:
        divide(200 * MIB, atlases, limits=Limits(running=1))
    least = int(str(caught.value).split("expected ")[1].split("MiB")[0])
    assert "--no-sql" in str(caught.value)
    assert divide(least * MIB, atlases, limits=Limits(running=1)).workers == 1
    with pytest.raises(SiteMemoryError):
        divide((least - 2) * MIB, atlases, limits=Limits(running=1))
    assert divide((least - 2) * MIB, atlases, limits=None).limits is None


def test_too_little_is_refused_by_the_command(tiny_llama_atlas):
    result = CliRunner().invoke(serve, [str(tiny_llama_atlas), "--port", "0", "--memory", "100MiB"])
    assert isinstance(result.exception, SiteMemoryError)
    assert "serve tiny-llama: expected" in str(result.exception)


@pytest.fixture
def own_atlas(tiny_llama_atlas, tmp_path):
    """A file that nobody else has open: in one process a file has one set of DuckDB's limits."""
    (tmp_path / "own").mkdir()
    return Path(shutil.copy(tiny_llama_atlas, tmp_path / "own"))


def test_every_thread_of_an_app_keeps_to_the_room(own_atlas, tiny_gpt2_atlas, tmp_path):
    app = create_app([own_atlas, tiny_gpt2_atlas], room=lambda slug: Room(64 * MIB, 1, tmp_path / slug))
    sql = "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
    found = []
    for slug, atlas in app.extensions["atlases"].items():
        with atlas:
            for _ in range(2):  # each thread has a connection of its own
                thread = threading.Thread(target=lambda atlas=atlas: found.append(atlas.rows(sql)[0]))
                thread.start()
                thread.join()
            assert found[-2:] == [("64.0 MiB", 1, str(tmp_path / slug / "spilled"))] * 2


def test_what_does_not_fit_is_spilled(own_atlas, tmp_path):
    with open_atlas(own_atlas, Room(32 * MIB, 1, tmp_path)) as atlas:
        ((n,),) = atlas.rows("SELECT count(*) FROM (SELECT range AS i FROM range(6000000) ORDER BY hash(i))")
    assert n == 6_000_000
    with open_atlas(own_atlas) as atlas:
        assert atlas.rows("SELECT current_setting('memory_limit')") != [("32.0 MiB",)]


def test_a_query_without_room_is_asked_again_alone(own_atlas, tmp_path, monkeypatch):
    monkeypatch.setattr("atlas.core.db._AGAIN", (0, 0))
    with open_atlas(own_atlas, Room(64 * MIB, 1, tmp_path)) as atlas:
        failing = [duckdb.OutOfMemoryException("full")] * 2

        def run(_connection):
            assert atlas._alone.locked() == (len(failing) < 2)
            if failing:
                raise failing.pop()
            return "answer"

        assert atlas._execute(run) == "answer"
        failing += [duckdb.OutOfMemoryException("full")] * 3
        with pytest.raises(QueryError, match="full"):
            atlas._execute(lambda _: (_ for _ in ()).throw(duckdb.OutOfMemoryException("full")))
        assert not atlas._alone.locked()


def test_a_rollback_without_memory_costs_the_connection_not_the_page(own_atlas, tmp_path, monkeypatch):
    monkeypatch.setattr("atlas.core.db._AGAIN", (0, 0))
    with open_atlas(own_atlas, Room(64 * MIB, 1, tmp_path)) as atlas:
        first, failing = atlas._connected(), [duckdb.OutOfMemoryException("full")]
        monkeypatch.setattr(first, "rollback", lambda: (_ for _ in ()).throw(duckdb.OutOfMemoryException("full")))

        def run(connection):
            if failing:
                raise failing.pop()
            return connection

        assert atlas._execute(run) is not first
        assert atlas._connections == [atlas._connected()]
        assert atlas.rows("SELECT current_setting('memory_limit')") == [("64.0 MiB",)]


def pieces(made: list):
    """Three arrays in pieces, one of them without a number."""
    made.append(1)
    time.sleep(0.05)  # long enough for whoever does not wait
    yield "a", np.arange(3)
    yield "b", np.array([1.5, 2.5], np.float32)
    yield "a", np.arange(3, 8)
    yield "none", np.empty(0, np.int32)


def test_arrays_are_made_once_for_all(tmp_path):
    made: list[int] = []
    room = Room(folder=tmp_path / "shared")
    found: list[dict] = []
    threads = [
        threading.Thread(target=lambda: found.append(shared_arrays(room, "some name", lambda: pieces(made))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(shared_arrays(Room(), "some name", lambda: pieces([])))
    assert made == [1]
    for arrays in found:
        assert {name: array.tolist() for name, array in arrays.items()} == {
            "a": [0, 1, 2, 3, 4, 5, 6, 7],
            "b": [1.5, 2.5],
            "none": [],
        }
        assert arrays["b"].dtype == np.float32
    assert not found[0]["a"].flags.writeable
    assert found[0]["a"].base is not None  # of the file, not of this process
    assert sorted(path.name for path in room.folder.iterdir()) == ["some-name", "some-name.lock"]


def test_arrays_whose_files_are_gone_are_made_again(tmp_path):
    made: list[int] = []
    room = Room(folder=tmp_path)
    for number in range(1, 3):
        assert shared_arrays(room, "x", lambda: pieces(made))["b"].tolist() == [1.5, 2.5]
        assert len(made) == number
        (tmp_path / "x" / "b").unlink()


def test_arrays_without_a_place_are_the_process_s_own(tmp_path):
    (tmp_path / "file").touch()
    room = Room(folder=tmp_path / "file" / "folder")
    assert shared_arrays(room, "x", lambda: pieces([]))["a"].tolist() == list(range(8))


def test_an_error_leaves_nothing_half_made(tmp_path):
    def broken():
        yield "a", np.arange(3)
        raise QueryError("no")

    with pytest.raises(QueryError):
        shared_arrays(Room(folder=tmp_path), "x", broken)
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


@pytest.fixture
def in_small_parts(monkeypatch):
    """Texts read, folded and searched a few at a time, so that phrases lie across parts."""
    monkeypatch.setattr(texts, "_AT_ONCE", 40)
    monkeypatch.setattr(text_index, "_AT_ONCE", 7)


@pytest.mark.parametrize("shared", [True, False])
def test_texts_in_parts_are_the_same(own_atlas, tmp_path, in_small_parts, shared):
    with open_atlas(own_atlas, Room(folder=tmp_path if shared else None)) as atlas:
        stored = dict(atlas.rows('SELECT text_id, token_ids FROM "text"'))
        assert texts.texts_by_id(atlas, stored) == {text_id: list(ids) for text_id, ids in stored.items()}
        index, bos = text_index.text_index(atlas), atlas.info.bos_token_id
        whole, owners = b"", []  # of every byte: its text and position
        for text_id, ids in sorted(stored.items()):
            for position, token_id in enumerate(ids):
                raw = b"" if position == 0 and token_id == bos else atlas.tokens[token_id].bytes or b""
                whole, owners = whole + raw, owners + [(text_id, position)] * len(raw)
            whole, owners = whole + b"\xff", [*owners, None]
        assert index._raw.tobytes() == whole
        for phrase in ("the", "in the", whole[40:60].decode("utf-8", "ignore"), "no such phrase"):
            wanted, folded = fold(phrase.encode()), fold(whole)
            places = [i for i in range(len(folded)) if folded[i : i + len(wanted)] == wanted]
            found = index.find(phrase)
            assert found.starts.tolist() == places, phrase
            touched = {owner for place in places for owner in owners[place : place + len(wanted)]}
            assert sorted(zip(found.text_ids.tolist(), found.positions.tolist(), strict=True)) == sorted(touched)
        assert (tmp_path / "text-index" / "raw").exists() == shared


def test_tokens_by_letters_are_those_of_a_search_through_all(both):
    atlas, _ = both
    index, every = token_index(atlas), [atlas.tokens[i] for i in range(len(atlas.tokens))]
    counts = [n for (n,) in atlas.rows("SELECT n_actual FROM token ORDER BY token_id")]
    known = [token for token in every if token.text is not None]

    def order(token):
        return len(token.text), -counts[token.token_id], token.token_id

    for token in known[::37]:
        wanted = letters(token.text)
        same = sorted((other for other in known if letters(other.text) == wanted), key=order)
        assert index.same_letters(token.text) == (same if wanted else [])
        relatives = [other for other in every if letters(other.text or "") == wanted and other != token]
        assert atlas.tokens.relatives(token.token_id) == (relatives if wanted else [])
        assert token in index.exact(token.text)
    for start in ("a", "th", "é", "zz", "s", "e"):
        longer = [t for t in known if letters(t.text).startswith(start) and letters(t.text) != start]
        assert index.beginning(start, 300) == sorted(longer, key=order)[:300]


def test_records_of_tokens_are_kept_up_to_a_number(both, monkeypatch):
    atlas, _ = both
    monkeypatch.setattr("atlas.core.tokens._MOST_MADE", 10)
    assert [atlas.tokens[i].token_id for i in range(100)] == list(range(100))
    assert len(atlas.tokens._made) <= 10


def test_a_process_that_outgrew_its_share_is_replaced_one_at_a_time(monkeypatch):
    sizes = {1: 10 * MIB, 2: 300 * MIB, 3: 400 * MIB}
    monkeypatch.setattr(master, "held", lambda pid: sizes[pid])
    arbiter = master.SwappingArbiter.__new__(master.SwappingArbiter)
    told: list[int] = []
    generation = object()
    arbiter.app = SimpleNamespace(share=200 * MIB, site=SimpleNamespace(generation=generation))
    arbiter.log = SimpleNamespace(warning=lambda _text: None)
    arbiter.kill_worker = lambda pid, _signal: told.append(pid)
    arbiter._grown = set()
    arbiter.WORKERS = {
        pid: SimpleNamespace(pid=pid, generation=generation, began=time.monotonic(), over=0) for pid in sizes
    }

    def look(times: int) -> None:
        for _ in range(times):
            arbiter._end_grown()

    look(9)
    assert told == []  # each has a minute at least
    monkeypatch.setattr(master, "_PATIENCE", -1)
    assert not arbiter.replaces_one
    look(2)
    sizes[2] = sizes[3] = 100 * MIB  # it was the need of a moment
    look(1)
    sizes[2], sizes[3] = 300 * MIB, 400 * MIB
    look(2)
    assert told == []
    look(9)
    assert told == [2]  # and no other before it is gone
    assert arbiter.replaces_one
    del arbiter.WORKERS[2]
    look(3)
    assert told == [2, 3]
    arbiter.app.share = 0
    del arbiter.WORKERS[3]
    look(3)
    assert told == [2, 3]


def test_what_a_process_holds():
    held = master.held(os.getpid())
    assert held > MIB
    block = np.ones(64 * MIB, np.uint8)
    assert held + 60 * MIB < master.held(os.getpid()) < held + 80 * MIB
    assert block.all()
    assert master.held(2**22 + 1) == 0


def test_centring_by_parts_is_that_of_a_search_through_all(both):
    atlas, plain = both
    best, certain = other_best(atlas)
    sign = 1 if atlas.info.readout == "unembed" else -1
    found = plain.execute(
        """SELECT token_id, arg_max(neuron_id, (value, -neuron_id)) FROM (
            SELECT w.token_id, n.neuron_id, list_inner_product(w.readout::DOUBLE[], v.w_out::DOUBLE[])
                   + ? * n.mean_congruence AS value
            FROM token_weight AS w CROSS JOIN neuron AS n JOIN neuron_weight AS v USING (neuron_id))
        GROUP BY 1 ORDER BY 1""",
        [sign],
    ).fetchall()
    expected = np.array([neuron for _, neuron in found])
    assert certain.any()
    assert (best == expected)[certain].mean() > 0.999  # values of float32 may tie where those of float64 do not
