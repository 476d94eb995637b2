"""Routes of the calls: arguments from the path and the query string, the answer as JSON with validators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.wrappers import Response as BaseResponse

from atlas.api.calls import CALLS
from atlas.api.codec import CODES, encode
from atlas.core.call import Call, Page
from atlas.core.errors import AtlasError
from atlas.core.jsonable import dumps
from web.api.openapi import document
from web.site import urls
from web.site.caching import lasting, not_modified, validated
from web.site.errors import BadRequestError, EarlierBuildError, Failure, answer, failure_of, lead_on
from web.site.page import find_atlas
from web.site.urls import AtlasRef

blueprint = Blueprint("api", __name__, url_prefix=urls.API)


def _served_build() -> str:
    return "+".join(atlas.info.build_id for atlas in current_app.extensions["atlases"].values())


def _given(path: dict[str, Any]) -> dict[str, str]:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise BadRequestError(f"{name} is given {len(values)} times; expected it once.")
        if name in path:
            raise BadRequestError(f"{name} is in the path already; expected it only there.")
    return {**path, **request.args}


def _view(call: Call) -> Callable[..., Response]:
    def view(ref: AtlasRef | None = None, **path: str) -> Response:
        atlas = None if ref is None else find_atlas(ref)
        build = _served_build() if atlas is None else atlas.info.build_id
        unchanged = not_modified(build)
        if unchanged is not None:
            return unchanged
        answer = call.ask(current_app.extensions["atlases"] if atlas is None else atlas, _given(path))
        after = answer.after if isinstance(answer, Page) else None
        following = None if after is None else urls.api(call.path, ref, path, **{**request.args, "after": after})
        body = Response(dumps(encode(call, answer, following)), mimetype="application/json")
        return validated(body, build, pinned=ref is not None and lasting(ref, atlas.info))

    return view


for _call in CALLS.values():
    _rule = _call.path.replace("{atlas}", "<atlas:ref>").replace("{", "<").replace("}", ">")
    blueprint.add_url_rule(f"/{_rule}", _call.name, _view(_call))


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The API's description as OpenAPI 3.1."""
    held = not_modified(_served_build())
    if held is not None:
        return held
    body = Response(dumps(document(current_app)), mimetype="application/json")
    return validated(body, _served_build(), pinned=False)


@blueprint.errorhandler(AtlasError)
def failed(error: AtlasError) -> BaseResponse:
    """The same code as the client's error of the same name."""
    if isinstance(error, EarlierBuildError):
        return lead_on(error)
    code, status = CODES.get(type(error), (None, 0))
    return answer(Failure(status, code, str(error)) if code else failure_of(error))
