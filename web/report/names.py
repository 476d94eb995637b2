"""Names of places and files in a report, and addresses of what it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from web.site import urls
from web.site.urls import AtlasRef
from web.views.atlas_page import overview
from web.views.neuron import neuron
from web.views.token import find_token, token


def anchor(*titles: str) -> str:
    """A name for a place or a file, from titles: lower case, words joined by '-'."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title in titles)


@dataclass(frozen=True)
class Links:
    """Addresses on a site that serves the atlas; None: no site is known, and nothing is linked."""

    site: str | None
    slug: str

    def overview(self) -> str | None:
        """The overview of the atlas."""
        return None if self.site is None else self.site + urls.to(overview.__name__, AtlasRef(self.slug))

    def neuron(self, name: str) -> str | None:
        """The page of a neuron."""
        return None if self.site is None else self.site + urls.to(neuron.__name__, AtlasRef(self.slug), name)

    def token(self, token_id: int | None, text: str | None) -> str | None:
        """The page of a token, by its id or else by its text."""
        if self.site is None or (token_id is None and not text):
            return None
        ref = AtlasRef(self.slug)
        return self.site + (
            urls.to(find_token.__name__, ref, text=text) if token_id is None else urls.to(token.__name__, ref, token_id)
        )

    def linked(self, text: str, link: Callable[[str, str], str]) -> str:
        """A text with its names of neurons made links by `link`, from a name and an address."""
        if self.site is None:
            return text
        return re.sub(r"\bL\d+N\d+\b", lambda name: link(name[0], str(self.neuron(name[0]))), text)
