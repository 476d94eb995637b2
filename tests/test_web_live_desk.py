"""The desk of live mode over a stand-in for a model's process: turns, limits, deaths, and what is let go of."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import pytest

from atlas.core.errors import AtlasError
from ingest.live.process import Channel, Server
from web.workers.live import desk as desks
from web.workers.live import holder
from web.workers.live.desk import Desk
from web.workers.live.options import LiveOptions

_STAND_IN = """
import json, os, select, socket, sys, time
told = json.loads(sys.argv[1])
connection = socket.socket(fileno=int(sys.argv[2]))
lines = connection.makefile("r")
def say(**said):
    connection.sendall(json.dumps(said).encode() + b"\\n")
name = told["model"]["name"]
if name == "other":
    say(failed="It is another model.")
    sys.exit()
if name == "dies":
    sys.exit(3)
say(ready=True)
for line in lines:
    said = json.loads(line)
    if "cancel" in said:
        continue
    do = said["text"]
    if do == "die":
        sys.exit(3)
    if do == "hang":
        time.sleep(60)
    if do == "slow":
        time.sleep(1)
    if do == "long":
        say(id=said["id"], progress=[1, 4])
        select.select([connection], [], [], 60)
        say(id=said["id"], error={"code": "live_cancelled", "message": "It was ended."})
        continue
    if "folder" in said:
        os.mkdir(said["folder"])
    say(id=said["id"], answer={"said": do, "pid": os.getpid()})
"""


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(holder, "_CODE", _STAND_IN)


@contextmanager
def opened(folder, **options):
    """A desk that looks at the clock."""
    desk = Desk(LiveOptions(**options), folder)
    threading.Thread(target=desk.watch, daemon=True).start()
    yield desk
    desk.close()


def ask(desk, **said):
    """What the desk answers."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(json.dumps(said).encode() + b"\n")
        threading.Thread(target=desk.answer, args=[theirs], daemon=True).start()
        with ours.makefile("rb") as lines:
            return json.loads(lines.readline())


def text(desk, text, model="mine"):
    return ask(desk, do="text", model={"name": model}, job="activations", wanted={"text": text})


def begin(desk, text, model="mine"):
    said = ask(desk, do="study", model={"name": model}, job="study", wanted={"text": text, "means": "AAAA"})
    return said["answer"]["name"]


def status(desk, name):
    return ask(desk, do="status", name=name)["answer"]


def until(condition):
    end = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_a_model_that_is_not_the_atlas_s_is_not_tried_again_at_once(stand_in, tmp_path, monkeypatch):
    with opened(tmp_path) as desk:
        expected = {"error": {"code": "live_unavailable", "message": "It is another model."}}
        assert text(desk, "a", "other") == expected
        monkeypatch.setattr(holder, "_CODE", "raise SystemExit('not again')")
        assert text(desk, "a", "other") == expected
        said = text(desk, "a", "dies")
        assert said["error"]["code"] == "live_unavailable"
        assert "ended while it loaded the model" in said["error"]["message"]


def test_a_text_that_takes_too_long_is_ended_and_the_next_has_another_process(stand_in, tmp_path):
    with opened(tmp_path, seconds=1) as desk:
        first = text(desk, "a")["answer"]["pid"]
        assert text(desk, "a")["answer"]["pid"] == first
        said = text(desk, "hang")
        assert said == {
            "error": {"code": "live_timeout", "message": "It was stopped at this site's time limit of 1 s."}
        }
        until(lambda: not psutil.pid_exists(first))
        assert text(desk, "b")["answer"]["said"] == "b"


def test_a_text_that_ends_processes_is_given_to_two(stand_in, tmp_path):
    with opened(tmp_path) as desk:
        assert text(desk, "die")["error"]["code"] == "live_failed"
        assert text(desk, "a")["answer"]["said"] == "a"


def test_one_model_makes_room_for_another(stand_in, tmp_path):
    with opened(tmp_path, most_models=1) as desk:
        first = text(desk, "a", "one")["answer"]["pid"]
        second = text(desk, "a", "two")["answer"]["pid"]
        assert first != second
        until(lambda: not psutil.pid_exists(first))
        assert psutil.pid_exists(second)


