"""A published copy of the site, for hosts without a server: what its pages may lead to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from flask import current_app

from web.site import urls
from web.site.headers import without_server

_CONSOLE = re.compile(r"/[a-z0-9-]+(?:@[0-9a-f]{12})?/sql")
_NO_DATA = re.compile(r"/part/|/sql$|/q/[a-z0-9]+$")
"""Pages without data of their own: a part's are its page's, those of the console and of saved queries are answers."""
PIN = re.compile(r"^(/[a-z0-9-]+)@[0-9a-f]{12}")
ENGINE_WORKER, ENGINE_WASM = "duckdb-browser-eh.worker.js", "duckdb-eh.wasm"
"""Files of DuckDB's engine for browsers."""
_READ_BY_SCRIPTS = {"token", "threshold"}
"""Parameters that only choose what a page opens with: an address that has them leads to the page without them."""


COPY = "copy.js"
"""The script of every page of a copy: those that pages of a server name one by one."""


@cache
def copy_script() -> bytes:
    """What COPY holds."""
    names = ("site.js", "search.js", "published.js", "charts.js", "threshold.js")
    return "\n".join(urls.script(name) for name in names).encode()


@dataclass(frozen=True)
class Published:
    """A copy of the site. Its pages are those of the server, less what only a server can do."""

    addresses: frozenset[str]
    """Every page of the copy: path, and query where it has one."""
    base_url: str | None = None
    """The copy's own address, as in 'https://someone.github.io/atlas'; None: not known, so that no page names it."""
    paged: bool = False
    """Whether the further pages of lists are in the copy."""

    data: bool = True
    """Whether pages have their data ('.json')."""

    file: bool = False
    """Whether the atlas files are in the copy."""

    engine: str | None = None
    """Folder of DuckDB's engine among the copy's static files; None: it is not there."""

    theme: ClassVar[str] = urls.script("theme.js")
    """The script that pages have inline."""
    policy: ClassVar[str] = without_server(theme)
    """Their security policy."""

    @property
    def script(self) -> str:
        """The address of COPY, which changes with its content."""
        return urls.to("static_file", COPY, v=blake2b(copy_script(), digest_size=4).hexdigest())

    @property
    def sql(self) -> bool:
        """Whether the console runs: in the browser."""
        return self.file and self.engine is not None

    @property
    def prefix(self) -> str:
        """What comes before the site's own paths: '/atlas', or nothing."""
        return urlsplit(self.base_url or "").path

    def leads_to(self, url: str) -> str | None:
        """The address in the copy that a URL of the site leads to; None: the copy has no such page."""
        address, mark, fragment = url.partition("#")
        path, _, query = address.partition("?")
        if self._has(address) or path == urls.to("search") or (self.sql and _CONSOLE.fullmatch(path)):
            return url
        return path + mark + fragment if self._has(path) and parse_qs(query).keys() <= _READ_BY_SCRIPTS else None

    def has_data(self, address: str) -> bool:
        """Whether a page of the copy has its data there."""
        return self.data and not _NO_DATA.search(address)

    def _has(self, address: str) -> bool:
        """Whether a page is in the copy. A link to it that is pinned to its build counts as one to it, and a link to
        its data too, if it has any."""
        page = PIN.sub(r"\1", address)
        path, ending, query = page.partition(".json")
        if not ending:
            return page in self.addresses
        return self.has_data(path) and (path or "/") + query in self.addresses


def published() -> Published | None:
    """The copy that pages are made for; None: they are served."""
    return current_app.extensions["published"]
