"""The app factory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from flask import Flask
from werkzeug.routing import BaseConverter, ValidationError

from atlas import Atlas, display, open_atlas
from atlas.db import program_version
from atlas.errors import SlugError
from web import bundle, errors, headers, urls
from web.markup import example_text
from web.urls import AtlasRef
from web.views import atlas_page, exclusive, home, layer, neuron, pairs, search, token


class AtlasConverter(BaseConverter):
    """`slug` or `slug@build_id` in a URL."""

    regex = r"[a-z0-9-]+(?:@[^/.]+)?"

    def to_python(self, value: str) -> AtlasRef:
        """The reference; the build is checked against what is served when the page is made."""
        slug, _, build_id = value.partition("@")
        if build_id and not re.fullmatch(r"[0-9a-f]{12}", build_id):
            raise ValidationError
        return AtlasRef(slug, build_id or None)


class LayerConverter(BaseConverter):
    """`L31` in a URL: tried before a neuron's name."""

    regex = r"[Ll][0-9]{1,9}"
    weight = 50


def open_atlases(files: Iterable[Path]) -> dict[str, Atlas]:
    """Open atlas files, by slug.

    Raises:
        SlugError: two files have the same slug.
        NotAnAtlasError, SchemaVersionError: a file cannot be read (see `open_atlas`).
    """
    atlases: dict[str, Atlas] = {}
    for file in files:
        atlas = open_atlas(file)
        slug = atlas.info.slug
        if slug in atlases:
            raise SlugError(
                f"{atlases[slug].path} and {file} both have the slug {slug!r}; each atlas needs its own. "
                "Serve one of them, or ingest one again with another --slug."
            )
        atlases[slug] = atlas
    return atlases


def create_app(files: Iterable[Path]) -> Flask:
    """The site of some atlas files. Each file is checked now and opened again at its first query.

    Raises:
        AtlasError: a file cannot be served (see `open_atlases`).
    """
    app = Flask("web", static_folder=None)
    app.url_map.converters.update(atlas=AtlasConverter, layer=LayerConverter)
    app.extensions["atlases"] = open_atlases(files)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        urls=urls, program_version=program_version(), example_text=example_text, vega_url=bundle.url()
    )
    app.jinja_env.filters.update(number=display.show_number, visible=display.visible)
    errors.register(app)
    headers.register(app)
    for module in (home, search, bundle, pairs, exclusive, token, atlas_page, layer, neuron):
        app.register_blueprint(module.blueprint)
    return app
