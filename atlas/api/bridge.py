"""Calls about the same thing in every atlas that is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from atlas.core.call import call
from atlas.core.db import Atlas
from atlas.core.parameter import Text
from atlas.topics.bridge import BridgeToken
from atlas.topics.bridge import bridge_token as read_bridge_token

Spelling = Annotated[str, Text("The token's text, with its leading space if it has one.", least=1, most=1000)]


@call("bridge/token", python='atlas.bridge([demo], " an")', text=" an")
def bridge_token(served: Mapping[str, Atlas], text: Spelling) -> tuple[BridgeToken, ...]:
    """The same token, by its text, in every atlas that is served: its best neurons, exclusive pairs, counts, and how
    well its best neuron predicts it; where it is no token, those that are spelt like it."""
    return tuple(read_bridge_token(atlas, text) for atlas in served.values())
