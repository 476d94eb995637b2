"""The state of the list of neurons in its URL: selection, order, place. Read from the URL and written to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from werkzeug.datastructures import MultiDict

from atlas import Atlas
from atlas.core.display import read_shown
from atlas.core.parameter import Cursor
from atlas.core.units import Bound
from atlas.topics.kind import KINDS
from atlas.topics.neuron_list import EXCLUSIVE, INDEX_SORTS, RANGE_COLUMNS, WHOLE_COLUMNS, NeuronSelection
from atlas.topics.search import tokens_by_text
from web.site import urls
from web.site.errors import BadRequestError
from web.site.urls import AtlasRef

DEFAULT_SORT = "best_congruence"

_TOKENS = ("best_token", "worst_token")
_BOUNDS = {f"{column}.{op}": (column, op) for column in RANGE_COLUMNS for op in ("gte", "lte")}
_PLAIN = ("layer_min", "layer_max", "best_token", "best_token_id", "worst_token", "worst_token_id", "dead", "exclusive")
_PARAMETERS = (*_PLAIN, "kind", "sort", "order", "after", "before")
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_CURSOR = re.compile(r"([^~]+)~([0-9]{1,10})")


@dataclass(frozen=True, kw_only=True)
class NeuronsState:
    """All that the page depends on. A page starts `after` a cursor or ends `before` one; never both."""

    selection: NeuronSelection = field(default_factory=NeuronSelection)
    sort: str = DEFAULT_SORT
    order: str = "desc"
    after: Cursor | None = None
    before: Cursor | None = None

    def query(self) -> dict[str, str | int]:
        """The state as URL parameters, in a fixed order and without defaults, so that equal states have equal URLs."""
        chosen = self.selection
        query: dict[str, Any] = {
            name: getattr(chosen, name) for name in ("layer_min", "layer_max", "best_token_id", "worst_token_id")
        }
        query["dead"] = None if chosen.dead is None else int(chosen.dead)
        query["exclusive"] = chosen.exclusive
        query["kind"] = chosen.kind
        query |= {f"{bound.column}.{bound.op}": _number_text(bound.value) for bound in chosen.bounds}
        query["sort"] = None if self.sort == DEFAULT_SORT else self.sort
        query["order"] = None if self.order == "desc" else self.order
        query["after"], query["before"] = _cursor_text(self.after), _cursor_text(self.before)
        return {name: value for name, value in query.items() if value is not None}

    def url(self, ref: AtlasRef) -> str:
        """The canonical URL of the page."""
        return urls.to("neurons", ref, **self.query())

    def at(self, *, after: Cursor | None = None, before: Cursor | None = None) -> NeuronsState:
        """Another page of the same list; neither cursor: the first."""
        return replace(self, after=after, before=before)

    def selecting(self, **changes: Any) -> NeuronsState:
        """The first page of a list that differs in these fields of the selection."""
        return replace(self.at(), selection=replace(self.selection, **changes))


def read_state(atlas: Atlas, arguments: MultiDict[str, str]) -> NeuronsState:
    """The state that a query string says. A parameter without a value, as an empty field of a form, says nothing.

    Raises:
        BadRequestError: a parameter is unknown, given twice, at odds with another, or its value malformed.
    """
    texts = {}
    for name, values in arguments.lists():
        if name not in _PARAMETERS and name not in _BOUNDS:
            raise BadRequestError(
                f"There is no parameter {name!r} here; expected one of {', '.join(_PARAMETERS)}, or COLUMN.gte or "
                f"COLUMN.lte with one of the columns {', '.join(RANGE_COLUMNS)}."
            )
        if len(values) > 1:
            raise BadRequestError(f"{name} is given {len(values)} times; expected it once.")
        if values[0]:
            texts[name] = values[0]
    sort = _choice(texts, "sort", INDEX_SORTS) or DEFAULT_SORT
    after, before = (_cursor(atlas, texts, name, sort) for name in ("after", "before"))
    if after and before:
        raise BadRequestError(f"after={texts['after']!r} and before={texts['before']!r}: expected one of the two.")
    dead = _choice(texts, "dead", ("0", "1"))
    selection = NeuronSelection(
        **{name: _whole(texts, name, "a layer", atlas.info.n_layers) for name in ("layer_min", "layer_max")},
        **{f"{name}_id": _token_id(atlas, texts, name) for name in _TOKENS},
        dead=None if dead is None else dead == "1",
        exclusive=_choice(texts, "exclusive", EXCLUSIVE),
        kind=_choice(texts, "kind", KINDS),
        bounds=tuple(Bound(*_BOUNDS[name], _number(texts, name)) for name in _BOUNDS if name in texts),
    )
    order = _choice(texts, "order", ("desc", "asc")) or "desc"
    return NeuronsState(selection=selection, sort=sort, order=order, after=after, before=before)


def is_typed(arguments: MultiDict[str, str]) -> bool:
    """Whether a query string is a form's: with fields left empty, or a token by its text."""
    return any(not value or name in _TOKENS for name, value in arguments.items(multi=True))


