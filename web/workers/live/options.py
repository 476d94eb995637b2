"""The operator's options of live mode. The site's processes and the desk read the same record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from atlas.core.errors import AtlasError

_LONGEST_ANSWER = 30.0
_CHARACTERS = 12


class LiveModelError(AtlasError):
    """`--live-model` names an atlas that is not served."""


@dataclass(frozen=True)
class LiveOptions:
    """Limits of live mode."""

    tokens: int = 128
    """Most tokens of a text or prompt, BOS not counted."""
    queue: int = 8
    """Most texts, and most studies, that wait for their turn; the next one is turned away."""
    seconds: float = 300.0
    """Seconds that a study may run."""
    most_models: int = 1
    """Most models in memory at once."""
    load: Mapping[str, str] = field(default_factory=dict)
    """Name or path of the model to load in place of the atlas's own, by slug; '': for all other atlases."""

    @property
    def answer_seconds(self) -> float:
        """Seconds that an answer about a text may take, from the start of its turn."""
        return min(_LONGEST_ANSWER, self.seconds)

    @property
    def characters(self) -> int:
        """Most characters of a text or prompt: a longer one is not tokenised at all."""
        return _CHARACTERS * self.tokens


def places_of(options: LiveOptions) -> int:
    """Most threads of one process that wait for answers."""
    return 2 * options.queue + 2


def read_models(models: Iterable[str], slugs: Iterable[str] | None) -> dict[str, str]:
    """`LiveOptions.load` from texts such as 'gpt2-large=/models/gpt2-large', or a model alone. `slugs`: the served
    atlases; None: not known yet.

    Raises:
        LiveModelError: no atlas of that slug is served.
    """
    load, known = {}, None if slugs is None else list(slugs)
    for text in models:
        slug, model = match.groups() if (match := re.fullmatch(r"([a-z0-9-]+)=(.+)", text)) else ("", text)
        if slug and known is not None and slug not in known:
            raise LiveModelError(
                f"--live-model {text!r} is for {slug!r}, which is not served; expected one of {', '.join(known)} "
                "before the '=', or a model alone."
            )
        load[slug] = model
    return load
