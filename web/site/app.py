"""The app factory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from flask import Flask, current_app, g, request
from flask_compress import Compress
from werkzeug.routing import BaseConverter, ValidationError

from atlas import Atlas, open_atlas
from atlas.core import display
from atlas.core.answer import texts
from atlas.core.db import program_version
from atlas.core.errors import SlugError
from atlas.core.info import count_words, share_words
from atlas.core.names import RESERVED_SLUGS
from atlas.core.room import Room
from atlas.core.term import POST_URL
from web import views
from web.api import routes as api
from web.charts.drawing import curves_drawing, histogram_drawing
from web.charts.spark import spark_drawing
from web.charts.theme import CONFIG
from web.saved.store import SavedQueries
from web.server.watched import Watched
from web.site import bundle, cors, earlier, errors, headers, rate_limit, urls
from web.site import downloads as whole_files
from web.site.downloads import DOWNLOADS
from web.site.markup import (
    column_number,
    link_to_neuron,
    link_to_token,
    live_text,
    neuron_rows,
    number_cell,
    snippet,
    spaced,
    table_rows,
    whole,
)
from web.site.nav import nav
from web.site.page import find_atlas
from web.site.published import Published
from web.site.sharing import Citation, citations
from web.site.urls import AtlasRef
from web.views import answering
from web.workers.live.live import Live
from web.workers.sql.console import Console

MODULES = [import_module(f"{views.__name__}.{module.name}") for module in iter_modules(views.__path__)]
VIEWS = [module for module in MODULES if hasattr(module, "blueprint")]
"""Every module of `web.views` that has pages: a new one is served without being named anywhere else."""


class AtlasConverter(BaseConverter):
    """`slug` or `slug@build_id` in a URL."""

    regex = r"[a-z0-9-]+(?:@[^/.]+)?"

    def to_python(self, value: str) -> AtlasRef:
        """The reference; the build is checked against what is served when the page is made."""
        slug, _, build_id = value.partition("@")
        if slug in RESERVED_SLUGS:
            raise ValidationError
        if build_id and not urls.is_build(build_id):
            raise ValidationError
        return AtlasRef(slug, build_id or None)


class LayerConverter(BaseConverter):
    """`L31` in a URL: tried before a neuron's name."""

    regex = r"[Ll][0-9]{1,9}"
    weight = 50


def cited(title: str, description: str, url: str, ref: AtlasRef) -> list[Citation]:
    """How to cite a page of an atlas, for its template; of a published copy only what works without a server."""
    info, copy = find_atlas(ref).info, current_app.extensions["published"]
    host = copy.base_url if copy else request.host_url.rstrip("/")
    ways = citations(title, description, host, urls.pinned(ref, url, info.build_id), info)
    return [way for way in ways if way.needs != "server"] if copy else ways


def open_atlases(files: Iterable[Path], room: Callable[[str], Room] | None = None) -> dict[str, Atlas]:
    """Open atlas files, by slug; `room`: what each may use, by slug.

    Raises:
        SlugError: two files have the same slug.
        NotAnAtlasError, SchemaVersionError: a file cannot be read (see `open_atlas`).
    """
    atlases: dict[str, Atlas] = {}
    for file in files:
        atlas = open_atlas(file)
        slug = atlas.info.slug
        if room is not None:
            atlas.room = room(slug)
        if slug in atlases:
            raise SlugError(
                f"{atlases[slug].path} and {file} both have the slug {slug!r}; each atlas needs its own. "
                "Serve one of them, or ingest one again with another --slug."
            )
        atlases[slug] = atlas
    return atlases


def create_app(
    files: Iterable[Path],
    rate: str | None = None,
    console: Console | None = None,
    saved_queries: SavedQueries | None = None,
    downloads: int = DOWNLOADS,
    live: Live | None = None,
    room: Callable[[str], Room] | None = None,
    watched: Watched | None = None,
    published: Published | None = None,
) -> Flask:
    """The site of some atlas files. Each file is checked now and opened again at its first query.

    `rate` limits the requests for data of one address, as in '60/min'; None does not. `console` is where visitors run
    SQL; None makes one with the limits that `atlas serve` has, started when it is first used. `saved_queries` keeps
    short links of queries; None keeps none. `downloads` is how many whole files are sent at a time; 0: none.
    `live` reaches the models that visitors may try; None: they may not. `room` says what each atlas, by slug, may use.
    `watched` says where runs are heard of that write the files; None: nowhere. `published` is the copy that the pages
    are made for, without what needs a server; None: they are served.

    Raises:
        AtlasError: a file cannot be served (see `open_atlases`), or the rate cannot be read.
    """
    app = Flask("web", static_folder=None)
    app.url_map.converters.update(atlas=AtlasConverter, layer=LayerConverter)
    atlases = app.extensions["atlases"] = open_atlases(files, room)
    app.extensions["console"] = console or Console({slug: atlas.path for slug, atlas in atlases.items()})
    app.extensions["saved"] = saved_queries
    app.extensions["live"] = live
    app.extensions["published"] = published
    app.extensions["watched"] = watched or Watched()
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        urls=urls,
        absolute=lambda url: ((published.base_url or "") if published else request.host_url.rstrip("/")) + url,
        published=published,
        cell_kind=answering.cell_kind,
        citations=cited,
        served_together=lambda: len(atlases) > 1,
        live_options=live and live.options,
        site_nav=nav,
        gone_build=lambda: g.get("gone_build"),
        post_url=POST_URL,
        program_version=program_version(),
        texts_read=count_words,
        share_words=share_words,
        vega_url=bundle.url(),
        chart_config=CONFIG,
        snippet=snippet,
        whole=whole,
        table_rows=table_rows,
        column_number=column_number,
        number_cell=number_cell,
        neuron_rows=neuron_rows,
        link_to_token=link_to_token,
        link_to_neuron=link_to_neuron,
        live_text=live_text,
        histogram_drawing=histogram_drawing,
        curves_drawing=curves_drawing,
        spark_drawing=spark_drawing,
    )
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    app.jinja_env.filters.update(
        brief=lambda value: f"{value:.4g}",
        exact=display.show_exact,
        number=display.show_number,
        decimals=display.show_decimals,
        points=display.show_points,
        share=display.show_share,
        share_decimals=display.share_decimals,
        value=display.show_value,
        visible=display.visible,
        running=display.show_running,
        spaced=spaced,
        percentile=display.show_percentile,
        plain=texts.text,
        visible_lines=display.visible_lines,
    )
    earlier.register(app)
    errors.register(app)
    Compress(app)
    headers.register(app)
    cors.register(app)
    whole_files.register(app, downloads)
    if rate is not None:
        rate_limit.register(app, rate)
    for module in (api, bundle, *VIEWS):
        app.register_blueprint(module.blueprint)
    return app
