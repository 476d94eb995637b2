"""Several opened atlases at once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from atlas.api import CALLS
from atlas.client.opened import OpenAtlas, open_any
from atlas.client.records import Records
from atlas.display import visible
from atlas.errors import RemoteError
from atlas.records import BridgeToken


def bridge(atlases: Iterable[OpenAtlas | Path | str], text: str) -> Records[BridgeToken]:
    """The same token, by its text, in several atlases, in their order: opened ones, files, or URLs, in any mixture.

    Raises:
        AtlasError: one of them cannot be opened or reached.
    """
    with ExitStack() as closing:
        opened = [item if isinstance(item, OpenAtlas) else closing.enter_context(open_any(item)) for item in atlases]
        return Records(f"{visible(text)!r} in {len(opened)} atlases", [_of(atlas, text) for atlas in opened])


def _of(atlas: OpenAtlas, text: str) -> BridgeToken:
    info = atlas.info
    # A server answers for all that it serves.
    for found in atlas._source.ask(CALLS["bridge_token"], text=text):
        if (found.slug, found.build_id) == (info.slug, info.build_id):
            return found
    raise RemoteError(f"{atlas!r} serves another build by now than {info.build_id}; open it again.")
