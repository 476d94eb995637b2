"""Citations of a page: its address, Markdown, a frame, BibTeX with provenance, and code that fetches its data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from markupsafe import Markup

from atlas.core.info import AtlasInfo, count_words, share_words
from atlas.core.sql_text import quoted_text, with_dollars
from web.site import urls
from web.site.published import published

FRAME_WIDTH, FRAME_HEIGHT = 600, 420
"""Size of a frame in pixels, which fits a neuron's summary. An embed fits any width from 280."""


@dataclass(frozen=True)
class Citation:
    """One way to cite a page: its purpose, and the text to copy."""

    name: str
    text: str
    needs: str | None = None
    """'server' where it works only while a server answers."""

    @property
    def anchor(self) -> str:
        """Its id on a page."""
        return f"cite-{self.name.lower().replace(',', '').replace(' ', '-')}"


def frame(address: str, title: str, width: int = FRAME_WIDTH, height: int = FRAME_HEIGHT) -> str:
    """The HTML that shows an embed on another site's page. The framed page runs no script; its links open in a new
    tab."""
    return str(
        Markup(
            '<iframe src="{}" title="{}" width="{}" height="{}" loading="lazy" '
            'sandbox="allow-popups allow-popups-to-escape-sandbox" style="border: 0; max-width: 100%"></iframe>'
        ).format(address, title, width, height)
    )


def _bibtex(title: str, address: str, info: AtlasInfo) -> str:
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"{info.slug} {title} {info.build_id}").strip("-").lower()
    plain = re.sub(r"[{}\\]", "", f"{title}, {info.model_name}")
    build = "build" if info.n_texts_planned is None else "unfinished build"
    return (
        f"@misc{{{key},\n  title = {{{plain}}},\n  howpublished = {{Neuron Atlas, {build} {info.build_id}}},\n"
        f"  year = {{{info.built_at.year}}},\n  url = {{{address}}},\n"
        f"  note = {{weights {info.model_fingerprint}; {info.n_positions:,} positions of {info.dataset} "
        f"({info.dataset_fingerprint}){_unfinished(info)}}}\n}}"
    )


def _markdown(title: str, description: str, address: str, info: AtlasInfo) -> str:
    def plain(text: str) -> str:
        # A token's text must not become Markdown markup.
        return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text)

    # A bracket or parenthesis in an address would end the link early.
    safe = address.replace("(", "%28").replace(")", "%29")
    return f"[{plain(title)}]({safe}) of {plain(info.model_name)}{_unfinished(info)}. {plain(description)}"


def _unfinished(info: AtlasInfo) -> str:
    """A citation's note on an unfinished build."""
    if info.n_texts_planned is None:
        return ""
    return f"; unfinished build {info.build_id}, {share_words(info)} read ({count_words(info)})"


def _fetched(host: str, path: str, data: str) -> list[Citation]:
    """Python and SQL that fetch a neuron or a token; other pages have no call of their own."""
    if re.match(r"/[^/]+/list\?n=", path):
        names = [text.partition("~")[0] for text in parse_qs(path.partition("?")[2])["n"]]
        call = f'neurons = atlas.open("{host}/{path.split("/")[1]}").collection({names!r})'
        return [Citation("Data, in Python", f"import atlas\n\n{call}", "server")]
    match = re.match(r"/([^/]+)/(?:(L[0-9]+N[0-9]+)|token/([0-9]+))(?:\?|$)", path)
    if match is None:
        return [
            Citation(
                "Data, in Python",
                f"import json, urllib.request\n\npage = json.load(urllib.request.urlopen({data!r}))",
                "server",
            )
        ]
    atlas, neuron, token = match.groups()
    # The engine of a copy, an older DuckDB, would gather the pages of all neurons.
    source = "neuron WHERE name" if published() else "neuron_page WHERE neuron"
    call, sql = (
        (f'neuron("{neuron}")', f"SELECT * FROM {source} = '{neuron}'")
        if neuron
        else (f"token({token})", f"SELECT * FROM token WHERE token_id = {token}")
    )
    return [
        Citation(
            "Data, in Python", f'import atlas\n\n{call.split("(")[0]} = atlas.open("{host}/{atlas}").{call}', "server"
        ),
        Citation("Data, in SQL", sql),
    ]


def citations(title: str, description: str, host: str, pinned: str, info: AtlasInfo) -> list[Citation]:
    """Ways to cite a page. `host` is this site's address; `pinned` the page's path and query, pinned to the build."""
    address, data = host + pinned, host + urls.json(pinned)
    name = f"{title}, {info.model_name}"
    framed = [Citation("Embed", frame(host + urls.embed(pinned), name), "server")] if urls.has_embed(pinned) else []
    return [
        Citation("Link", address),
        Citation("Markdown", _markdown(title, description, address, info)),
        *framed,
        Citation("BibTeX", _bibtex(title, address, info)),
        Citation("curl", f"curl '{data}'", "server"),
        *_fetched(host, pinned, data),
    ]


def query_citations(slug: str, sql: str, parameters: Mapping[str, str]) -> tuple[Citation, ...]:
    """Code for readers who have the file: the same query in SQL, and in Python."""
    statement = with_dollars(sql)
    values = ", ".join(f"{name} := {quoted_text(value)}" for name, value in parameters.items())
    # DuckDB's own parameters; a newline, since a comment may end the statement.
    in_sql = f"PREPARE question AS\n{statement}\n;\nEXECUTE question({values});" if parameters else f"{statement}\n;"
    plain = not re.search(r'\\|"""|"$', statement)
    string = f'"""{statement}"""' if plain else repr(statement)
    more = f", {dict(parameters)!r}" if parameters else ""
    return (
        Citation("SQL, over the file", in_sql),
        Citation(
            "Python, over the file",
            f"import duckdb\n\nfile = duckdb.connect({slug + '.duckdb'!r}, read_only=True)\n"
            f"rows = file.execute({string}{more}).fetchall()",
        ),
    )
