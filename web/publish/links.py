"""Links and forms of a published page: what leads to pages that only a server makes is text, or left out."""

from __future__ import annotations

import re
from html import escape, unescape

from web.site.published import PIN, Published

_LINK = re.compile(r'<a\b([^>]*?)\shref="(/[^"]*)"([^>]*)>(.*?)</a>', re.DOTALL)
_FORM = re.compile(r"<form\b([^>]*)>.*?</form>", re.DOTALL)
_SCRIPT = re.compile(r'<script type="application/json"[^>]*>.*?</script>', re.DOTALL)
_CHART_LINKS = re.compile(r'"(?:href|url)": ?(?:\[[^\]]*\]|"[^"]*")')
_ATTRIBUTE = re.compile(r'\s(?:class|title)="[^"]*"')
_WITHOUT_SERVER = re.compile(r'class="[^"]*\b(?:search|threshold|query|drawing-form)\b')
"""Forms that scripts answer."""
_STATE = re.compile(r'^(?!.*\sclass=).*\s(?:rel="(?:nofollow|next|prev)"|data-key=)', re.DOTALL)
"""Attributes of links that offer something (another order, the next page, a list) and name nothing: where they lead
nowhere, they are left out."""
_OUT = "\0"
"""In place of such a link, for a moment."""
_SEPARATOR = re.compile(r"\s*·\s*")
_NOTHING = re.compile(r'<p class="choices">(?:\s|</?span>)*</p>\n?')
_TEMPLATE = re.compile(r"(<template\b.*?</template>)", re.DOTALL)
"""What a script fills in: where its links lead is not known here."""


def settled(html: str, published: Published, own: str = "") -> str:
    """A page of the server as a page of a copy; `own` is its address, if that is none of `published`."""

    def link(match: re.Match[str]) -> str:
        before, href, after, inner = match.groups()
        if href in published.addresses:
            return match[0]
        attributes = before + after
        paged = published.paged and "?" in href and re.search(r'\srel="(?:next|prev)"', attributes)
        known = paged or (own and PIN.sub(r"\1", unescape(href)) == own)
        target = unescape(href) if known else published.leads_to(unescape(href))
        if target is None and _STATE.match(attributes):
            return _OUT
        if target is None:
            return f"<span{''.join(_ATTRIBUTE.findall(attributes))}>{inner}</span>"
        return f'<a{before} href="{escape(target)}"{after}>{inner}</a>'

    html = _FORM.sub(lambda form: form[0] if _WITHOUT_SERVER.search(form[1]) else "", html)
    html = "".join(text if _TEMPLATE.match(text) else _LINK.sub(link, text) for text in _TEMPLATE.split(html))
    if _OUT in html:
        html = _NOTHING.sub("", _joined(html.split(_OUT)))
    return _below(html, published.prefix) if published.prefix else html


def _joined(pieces: list[str]) -> str:
    """What is left of a page without some links, each with one of the separators that were beside it."""
    joined = pieces[:1]
    for piece in pieces[1:]:
        before = joined[-1].rstrip()
        if before.endswith("·"):
            joined[-1] = before[:-1].rstrip()
        elif separator := _SEPARATOR.match(piece):
            piece = piece[separator.end() :]
        joined.append(piece)
    return "".join(joined)


def _below(html: str, prefix: str) -> str:
    """The page with its links, and those of its charts, for a folder of a host."""

    def chart(script: re.Match[str]) -> str:
        return _CHART_LINKS.sub(lambda urls: urls[0].replace('"/', f'"{prefix}/'), script[0])

    for attribute in ("href", "src", "action", "data-unpacked", "data-suggest"):
        html = html.replace(f'{attribute}="/', f'{attribute}="{prefix}/')
    return _SCRIPT.sub(chart, html)