def test_a_study_that_takes_too_long_is_ended_and_its_process_goes_on(stand_in, tmp_path):
    with opened(tmp_path, seconds=1) as desk:
        before = text(desk, "a")["answer"]["pid"]
        name = begin(desk, "long")
        assert status(desk, name)["shown"] == {"text": "long"}
        until(lambda: status(desk, name)["progress"] == [1, 4])
        said = until(lambda: status(desk, name) if status(desk, name)["state"] == "done" else None)
        assert said["error"] == {"code": "live_timeout", "message": "It was stopped at this site's time limit of 1 s."}
        assert text(desk, "a")["answer"]["pid"] == before


def test_studies_wait_their_turn_and_one_that_nobody_waits_for_is_ended(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(desks, "ABANDONED", 1.0)
    with opened(tmp_path, queue=1) as desk:
        running = begin(desk, "long")
        until(lambda: status(desk, running)["state"] == "running")
        waiting = begin(desk, "short")
        assert status(desk, waiting)["before"] == 0
        refused = ask(desk, do="study", model={"name": "mine"}, job="study", wanted={"text": "short"})
        assert refused["error"]["code"] == "live_busy"
        # One is asked for, the other is not.
        until(lambda: status(desk, waiting)["state"] == "done")
        assert status(desk, waiting)["error"] is None
        assert status(desk, running)["error"]["message"] == "It was cancelled, since nobody asked for it any more."


def test_a_study_waits_for_the_text_that_is_being_answered(stand_in, tmp_path):
    with opened(tmp_path) as desk:
        text(desk, "a")
        thread = threading.Thread(target=text, args=[desk, "slow"])
        thread.start()
        until(lambda: any(model.lanes for model in desk._holders.values()))
        name = begin(desk, "short")
        assert status(desk, name)["state"] == "waiting"
        thread.join()
        until(lambda: status(desk, name)["state"] == "done")


def test_results_are_let_go_of(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(desks, "_MOST_KEPT", 1)
    with opened(tmp_path) as desk:
        names = []
        for _ in range(2):
            names.append(begin(desk, "short"))
            until(lambda: (status(desk, names[-1]) or {}).get("state") == "done")
        until(lambda: status(desk, names[0]) is None)
        assert status(desk, names[1])["state"] == "done"
        assert [path.name for path in tmp_path.iterdir()] == [names[1]]


def test_a_visitor_who_leaves_gives_up_the_place(stand_in, tmp_path):
    with opened(tmp_path, queue=1) as desk:
        text(desk, "a")
        connections = []
        for what, there in (
            ("hang", lambda: any(model.lanes for model in desk._holders.values())),
            ("b", lambda: len(desk._waiting) == 1),
        ):
            ours, theirs = socket.socketpair()
            said = {"do": "text", "model": {"name": "mine"}, "job": "activations", "wanted": {"text": what}}
            ours.sendall(json.dumps(said).encode() + b"\n")
            threading.Thread(target=desk.answer, args=[theirs], daemon=True).start()
            connections.append(ours)
            until(there)
        assert text(desk, "c")["error"]["code"] == "live_busy"
        for ours in connections:
            ours.close()
        until(lambda: desk._waiting == [])


@dataclass
class Said:
    text: str


def test_texts_are_answered_while_a_study_runs_and_the_study_can_be_ended():
    ours, theirs = socket.socketpair()

    def study(wanted, told):
        while True:
            told(1, 2)
            time.sleep(0.01)

    def refuse(wanted, told):
        raise AtlasError("Shorten it.")

    def fail(wanted, told):
        raise RuntimeError

    jobs = {"study": study, "echo": lambda wanted, _: Said(wanted["text"]), "refuse": refuse, "fail": fail}
    thread = threading.Thread(target=Server(Channel(theirs), jobs).serve)
    thread.start()
    channel = Channel(ours)

    def answer():
        while "progress" in (said := channel.next(wait=True)):
            assert said == {"id": 1, "progress": [1, 2]}
        return said

    channel.say(id=1, job="study")
    channel.say(id=2, job="echo", text="a")
    assert answer() == {"id": 2, "answer": {"text": "a"}}
    channel.say(id=3, job="refuse")
    assert answer() == {"id": 3, "error": {"code": "live_refused", "message": "Shorten it."}}
    channel.say(id=4, job="fail")
    assert "RuntimeError" in answer()["error"]["message"]
    channel.say(cancel=1)
    assert answer()["error"]["code"] == "live_cancelled"
    ours.close()
    thread.join(10)
    assert not thread.is_alive()
    theirs.close()
