"""Validators of answers: an atlas never changes, so a page is stale only when the build or this program changes."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

from flask import Response, current_app, request

import atlas
import web
from atlas.core.info import AtlasInfo
from web.site import earlier
from web.site.urls import AtlasRef

_PINNED_SECONDS = 3600
"""Cache time of a pinned page: its data never changes, its appearance may change with the program."""


@cache
def program_digest() -> str:
    """Identity of the code, templates and static files that make the pages."""
    digest = blake2b(digest_size=6)
    for package in (web, atlas):
        for path in sorted(Path(package.__file__).parent.rglob("*")):
            if path.suffix in {".py", ".html", ".css", ".js"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _etag(build_id: str) -> str:
    # Pages of one atlas link to the other served atlases, and to live mode where it is on.
    question = f"{request.full_path} {' '.join(current_app.extensions['atlases'])}"
    if earlier.asked() is not None:
        question += f" earlier {earlier.asked()}"
    if current_app.extensions.get("live"):
        question += " live"
    digest = blake2b(question.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{build_id}-{program_digest()}-{digest}"


def lasting(ref: AtlasRef, info: AtlasInfo) -> bool:
    """Whether the content of an atlas's URL is permanent: it is pinned to a build that no later one of its run
    replaces."""
    return ref.build_id is not None and info.n_texts_planned is None


def not_modified(build_id: str) -> Response | None:
    """The answer 304 if the client already has this page of this build."""
    if request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(_etag(build_id)):
        return validated(Response(status=304), build_id, pinned=False)
    return None


def validated(response: Response, build_id: str, *, pinned: bool) -> Response:
    """The answer with its validator: weak, since it may be compressed on the way."""
    response.set_etag(_etag(build_id), weak=True)
    response.headers["Cache-Control"] = f"public, max-age={_PINNED_SECONDS}" if pinned else "no-cache"
    return response
