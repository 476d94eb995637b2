"""`/{slug}/L31N892/live`: a neuron on a typed text; and what live pages share."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from flask import Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.core.errors import NeuronNameError
from atlas.core.names import is_neuron_name
from atlas.core.units import named_ref
from atlas.topics.curve import histogram
from atlas.topics.live import Activations, ActivationsWanted
from atlas.topics.neuron import Neuron, find_neuron
from web.charts.chart import Chart
from web.charts.placed import placed_chart
from web.site import urls
from web.site.errors import NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, wants_card
from web.site.urls import Blueprint
from web.workers.live.errors import LiveError, LiveLoading, LiveRefused
from web.workers.live.live import Live
from web.workers.live.placed import PlacedToken, placed

blueprint = Blueprint("live", __name__)


@dataclass(frozen=True)
class Trouble:
    """Why a question has no answer."""

    code: str
    message: str
    status: int


@dataclass(frozen=True, kw_only=True)
class LiveNeuronPage(AtlasPage, template="live_neuron.html"):
    """A neuron on a text that a visitor typed."""

    neuron: Neuron = field(metadata=doc("The neuron's numbers over the atlas's data."))
    text: str = field(metadata=doc("The text."))
    tokens: tuple[PlacedToken, ...] = field(metadata=doc("Its tokens as ingest would have them, with activations."))
    place_chart: Chart | None = field(metadata=doc("They, marked on the histogram.", json=False))
    trouble: Trouble | None = field(metadata=doc("Why there is no answer; null if nothing went wrong.", json=False))

    @property
    def status(self) -> int:
        """200, or what the trouble is answered with."""
        return self.trouble.status if self.trouble else 200


@blueprint.after_request
def fleeting(response: Response) -> Response:
    """What was typed is kept by nobody; a page that waits for the model comes back by itself."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    error: LiveError | None = g.get("trouble")
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
        if isinstance(error, LiveLoading):
            response.headers["Refresh"] = str(error.retry_after)
    return response


def live_of(ref: urls.AtlasRef) -> Live:
    """The site's live mode.

    Raises:
        NotServedError: it is off.
    """
    live = current_app.extensions["live"]
    if live is None:
        raise NotServedError(
            "Live mode is off on this site: no model answers here. On a machine of your own, `atlas serve FILE --live` "
            "serves the downloaded atlas with its model.",
            urls.to("overview", ref),
        )
    return live


def typed(live: Live, name: str = "text", fields: Any = None) -> str:
    """A text of the request, line ends as the model would have them.

    Raises:
        LiveRefused: it is longer than may be.
    """
    text = (request.args if fields is None else fields).get(name, "").replace("\r\n", "\n")
    if len(text) > live.options.characters:
        raise LiveRefused(
            f"The text has {len(text):,} characters; expected at most {live.options.tokens:,} tokens, and no more than "
            f"{live.options.characters:,} characters. Shorten it."
        )
    return text


@page(blueprint, "/<atlas:ref>/<name>/live", kept=False)
def live_neuron(atlas: Atlas, name: str) -> LiveNeuronPage | BaseResponse:
    """A neuron's activation on every token of `?text=`."""
    if not is_neuron_name(name):
        raise NeuronNameError(f"There is no neuron {name!r}.")
    ref = named_ref(atlas, name)
    if name != ref.name:
        return redirect(like_request(urls.to("live_neuron", g.ref, ref.name)), 301)
    live, record = live_of(g.ref), find_neuron(atlas, ref.neuron_id)
    text, answer, trouble = request.args.get("text", ""), None, None
    try:
        if typed(live) and not wants_card():
            measured = live.text(atlas, "activations", ActivationsWanted(typed(live), ref.layer, ref.index), visitor())
            answer = Activations.read(measured)
    except LiveError as error:
        trouble = trouble_of(error)
    bars = histogram(atlas, ref.neuron_id)
    tokens = () if answer is None else placed(atlas, record, bars, answer)
    return LiveNeuronPage(
        title=f"{record.name} on a text",
        url=urls.to("live_neuron", g.ref, ref.name, text=text or None),
        **atlas_fields(atlas),
        description=f"The activation of neuron {record.name} of {atlas.info.model_name} on each token of a typed text.",
        neuron=record,
        text=text,
        tokens=tokens,
        place_chart=placed_chart(
            bars,
            [(item.position, item.token.shown, item.activation) for item in tokens if item.below is not None],
            f"Activation of {record.name} on a text, {atlas.info.model_name}",
        )
        if tokens
        else None,
        trouble=trouble,
    )


def visitor() -> socket.socket | None:
    """The visitor's socket, where the server shows it."""
    return request.environ.get("gunicorn.socket")


def trouble_of(error: LiveError) -> Trouble:
    """What a page says of an error; anything but a page of HTML is answered with the error itself."""
    g.trouble = error
    if request.path.endswith(".json") or ".chart." in request.path:
        raise error
    return Trouble(error.code, str(error), error.status)
