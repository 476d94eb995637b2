"""`robots.txt` and `sitemap.xml` of a copy: the pages that are files."""

from __future__ import annotations

from collections.abc import Mapping

from atlas import Atlas
from web.publish.plan import Plan
from web.site import urls
from web.views.crawlers import robots_text, site_map_text

_CLOSED = ("/*.json", "/search", "/static/atlases/")
"""Other forms of pages, and archives, which crawlers cannot read."""


def crawler_files(plan: Plan, atlases: Mapping[str, Atlas]) -> dict[str, str]:
    """The files by name; none where the copy does not know its address, which both name. Crawlers look for a
    `robots.txt` at the root of a host only."""
    if plan.base_url is None:
        return {}
    days = {slug: atlas.info.built_at.date() for slug, atlas in atlases.items()}
    newest = max(days.values())
    pages = [address for job in plan.jobs if job.kind != "packed" for address in job.addresses]
    dated = [(plan.base_url + url, days.get(url.split("/")[1], newest)) for url in pages if url != urls.to("search")]
    files = {"sitemap.xml": site_map_text(dated)}
    if not plan.published.prefix:
        files["robots.txt"] = robots_text(_CLOSED, f"{plan.base_url}/sitemap.xml")
    return files
