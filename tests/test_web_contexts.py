"""A page's context is documented: its template uses every field of its record, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from jinja2 import meta, nodes

import web.views
from web import create_app
from web.sections.neuron import PARTS
from web.site import urls
from web.site.page import AtlasPage, Page
from web.views.embed import EmbedPage


def below(record):
    return [item for child in record.__subclasses__() for item in (child, *below(child))]


PAGES = [record for record in below(Page) if record not in (AtlasPage, EmbedPage)]
TEMPLATES = {vars(record).get("template"): record for record in PAGES}


@pytest.fixture(scope="module")
def environment():
    return create_app([]).jinja_env


def used(environment, name):
    """Variables of a template and of those it extends that are not the site's globals."""
    tree = environment.parse(environment.loader.get_source(environment, name)[0])
    names = meta.find_undeclared_variables(tree) - set(environment.globals)
    # Blocks see what the template's top level imports and defines; jinja2.meta does not know that.
    names -= {item.target for item in tree.find_all(nodes.Import)} | {item.name for item in tree.find_all(nodes.Macro)}
    names -= {item.target.name for item in tree.body if isinstance(item, nodes.Assign)}
    for parent in tree.find_all(nodes.Extends):
        names |= used(environment, parent.template.value)
    return names


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_uses_its_record_and_nothing_else(environment, name):
    assert used(environment, name) == {field.name for field in fields(TEMPLATES[name])}


@pytest.mark.parametrize("kind", PARTS.values(), ids=PARTS)
def test_a_section_uses_its_own_fields_and_what_the_page_hands_it(environment, kind):
    name = f"sections/{kind.id}.html"
    assert used(environment, name) <= {"section", "ref", "url", "neuron", "framed"}
    tree = environment.parse(environment.loader.get_source(environment, name)[0])
    taken = {
        item.attr
        for item in tree.find_all(nodes.Getattr)
        if isinstance(item.node, nodes.Name) and item.node.name == "section"
    }
    assert taken
    assert all(hasattr(kind, attribute) or attribute in kind.__dataclass_fields__ for attribute in taken)
    assert all(item.metadata["doc"].endswith(".") for item in fields(kind))
    assert kind.__doc__.strip()


def test_the_error_page_uses_what_it_is_given(environment):
    assert used(environment, "error.html") == {"title", "failure"}
    assert used(environment, "embed_error.html") == {"title", "failure"}


def test_macros_know_nothing_but_their_arguments(environment):
    for name in ("_macros.html", "_answer.html", "_live.html", "_parts.html"):
        assert used(environment, name) == set()


def test_every_template_is_accounted_for(environment):
    shared = {"layout.html", "page.html", "atlas.html", "_answer.html", "_live.html", "_macros.html", "error.html"}
    shared |= {"_parts.html", "embed.html", "embed_error.html", "unpacked.html", "sections/folded.html"} | {
        f"sections/{kind.id}.html" for kind in PARTS.values()
    }
    assert set(environment.list_templates()) == set(TEMPLATES) | shared


def test_every_page_has_a_template_of_its_own():
    assert None not in TEMPLATES
    assert len(TEMPLATES) == len(PAGES) > 30


@pytest.mark.parametrize("record", PAGES)
def test_every_field_is_documented(record):
    assert record.__doc__.strip()
    for field in fields(record):
        assert field.metadata["doc"].endswith("."), field.name


def test_the_views_are_in_the_package():
    assert web.views.__doc__


def test_templates_write_no_address_themselves(environment):
    for name in environment.list_templates():
        source = environment.loader.get_source(environment, name)[0]
        for attribute in ("href=", "src=", "action="):
            for part in source.split(attribute)[1:]:
                assert part.startswith(('"{{', '"#')), (name, attribute + part[:40])


LONGEST = 160
"""Characters of a template's line."""


def test_no_line_of_a_template_is_long(environment):
    for name in environment.list_templates():
        lines = environment.loader.get_source(environment, name)[0].splitlines()
        assert [(name, number) for number, line in enumerate(lines, 1) if len(line) > LONGEST] == []


def test_a_view_is_at_the_address_that_is_written_for_it():
    app = create_app([])
    site = app.url_map.bind("atlas.example.org")
    ref = urls.AtlasRef("gpt2", "0123456789ab")
    samples = {"ref": ref, "layer": 3, "token_id": 5, "text_id": 5, "part": 0}
    kept = [rule for rule in app.url_map.iter_rules() if not rule.defaults and not rule.endpoint.startswith("api.")]
    assert len(kept) > 60
    for rule in kept:
        parts = re.findall(r"<(?:\w+:)?(\w+)>", rule.rule.replace("<layer:name>", "<layer>"))
        address = urls.to(rule.endpoint.partition(".")[2], *(samples.get(part, "L1N2") for part in parts))
        assert site.match(address, method=next(iter(rule.methods - {"HEAD", "OPTIONS"})))[0] == rule.endpoint
    with pytest.raises(KeyError):
        urls.to("nowhere")
    with pytest.raises(TypeError):
        urls.to("token", ref)


def test_addresses():
    ref = urls.AtlasRef("gpt2", "0123456789ab")
    assert urls.to("neuron", ref, "L31N892") == "/gpt2@0123456789ab/L31N892"
    assert urls.to("neuron", urls.AtlasRef("gpt2"), "L31N892", token=281) == "/gpt2/L31N892?token=281"
    assert urls.to("find_token", urls.AtlasRef("gpt2"), text=" a&b=c") == "/gpt2/token?text=%20a%26b%3Dc"
    assert urls.json("/gpt2/L1?sort=index") == "/gpt2/L1.json?sort=index"
    assert urls.json(urls.to("home")) == "/.json"
    assert urls.current(ref, "/gpt2@0123456789ab/L1?page=2") == "/gpt2/L1?page=2"
    assert urls.pinned(urls.AtlasRef("gpt2"), "/gpt2/L1", "0123456789ab") == "/gpt2@0123456789ab/L1"
    assert urls.pinned(ref, "/gpt2@0123456789ab", "ba9876543210") == "/gpt2@ba9876543210"
