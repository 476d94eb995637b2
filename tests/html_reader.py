"""What a browser would make of a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser


def squeezed(text: str) -> str:
    """A page without the whitespace by which its template is laid out: one space for a run, none between two tags."""
    return re.sub(r"> <", "><", re.sub(r"\s+", " ", text))


class Reader(HTMLParser):
    """What a browser would make of a page: elements, links, and that every element is closed."""

    VOID = frozenset({"base", "meta", "link", "input", "br", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.inline, self.open = [], [], [], []
        self.script_type = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.links += [attributes[name] for name in ("href", "src", "action") if name in attributes]
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in attributes and attributes.get("type") != "application/json":
            self.inline.append("script")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
