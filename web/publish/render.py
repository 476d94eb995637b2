"""Pages as the server makes them, by its own app: each once, with its data and its card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape
from typing import Any

from flask import Flask, g, render_template, request

from atlas import Atlas
from atlas.core.ahead import Ahead
from atlas.core.errors import AtlasError
from atlas.core.room import Room
from atlas.core.units import named_ref
from web.publish.links import settled
from web.publish.plan import Job, Plan
from web.report.names import Links
from web.report.write import report_page
from web.saved.store import SavedQueries
from web.site import urls
from web.site.app import create_app
from web.site.page import answered, find_atlas

HTML, DATA, CARD = "html", "json", "png"

LIST_PAGES = 100
"""Pages of a list in a copy, at most: the list of predictive pairs has a row for every candidate pair and side."""
_MORE = re.compile(r'<h2[^>]*>[^<]*<a class="sql-link"\s+href="([^"]+)"')
"""The query of a list, behind the list's own heading."""

_UNIT = re.compile(r"/([^/]+)/(?:(L[0-9]+N[0-9]+)|token/([0-9]+))")
_SPREAD = 4
"""Ids that are read for each that is needed, at most."""
_PAGER = re.compile(r'<nav class="pager".*?</nav>', re.DOTALL)
_NEXT = re.compile(r'<a rel="next"[^>]* href="([^"]+)".*?</a>', re.DOTALL)
_PREVIOUS = re.compile(rb'(<a rel="prev"[^>]* href=")[^"]+')


class PageError(AtlasError):
    """A page of the plan cannot be made."""


class Pages:
    """The pages of a copy. One of a process: each has its own connections to the files."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        room = Room(threads=1)  # the other processes have the other cores
        saved = None if plan.saved is None else SavedQueries(plan.saved)
        self._app: Flask = create_app(plan.files, published=plan.published, saved_queries=saved, room=lambda _: room)
        for atlas in self.atlases.values():
            atlas.ahead = Ahead(atlas)

    @property
    def atlases(self) -> dict[str, Atlas]:
        """The atlases, by slug."""
        return self._app.extensions["atlases"]

    def of(self, job: Job) -> Iterator[tuple[str, str, bytes]]:
        """(address, kind, content) of every page of a job: 'html', 'json', or 'png', a card."""
        self._read_ahead(job)
        for address in job.addresses:
            if job.kind == "packed":
                yield from self._packed(address)
            elif job.kind == "report":
                yield address, HTML, self._report(address)
            elif job.kind == "list" and self.plan.published.paged:
                yield from self._list(address)
            else:
                yield from self._whole(address)

    def _report(self, address: str) -> bytes:
        atlas = self.atlases[address.split("/")[1]]
        return self._settled(report_page(atlas, Links("", atlas.info.slug)))

    def _read_ahead(self, job: Job) -> None:
        """Ask for what the pages of a job need all at once, where these are neurons, or tokens, close to each other."""
        for slug, atlas in self.atlases.items():
            units = [match for match in map(_UNIT.fullmatch, job.addresses) if match and match[1] == slug]
            neurons = [named_ref(atlas, match[2]).neuron_id for match in units if match[2]]
            tokens = [int(match[3]) for match in units if match[3]]
            name, ids = ("neuron_id", neurons) if len(neurons) > len(tokens) else ("token_id", tokens)
            if ids and max(ids) - min(ids) < _SPREAD * len(ids):
                assert atlas.ahead is not None
                atlas.ahead.turn_to(name, range(min(ids), max(ids) + 1))

    def absent(self) -> bytes:
        """The page for addresses at which the host has no file: it opens what is packed, or says that there is none."""
        with self._app.test_request_context("/404"):
            script = urls.script("unpacked.js")
            return self._settled(render_template("unpacked.html", title="Opening the page", script=script))

    def _settled(self, html: str, own: str = "") -> bytes:
        return settled(html, self.plan.published, own).encode("utf-8")

    def _get(self, address: str) -> Any:
        answer = self._app.test_client().get(address)
        if answer.status_code != 200:
            raise PageError(f"The page {address} cannot be made: the site answers {answer.status}.")
        return answer

    def _whole(self, address: str) -> Iterator[tuple[str, str, bytes]]:
        """A page asked for as a browser asks, its data and its card."""
        yield address, HTML, self._settled(self._get(address).get_data(as_text=True))
        yield from self._data(address)
        yield from self._card(address)

    def _data(self, address: str) -> Iterator[tuple[str, str, bytes]]:
        if self.plan.published.has_data(address):
            yield address, DATA, self._get(urls.json(address)).data

    def _card(self, address: str) -> Iterator[tuple[str, str, bytes]]:
        if self.plan.base_url:
            yield address, CARD, self._get(urls.card(address)).data

    def _list(self, address: str) -> Iterator[tuple[str, str, bytes]]:
        """The first page of a list with its card, and those that follow it. Each leads back to the one before by that
        one's address: the server's own spells a page from its other end."""
        yield from self._card(address)
        back = None
        for number in range(1, LIST_PAGES + 1):
            html = self._get(address).get_data(as_text=True)
            pager = _PAGER.search(html)
            further = pager and _NEXT.search(pager[0])
            if pager and further and number == LIST_PAGES:
                html = html.replace(pager[0], pager[0].replace(further[0], self._end(unescape(further[1]))))
            content = self._settled(html, address)
            yield address, HTML, content if back is None else _PREVIOUS.sub(back, content)
            yield from self._data(address)
            if not further:
                return
            back = rf"\g<1>{self.plan.published.prefix}{escape(address)}".encode()
            address = unescape(further[1])

    def _end(self, address: str) -> str:
        """What a list that goes on at an address, but not in the copy, ends with."""
        query = _MORE.search(self._get(address).get_data(as_text=True))
        more = f'<a rel="nofollow" href="{query[1]}">the next by SQL</a>' if query else ""
        return f"<span>This copy lists no more.</span> {more}"

    def _packed(self, address: str) -> Iterator[tuple[str, str, bytes]]:
        """A page and its data, made of one record."""
        with self._app.test_request_context(address):
            if request.routing_exception is not None:
                raise request.routing_exception
            values = dict(request.view_args or {})
            g.ref = values.pop("ref")
            view: Any = getattr(self._app.view_functions[request.endpoint or ""], "view")  # noqa: B009  # see `page`
            context = view(atlas=find_atlas(g.ref), **values)
            yield address, HTML, self._settled(answered(context, "html").get_data(as_text=True))
            if self.plan.published.data:
                yield address, DATA, answered(context, "data").data
