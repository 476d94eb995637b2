"""`make docs`: write the generated pages, and the answers in the others from the demo atlas if it is there."""

from __future__ import annotations

from docs.api_reference import api_page
from docs.outputs import DEMO, FILLED, ROOT, connected, fill
from docs.reference import cli_page, schema_page

PAGES = {
    ROOT / "docs" / "api.md": api_page,
    ROOT / "docs" / "cli.md": cli_page,
    ROOT / "docs" / "schema.md": schema_page,
}


def generate() -> None:
    """Write every page."""
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
        print(f"{path.relative_to(ROOT)} written")
    if not DEMO.exists():
        print(f"{DEMO.name} is not there (`make demo` builds it): the answers to queries stay as they are")
        return
    with connected(DEMO) as connection:
        for path in FILLED:
            path.write_text(fill(path.read_text(encoding="utf-8"), connection), encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: answers of {DEMO.name} filled in")


if __name__ == "__main__":
    generate()
