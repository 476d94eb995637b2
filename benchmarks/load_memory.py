"""Random pages of every kind, asked of a running site, and the memory that all its processes hold meanwhile.

A kind is a route of the site's own; its parts are drawn from the atlas, names of charts found on the pages read before.
Long answers (whole tables, the file) are read for some megabytes, then left, as by a visitor who changes his mind.
What counts is anonymous memory and shared memory without a file, each page divided among those who share it; the file's
own pages in the system's cache can be given back at any time, and do not count.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil

from atlas import Atlas
from atlas.export.source import table_names
from atlas.topics.study.study import list_studies
from benchmarks.load_clients import _HONEST, TIMEOUT, Target
from web.sections.neuron import PARTS, SECTIONS
from web.site.app import create_app
from web.views.embed import TOKEN_PANELS

MOST_READ = 8 << 20
"""Bytes of an answer that are read."""

_WEIGHTS = {"": 6, ".json": 3, ".card.png": 1, ".chart.svg": 1, ".chart.png": 1, ".chart.csv": 1, ".chart.json": 1}
_LIVE, _RARE = re.compile(r"/live|/q(/|$)|/random\.|healthz"), re.compile(r"\.(csv|parquet|duckdb|xml)$")
_CHART = re.compile(rb"\.chart\.svg\?(?:[^\"]*?(?:&amp;|&))?chart=([\w.%-]+)")
_MIB = 2**20


def kinds(path: Path) -> list[str]:
    """Routes that visitors may ask for, as the app states them; not those of live mode and of saved queries."""
    rules = create_app([path]).url_map.iter_rules()
    return sorted({rule.rule for rule in rules if "GET" in rule.methods and not _LIVE.search(rule.rule)})


class Pages:
    """Random addresses of every kind."""

    def __init__(self, path: Path, atlas: Atlas) -> None:
        self._atlas, self._info = atlas, atlas.info
        self._studies = [study.name for study in list_studies(atlas)] or ["none"]
        self._tables = table_names(atlas)
        rules = kinds(path)
        self._charts: dict[str, set[str]] = defaultdict(set)
        self._families: dict[str, list[str]] = defaultdict(list)
        for rule in rules:
            ending = next((end for end in _WEIGHTS if end and rule.endswith(end) and rule[: -len(end)] in rules), "")
            self._families[rule.removesuffix(ending)].append(ending)
        self._names = [*self._families]
        self._odds = [0.03 if _RARE.search(name) else 1 for name in self._names]

    def next(self, chance: random.Random) -> tuple[str, str]:
        """A kind and an address of it."""
        family = chance.choices(self._names, self._odds)[0]
        endings = [end for end in self._families[family] if ".chart." not in end or self._charts[family]]
        ending = chance.choices(endings, [_WEIGHTS[end] for end in endings])[0]
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: self._part(match[1], family, chance), family)
        query = self._asked(family, chance)
        if ".chart." in ending:
            query["chart"] = chance.choice(sorted(self._charts[family]))
        return family + ending, f"{path}{ending}{'?' if query else ''}{urlencode(query, doseq=True)}"

    def learn(self, kind: str, body: bytes) -> None:
        """Take down the charts of a page that was read."""
        if kind in self._families:
            self._charts[kind] |= {name.decode() for name in _CHART.findall(body)}

    def _neuron(self, chance: random.Random) -> str:
        return f"L{chance.randrange(self._info.n_layers)}N{chance.randrange(self._info.d_mlp)}"

    def _word(self, chance: random.Random) -> str:
        return (self._atlas.tokens[chance.randrange(self._info.d_vocab)].text or "the").strip()

    def _part(self, name: str, family: str, chance: random.Random) -> str:
        layer, index = chance.randrange(self._info.n_layers), chance.randrange(self._info.d_mlp)
        token = chance.randrange(self._info.d_vocab)
        if name == "name" and "/study/" in family:
            return quote(chance.choice(self._studies))
        if name == "name" and "/tables/" in family:
            return chance.choice(self._tables)
        if name == "name" and "/static/" in family:
            return chance.choice(("atlas.css", "icon.svg"))
        if name == "name" and "/token/" in family:
            return str(token)
        if name == "panel":
            return chance.choice(TOKEN_PANELS if "/token/" in family else [kind.id for kind in SECTIONS])
        known = {
            "ref": self._info.slug,
            "slug": self._info.slug,
            "part": 0,
            "text_id": 0,
            "section": chance.choice([*PARTS]),
            "version": "0",
            "first": layer,
            "second": index,
            "token": token,
            "token_id": token,
            "study": quote(chance.choice(self._studies)),
        }
        if family.endswith("<layer:name>"):
            return f"L{layer}"
        return str(known.get(name, f"L{layer}N{index}"))

    def _asked(self, family: str, chance: random.Random) -> dict[str, object]:
        if family.endswith("/sql") or family.startswith("/<atlas:ref>/sql"):
            wanted = chance.randrange(self._info.n_neurons)
            return {"sql": chance.choice(_HONEST), "p.id": wanted}
        if "search" in family or "suggest" in family:
            word = self._word(chance)
            return {"q": chance.choice((word, word[:3] or "a", self._neuron(chance)))}
        if family.endswith("compare"):
            slug = f"{self._info.slug}:" if family.startswith("/bridge") else ""
            return {"n": [slug + self._neuron(chance) for _ in range(2)]}
        if family.endswith(("bridge/token", "/tokens")) or family == "/api/v1/bridge/token":
            return {"text": self._word(chance)}
        if family == "/oembed":
            return {"url": f"http://127.0.0.1/{self._info.slug}/{self._neuron(chance)}"}
        if family.endswith(("/neurons", "/pairs", "/exclusive")) and chance.random() < 0.5:
            return {"page": 1 + chance.randrange(3)} if not family.startswith("/api") else {"limit": 50}
        return {}


def held(server: int) -> dict[int, tuple[str, float]]:
    """By process of a site: what it is, and the MiB of it that count."""
    memory = {}
    with_children = [psutil.Process(server), *psutil.Process(server).children(recursive=True)]
    for process in with_children:
        try:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            broker = "web.workers.sql.broker" in " ".join(process.cmdline())
            parent = process.ppid()
        except (OSError, psutil.Error):
            continue  # it ended meanwhile
        sizes = dict(re.findall(r"(Pss_Anon|Pss_Shmem): +(\d+)", text))
        what = "master" if process.pid == server else "web" if parent == server and not broker else "sql"
        memory[process.pid] = what, sum(map(int, sizes.values())) / 1024
    return memory


class Watch:
    """The greatest memory seen, looked at a few times a second."""

    def __init__(self, server: int) -> None:
        self._server = server
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.web: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Take down what is held now."""
        every = held(self._server)
        now = Counter({"all": 0.0, "master": 0.0, "web": 0.0, "sql": 0.0})
        for what, size in every.values():
            now[what] += size
            now["all"] += size
        self.web |= {pid for pid, (what, _) in every.items() if what == "web"}
        self.now, self.most = now, self.most | now

    def _look(self) -> None:
        while not self._stop.wait(0.3):
            self.look()


