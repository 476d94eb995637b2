"""What hosts ask of a copy: limits of size, and files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from atlas import Atlas
from atlas.core.errors import AtlasError
from web.publish.dictionaries import Dictionaries
from web.publish.plan import Job, Plan
from web.publish.render import Pages
from web.publish.space import space_readme

_SAMPLE = 16
"""Pages from which the size of all is estimated."""
_FEW = 200
"""Pages that are not estimated: the copy is checked when it is written, which is soon."""
_UNSURE = 1.25
"""An estimate is taken for too large when it is this many times what a host takes."""
_NAMED = 5
"""Files that an error names."""
_SMALLER = (
    "Publish fewer pages (--pages notable), do without --data, or publish to a new folder, which has no earlier builds."
)


class HostLimitError(AtlasError):
    """A copy is too large for its host."""


@dataclass(frozen=True)
class Host:
    """A host, and what it takes."""

    name: str
    total: int
    """Bytes of all files."""
    file: int
    """Bytes of one."""

    def check_estimate(self, size: float) -> None:
        """Refuse a copy that will be too large.

        Raises:
            HostLimitError: `size`, the estimated bytes of its archives, is far above what the host takes.
        """
        if size > _UNSURE * self.total:
            raise HostLimitError(
                f"The pages would take about {size / 1e6:,.0f} MB, estimated from some; {self.name} takes "
                f"{self.total / 1e6:,.0f} MB. Nothing is written. {_SMALLER}"
            )

    def check(self, sizes: Mapping[str, int]) -> None:
        """Refuse a copy that is too large.

        Raises:
            HostLimitError: one of the files, whose bytes `sizes` has by name, or all together are too large.
        """
        large = [f"{name} ({size / 1e6:,.0f} MB)" for name, size in sizes.items() if size > self.file]
        if large:
            more = f" and {len(large) - _NAMED} more" if len(large) > _NAMED else ""
            raise HostLimitError(
                f"{self.name} takes no file of more than {self.file / 1e6:,.0f} MB: {', '.join(large[:_NAMED])}{more}. "
                "Leave atlas files out (--no-file), or choose another host."
            )
        total = sum(sizes.values())
        if total > self.total:
            raise HostLimitError(
                f"The copy takes {total / 1e6:,.0f} MB; {self.name} takes {self.total / 1e6:,.0f} MB. {_SMALLER}"
            )


PAGES_SITE = Host("GitHub Pages", 1_000_000_000, 100 * 1024 * 1024)
SPACE = Host("A Hugging Face Space", 1_000_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Hosting:
    """The hosts that a copy is for, and the licence that its README names; None: it names none."""

    hosts: tuple[Host, ...] = ()
    licence: str | None = None

    def check_estimate(self, plan: Plan, dictionaries: Dictionaries) -> None:
        """Refuse a copy that will be too large for one of the hosts.

        Raises:
            HostLimitError: see `Host.check` of the atlas files, if they are in the copy, and `Host.check_estimate`.
        """
        files = [(slug, plan.of_slug(slug)) for slug in plan.builds] if plan.published.file else []
        self.check({f"{slug}/atlas.duckdb": path.stat().st_size for slug, path in files})
        size = estimated(plan, dictionaries) if self.hosts else 0
        for host in self.hosts:
            host.check_estimate(size)

    def check(self, sizes: Mapping[str, int]) -> None:
        """Refuse a copy that is too large for one of the hosts.

        Raises:
            HostLimitError: see `Host.check`.
        """
        for host in self.hosts:
            host.check(sizes)

    def files(self, base_url: str | None, atlases: Mapping[str, Atlas]) -> dict[str, str]:
        """The hosts' own files, by name."""
        files = {}
        if SPACE in self.hosts:
            files["README.md"] = space_readme([atlas.info for atlas in atlases.values()], base_url, self.licence)
        address = urlsplit(base_url or "")
        own = address.hostname and not address.hostname.endswith(".github.io")
        if PAGES_SITE in self.hosts and own and not address.path:  # a copy below a path belongs to the host of another
            files["CNAME"] = f"{address.hostname}\n"
        return files


NOWHERE = Hosting()
"""No host in particular."""


def estimated(plan: Plan, dictionaries: Dictionaries) -> float:
    """Bytes of the packed pages, from some of them; 0 where they are few."""
    addresses = [address for job in plan.jobs if job.kind == "packed" for address in job.addresses]
    if len(addresses) <= _FEW:
        return 0.0
    some = tuple(addresses[:: len(addresses) // _SAMPLE + 1])
    made = Pages(plan).of(Job("sample", "packed", some))
    size = sum(len(dictionaries.packed(content.decode())) for _, _, content in made)
    return size / len(some) * len(addresses)
