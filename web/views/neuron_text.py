"""`/{slug}/L31N892/text/1234`: a whole passage that fires a neuron."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g, redirect
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.units import Token
from atlas.topics.example import TEXTS, Example, neuron_examples, whole_texts
from atlas.topics.example_code import example_code
from atlas.topics.neuron import Neuron, find_neuron
from web.site import urls
from web.site.errors import NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, query_int
from web.site.urls import Blueprint
from web.views.spread import named_neuron

blueprint = Blueprint("neuron_text", __name__)


@dataclass(frozen=True, kw_only=True)
class NeuronTextPage(AtlasPage, template="neuron_text.html"):
    """One stored text of a neuron, whole."""

    neuron: Neuron = field(metadata=doc("The neuron."))
    example: Example = field(metadata=doc("The place in the text where it fires, with the activations around it."))
    tokens: tuple[Token, ...] = field(metadata=doc("Every token of the text, BOS included."))
    scale: float = field(metadata=doc("The activation of full colour.", json=False))
    code: str = field(metadata=doc("Python that gives the activation again, with TransformerLens."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/<name>/text/<int:text_id>")
def neuron_text(atlas: Atlas, name: str, text_id: int) -> NeuronTextPage | Response:
    """A text of a neuron; `?position=` chooses among several places in it."""
    ref = named_neuron(atlas, name)
    position = query_int("position", None)
    url = urls.to("neuron_text", g.ref, ref.name, text_id, position=position)
    if name != ref.name:
        return redirect(like_request(url), 301)
    examples = [
        example
        for example in neuron_examples(atlas, ref.neuron_id)
        if example.text_id == text_id and position in (None, example.position)
    ]
    if not examples:
        raise NotServedError(
            f"Text {text_id} is not stored for {ref.name}{'' if position is None else f' at position {position}'}; "
            "expected one of the texts on its page.",
            urls.to("neuron", g.ref, ref.name),
        )
    neuron, tokens = find_neuron(atlas, ref.neuron_id), whole_texts(atlas, [text_id])[text_id]
    return NeuronTextPage(
        title=f"{ref.name} in text {text_id}",
        url=url,
        **atlas_fields(atlas),
        neuron=neuron,
        example=examples[0],
        tokens=tokens,
        scale=max(abs(neuron.activation_min), abs(neuron.activation_max)),
        code=example_code(atlas.info, neuron, examples[0], [token.token_id for token in tokens]),
        panels={"texts": TEXTS.shown(neuron_id=ref.neuron_id)},
    )