def _visit(target: Target, pages: Pages, seed: int, left: Iterator[int], seen: Counter, slow: dict) -> None:
    chance, connection = random.Random(seed), None
    for _ in left:
        kind, path = pages.next(chance)
        start = time.perf_counter()
        try:
            connection = connection or http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT)
            connection.request("GET", path, headers={"Accept-Encoding": "identity"})
            response = connection.getresponse()
            body = response.read(MOST_READ)
            if not response.isclosed():
                connection.close()
                connection = None
            elif response.status == 200:
                pages.learn(kind, body)
            seen[response.status] += 1
            if response.status >= 500 and response.status != 503:
                print(f"  {response.status} {path}")
        except (OSError, http.client.HTTPException) as error:
            seen[type(error).__name__] += 1
            connection.close()
            connection = None
        slow[kind].append(time.perf_counter() - start)


def browse(server: int, target: Target, pages: Pages, number: int, clients: int, seconds: float, bound: float) -> bool:
    """Ask for `number` random pages, for no longer than `seconds`; print what is held ten times, and how much at most.
    Whether that is within the bound, MiB."""
    seen, slow = Counter(), defaultdict(list)
    until, lock, done = time.monotonic() + seconds, threading.Lock(), 0

    def left() -> Iterator[int]:
        nonlocal done
        while True:
            with lock:
                if done >= number or time.monotonic() > until:
                    return
                done += 1
            yield done

    threads = [
        threading.Thread(target=_visit, args=(target, pages, seed, left(), seen, slow)) for seed in range(clients)
    ]
    print(f"\n{len(pages._families)} kinds, {sum(map(len, pages._families.values()))} with their forms")
    print(f"{'pages':>8}{'all MiB':>9}{'master':>9}{'web':>9}{'sql':>9}{'most':>9}{'s':>8}")
    begin = time.monotonic()
    with Watch(server) as watch:
        for thread in threads:
            thread.start()
        printed = -1
        while any(thread.is_alive() for thread in threads):
            if (step := 10 * done // number) > printed:
                printed = step
                _line(done, watch, time.monotonic() - begin)
            time.sleep(0.2)
        for thread in threads:
            thread.join()
    _line(done, watch, time.monotonic() - begin)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"  answers: {dict(seen)}; {len(watch.web)} web processes in all; load average {load}")
    greatest = sorted(((max(values), kind) for kind, values in slow.items()), reverse=True)[:5]
    print("  slowest: " + ", ".join(f"{kind} {value:.1f} s" for value, kind in greatest))
    most = watch.most["all"]
    print(f"  at most {most:.0f} MiB of {bound:.0f}: {'held' if most <= bound else 'NOT HELD'}")
    return most <= bound


def _line(done: int, watch: Watch, seconds: float) -> None:
    figures = "".join(f"{watch.now[name]:>9.0f}" for name in ("all", "master", "web", "sql"))
    print(f"{done:>8}{figures}{watch.most['all']:>9.0f}{seconds:>8.0f}", flush=True)