def _wrong(name: str, text: str, expected: str, link: str | None = None) -> BadRequestError:
    return BadRequestError(f"{name}={text!r} is invalid: expected {expected}.", link)


def _choice(texts: dict[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    text = texts.get(name)
    if text is not None and text not in choices:
        raise _wrong(name, text, f"one of {', '.join(choices)}")
    return text


def _whole(texts: dict[str, str], name: str, what: str, end: int) -> int | None:
    text = texts.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= end:
        raise _wrong(name, text, f"{what}, 0 to {end - 1}")
    return int(text)


def _token_id(atlas: Atlas, texts: dict[str, str], name: str) -> int | None:
    token_id = _whole(texts, f"{name}_id", "the id of a token", atlas.info.d_vocab)
    text = texts.get(name)
    if text is None:
        return token_id
    if token_id is not None:
        raise BadRequestError(f"{name}={text!r} and {name}_id={token_id}: expected one of the two.")
    # Exactly what is written first: a token may spell '␣' itself.
    tokens = tokens_by_text(atlas, text) or tokens_by_text(atlas, read_shown(text))
    link = urls.to("search", atlas=atlas.info.slug, q=text)
    if not tokens:
        raise _wrong(name, text, "exactly a token's text, with ␣ or a space where it has one", link)
    if len(tokens) > 1:
        first = ", ".join(str(token.token_id) for token in tokens[:3])
        expected = f"the text of one token, and {len(tokens)} have it ({first}, …): choose one by {name}_id"
        raise _wrong(name, text, expected, link)
    return tokens[0].token_id


def _number(texts: dict[str, str], name: str) -> float | int:
    text, column = texts[name], _BOUNDS[name][0]
    value = _parse(text, column)
    if value is None:
        raise _wrong(name, text, "a whole number" if column in WHOLE_COLUMNS else "a number")
    return value


def _parse(text: str, column: str) -> float | int | None:
    """A value of a column; None: it is none, or beyond all its values."""
    if column in WHOLE_COLUMNS:
        return int(text) if re.fullmatch("-?[0-9]{1,10}", text) else None
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def _cursor(atlas: Atlas, texts: dict[str, str], name: str, sort: str) -> Cursor | None:
    text = texts.get(name)
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    value = None if match is None or match[1] == "null" else _parse(match[1], sort)
    if match is None or (value is None and match[1] != "null") or int(match[2]) >= 2**31:
        raise _wrong(name, text, f"a value of {sort} (or null), ~ and a neuron_id, as in 12~{atlas.info.d_mlp}")
    return Cursor(value, int(match[2]))


def _cursor_text(cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    return f"{'null' if cursor.value is None else _number_text(cursor.value)}~{cursor.neuron_id}"


def _number_text(value: float | int) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
