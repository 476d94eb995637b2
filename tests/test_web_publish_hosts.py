"""What hosts ask of a published copy: their own files, and limits of size."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from urllib.robotparser import RobotFileParser
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from atlas import open_atlas
from web.publish import hosts
from web.publish.command import publish
from web.publish.crawlers import crawler_files
from web.publish.dictionaries import Dictionaries
from web.publish.hosts import PAGES_SITE, SPACE, Hosting, HostLimitError, estimated
from web.publish.plan import Chosen, Job, Plan
from web.publish.sizes import size_report
from web.publish.space import space_readme
from web.publish.write import PublishError, publish_site
from web.site.published import Published

SITE = "https://atlas.example.org"


@pytest.fixture
def atlas(tiny_llama_atlas: Path):
    with open_atlas(tiny_llama_atlas) as atlas:
        yield atlas


def plan_of(file: Path, base_url: str | None, *jobs: Job) -> Plan:
    return Plan((file,), base_url, Published(frozenset(), base_url), {"tiny-llama": "0" * 12}, jobs, None, "0" * 12)


def test_the_readme_of_a_space(atlas):
    text = space_readme([atlas.info], SITE, "mit")
    _, front, body = text.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert {"sdk": "static", "app_file": "index.html", "license": "mit", "emoji": "🧠"}.items() <= fields.items()
    assert fields["title"] == f"Neuron Atlas of {atlas.info.model_name}"
    assert not {"models", "datasets"} & fields.keys()  # this model and these texts are files
    assert SITE in body
    assert f"{atlas.info.n_neurons} in {atlas.info.n_layers} layers" in body
    hub = SimpleNamespace(**{name: getattr(atlas.info, name) for name in ("n_neurons", "n_layers", "n_positions")})
    hub.model_name, hub.model_revision = "gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"
    hub.dataset, hub.dataset_name, hub.dataset_split = "NeelNanda/pile-10k / train", "NeelNanda/pile-10k", "train"
    fields = yaml.safe_load(space_readme([hub, hub], None, None).split("---\n")[1])
    assert (fields["models"], fields["datasets"]) == (["gpt2-large"], ["NeelNanda/pile-10k"])
    assert "license" not in fields


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (SITE, "atlas.example.org\n"),
        ("https://someone.github.io", None),
        ("https://someone.github.io/atlas", None),
        ("https://atlas.example.org/below", None),  # the name belongs to another repository
        (None, None),
    ],
)
def test_a_host_of_ones_own_is_named_for_github_pages(atlas, address, host):
    files = Hosting((PAGES_SITE,)).files(address, {"tiny-llama": atlas})
    assert files.get("CNAME") == host
    assert "README.md" not in files


def test_crawlers_find_the_pages_that_are_files(atlas, tiny_llama_atlas):
    jobs = (
        Job("site", "site", ("/", "/search")),
        Job("a", "list", ("/tiny-llama",)),
        Job("b", "file", ("/tiny-llama/L1N7",)),
        Job("c", "packed", ("/tiny-llama/L1N8",)),
    )
    files = crawler_files(plan_of(tiny_llama_atlas, SITE, *jobs), {"tiny-llama": atlas})
    locations = [item.text for item in ElementTree.fromstring(files["sitemap.xml"]).iter() if item.tag.endswith("loc")]
    assert locations == [f"{SITE}/", f"{SITE}/tiny-llama", f"{SITE}/tiny-llama/L1N7"]
    robots = RobotFileParser()
    robots.parse(files["robots.txt"].splitlines())
    assert robots.site_maps() == [f"{SITE}/sitemap.xml"]
    assert all(robots.can_fetch("*", url) for url in locations)
    assert not robots.can_fetch("*", f"{SITE}/static/atlases/tiny-llama/a/pages-000.bin")
    below = crawler_files(plan_of(tiny_llama_atlas, f"{SITE}/below", *jobs), {"tiny-llama": atlas})
    assert list(below) == ["sitemap.xml"]  # crawlers read robots.txt at the root of a host only
    assert crawler_files(plan_of(tiny_llama_atlas, None, *jobs), {"tiny-llama": atlas}) == {}


def test_what_is_too_large_for_a_host_is_named():
    PAGES_SITE.check({str(number): 100 * 1024 * 1024 for number in range(9)})
    with pytest.raises(HostLimitError, match=r"more than 105 MB: x/atlas\.duckdb \(1,130 MB\)\. Leave .*--no-file"):
        PAGES_SITE.check({"x/atlas.duckdb": 1_130_000_000, "b": 1})
    with pytest.raises(HostLimitError, match="and 2 more"):
        PAGES_SITE.check({str(number): 200_000_000 for number in range(7)})
    with pytest.raises(HostLimitError, match=r"takes 1,100 MB; A Hugging Face Space takes 1,000 MB\..*--pages notable"):
        SPACE.check({"a": 600_000_000, "b": 500_000_000})
    PAGES_SITE.check_estimate(1_100_000_000)  # an estimate may err
    with pytest.raises(HostLimitError, match="about 6,500 MB, estimated from some"):
        PAGES_SITE.check_estimate(6_500_000_000)


def test_a_copy_that_will_be_too_large_is_not_written(tiny_llama_atlas, tmp_path, monkeypatch):
    """The size of all pages is estimated from some, unless they are few."""
    neurons = [f"/tiny-llama/L{layer}N{index}" for layer in range(3) for index in range(48)]
    plan = plan_of(tiny_llama_atlas, None, Job("a", "packed", tuple(neurons)))
    assert estimated(plan, Dictionaries.of([])) == 0
    monkeypatch.setattr(hosts, "_FEW", 100)
    monkeypatch.setattr(hosts, "_SAMPLE", 2)
    monkeypatch.setattr("web.publish.write._SAMPLE", 2)
    monkeypatch.setattr("web.publish.plan.fixed", lambda ref, atlas: ["/tiny-llama"])
    monkeypatch.setattr("web.publish.plan.notable", lambda atlas, pages: Chosen([], neurons))
    monkeypatch.setattr("web.publish.hosts.PAGES_SITE", hosts.Host("GitHub Pages", 100_000, 100))
    arguments = [
        str(tiny_llama_atlas),
        "--out",
        str(tmp_path / "copy"),
        "--pages",
        "notable",
        "--no-file",
        "--pages-site",
    ]
    result = CliRunner().invoke(publish, arguments)
    assert isinstance(result.exception, HostLimitError)
    size = int(re.search(r"about (\d+) MB, estimated from some", str(result.exception))[1])
    assert 144 * 5_000 < size * 1e6 < 144 * 60_000
    assert [*tmp_path.iterdir()] == []


def test_a_full_disk_is_named_and_changes_nothing(tiny_llama_atlas, tmpfs, monkeypatch):
    monkeypatch.setattr("web.publish.plan.fixed", lambda ref, atlas: ["/tiny-llama"])
    (tmpfs / "ballast").write_bytes(bytes(1_950_000))
    with pytest.raises(PublishError, match=r"No space left on device.*the same command goes on"):
        publish_site([tiny_llama_atlas], tmpfs / "copy", choose=lambda atlas, pages: Chosen([], []), file=False)
    assert not (tmpfs / "copy").exists()


def test_sizes_by_kind(tmp_path):
    here, before = tmp_path / "copy.tmp-1", tmp_path / "copy"
    for name, size in {
        "index.html": 3_000_000,
        "tiny/L1/index.html": 1_000_000,
        "tiny.card.png": 500_000,
        "static/atlases/tiny/a-b/pages-000.bin": 40_000_000,
        "static/atlases/tiny/a-b/index.json": 99_000,
        "static/atlases/tiny/a-b/atlas.duckdb": 7_000_000,
        "static/published.json": 1_000,
    }.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        with (here / name).open("wb") as file:
            file.truncate(size)
    before.mkdir()
    (before / "pages").hardlink_to(here / "static/atlases/tiny/a-b/pages-000.bin")
    path = tmp_path / "tiny.duckdb"
    path.write_bytes(bytes(1_000_000))
    lines = size_report(here, before, {"tiny": SimpleNamespace(path=path)}).splitlines()
    assert [line.split(maxsplit=3) for line in lines] == [
        ["40.0", "MB", "1", "archives of pages"],
        ["7.0", "MB", "1", "atlas files"],
        ["4.0", "MB", "2", "pages that are files"],
        ["0.5", "MB", "1", "cards"],
        ["0.1", "MB", "1", "index of the archives"],
        ["0.0", "MB", "1", "scripts and styles"],
        ["51.6", "MB", "7", "in all: 11.6 MB new, 40.0 MB of the earlier copy; 51.60 times the atlas files"],
    ]
