"""The clients of `benchmarks.load`, in processes of their own: visitors of pages, programs, and hostile SQL."""

from __future__ import annotations

import http.client
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from tests.hostile_sql import ALL, DATABASE

TIMEOUT = 60
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_TAKES = {"Accept-Encoding": "gzip"}


@dataclass(frozen=True)
class Target:
    """What is asked for."""

    host: str
    port: int
    slug: str
    n_layers: int
    d_mlp: int
    d_vocab: int


@dataclass
class Asked:
    """What some clients saw."""

    took: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from asking to the last byte of the answer, by kind."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Answers by kind and status, as 'sql 200'."""
    lost: list[str] = field(default_factory=list)
    """Requests that got no answer, with why: not those that a client may send again, and did."""
    again: int = 0
    """Requests sent again on a new connection, as browsers do, since an old one was closed without a byte of answer."""

    def note(self, kind: str, status: int, seconds: float) -> None:
        """Take down an answer."""
        self.took.setdefault(kind, []).append(seconds)
        self.statuses[f"{kind} {status}"] = self.statuses.get(f"{kind} {status}", 0) + 1

    def add(self, other: Asked) -> None:
        """Take over what others saw."""
        for kind, seconds in other.took.items():
            self.took.setdefault(kind, []).extend(seconds)
        for name, number in other.statuses.items():
            self.statuses[name] = self.statuses.get(name, 0) + number
        self.lost += other.lost
        self.again += other.again


class Client:
    """A visitor with one connection, kept while the server keeps it."""

    def __init__(self, target: Target, seen: Asked) -> None:
        self._target, self._seen = target, seen
        self._connection: http.client.HTTPConnection | None = None
        self._fresh = True

    def ask(self, kind: str, path: str, form: str | None = None) -> None:
        """Ask and read all of the answer. A GET whose connection ends without any answer is sent once again."""
        start = time.perf_counter()
        for attempt in range(2):
            try:
                status = self._answered(path, form)
                self._seen.note(kind, status, time.perf_counter() - start)
                return
            except (http.client.RemoteDisconnected, ConnectionError, http.client.CannotSendRequest) as error:
                self._drop()
                if attempt or form is not None:
                    self._seen.lost.append(f"{kind}: {type(error).__name__}")
                    return
                self._seen.again += 1
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                self._seen.lost.append(f"{kind}: {type(error).__name__}: {error}")
                return

    def _answered(self, path: str, form: str | None) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._target.host, self._target.port, timeout=TIMEOUT)
        method = "GET" if form is None else "POST"
        self._connection.request(method, path, form, _TAKES | (_FORM if form is not None else {}))
        with self._connection.getresponse() as response:
            response.read()
            if response.will_close:
                self._drop()
            return response.status

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def visit(client: Client, target: Target, chance: random.Random) -> None:
    """One request of a plausible mix."""
    layer, index = chance.randrange(target.n_layers), chance.randrange(target.d_mlp)
    token, site = chance.randrange(target.d_vocab), f"/{target.slug}"
    neuron, api = f"L{layer}N{index}", f"/api/v1/atlases/{target.slug}"
    kinds: dict[str, tuple[int, str]] = {
        "neuron": (30, f"{site}/{neuron}"),
        "token": (12, f"{site}/token/{token}"),
        "layer": (5, f"{site}/L{layer}"),
        "overview": (5, site),
        "neurons": (4, f"{site}/neurons"),
        "exclusive": (4, f"{site}/exclusive"),
        "suggest": (6, f"/search/suggest.json?{urlencode({'q': f'L{layer}N{index % 10}'})}"),
        "static": (8, "/static/atlas.css"),
        "page data": (6, f"{site}/{neuron}.json"),
        "api": (12, f"{api}/neurons/{neuron}"),
        "sql": (8, f"{site}/sql.json?sql={quote(_honest(chance))}&p.id={layer * target.d_mlp + index}"),
    }
    names = list(kinds)
    kind = chance.choices(names, [kinds[name][0] for name in names])[0]
    client.ask(kind, kinds[kind][1])


_HONEST = (
    "SELECT name, best_congruence, token_gap FROM neuron WHERE neuron_id = :id::INTEGER",
    "SELECT rank, token_id, congruence FROM neuron_token WHERE neuron_id = :id::INTEGER ORDER BY rank",
    "SELECT layer, count(*), max(token_gap) FROM neuron WHERE neuron_id >= :id::INTEGER GROUP BY layer ORDER BY layer",
)


def _honest(chance: random.Random) -> str:
    return chance.choice(_HONEST)


def attack(client: Client, target: Target, chance: random.Random) -> None:
    """One hostile statement, and the next as soon as it ends: no hostile client waits when it is told to."""
    what, sql = chance.choice(ALL)
    form = urlencode({"sql": sql.replace(DATABASE, "/srv/atlas.duckdb")}, errors="surrogatepass")
    client.ask(what, f"/{target.slug}/sql.json", form)


def _loop(act: Callable, target: Target, number: int, pause: float, stop: threading.Event, seen: Asked) -> None:
    chance, client = random.Random(number), Client(target, seen)
    while not stop.is_set():
        act(client, target, chance)
        if pause and stop.wait(chance.expovariate(1 / pause)):
            return


def _process(act: Callable, target: Target, clients: int, pause: float, ended: object, answer: object) -> None:
    """All clients of a kind, a thread each, until the event is set; what they saw goes into the queue."""
    seen, stop = [Asked() for _ in range(clients)], threading.Event()
    threads = [
        threading.Thread(target=_loop, args=(act, target, number, pause, stop, seen[number]))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    ended.wait()
    stop.set()
    for thread in threads:
        thread.join()
    whole = Asked()
    for part in seen:
        whole.add(part)
    answer.put(whole)


@contextmanager
def clients(act: Callable, target: Target, number: int, pause: float = 0.0) -> Iterator[Asked]:
    """So many clients for the length of a block; what they saw is filled in at its end."""
    seen = Asked()
    if not number:
        yield seen
        return
    context = multiprocessing.get_context("spawn")
    ended, answer = context.Event(), context.Queue()
    process = context.Process(target=_process, args=(act, target, number, pause, ended, answer))
    process.start()
    try:
        yield seen
    finally:
        ended.set()
        seen.add(answer.get(timeout=2 * TIMEOUT))
        process.join()
