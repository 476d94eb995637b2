"""Methods of the client's objects, made from the calls: `python` of each call names the object and the method."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import Parameter
from textwrap import fill
from typing import TYPE_CHECKING, Any, ClassVar

from atlas.api.calls import CALLS
from atlas.client.records import Pages, Records
from atlas.client.sources import Source
from atlas.client.table import html_table, rows_of
from atlas.core.call import Call
from atlas.core.parameter import MOST_ROWS
from atlas.core.units import field_names

# The object, the method's name, and a bracket unless it is a property: demo.neuron("{neuron}") . candidates ()
_SPELLING = re.compile(r"(demo(?:\.\w+\([^)]*\{\w+\}[^)]*\))?)\.(\w+)(\(?)")

_RAISES = """Raises:
    AtlasError: a value is invalid, or the atlas has no such thing."""


class Opened:
    """Base of the objects that answer calls. A subclass gives its spelling in the calls' `python` and gets a method for
    each.

    A method that the class defines itself is left alone.
    """

    _path: Mapping[str, Any]
    """Values for the paths of its calls."""
    _label: str
    """Start of the headings of its lists."""

    def __init__(self, source: Source) -> None:
        self._source, self._path, self._label = source, {}, ""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, spelt: str | None = None) -> None:
        for call in CALLS.values():
            spelling = _SPELLING.match(call.python)
            if spelling and spelling[1] == spelt and spelling[2] not in vars(cls):
                setattr(cls, spelling[2], (_method if spelling[3] else _property)(spelling[2], call))

    def _ask(self, name: str, **arguments: Any) -> Any:
        """The answer of a call, unchanged."""
        return self._source.ask(CALLS[name], **self._path, **arguments)

    def _list(self, title: str, name: str, **arguments: Any) -> Records:
        return Records(self._label + title, self._ask(name, **arguments))

    def _answer(self, title: str, call: Call, arguments: dict[str, Any]) -> Any:
        """The answer of a call: a list as Records, a long one as Pages."""
        if call.row is not None and not call.paged:
            return self._list(title, call.name, **arguments)
        if not call.paged:
            return self._ask(call.name, **arguments)
        limit = arguments.pop("limit", None)
        size = MOST_ROWS if limit is None else max(1, min(limit, MOST_ROWS))
        call.texts(arguments)  # refuses unknown filters at once
        return Pages(
            self._label + title, lambda after: self._ask(call.name, **arguments, limit=size, after=after), limit
        )


class OpenedRow(Opened):
    """One row of a table; its columns are attributes too."""

    _record: ClassVar[type]
    _noun: ClassVar[str]

    def __init__(self, source: Source, key: str | int, label: str, caption: str) -> None:
        """`key` identifies it in paths, `label` names it in headings, `caption` is its own heading."""
        self._source, self._path, self._label, self._caption = source, {self._noun: key}, f"{label}: ", caption

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in field_names(self._record):
            raise AttributeError(f"a {self._noun} has no {name!r}")
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *field_names(self._record)]

    def _repr_html_(self) -> str:
        return html_table(self._caption, rows_of(self.record), 0)


def _property(name: str, call: Call) -> cached_property:
    def read(self: Opened) -> Any:
        return self._ask(call.name)

    read.__doc__ = call.summary
    made = cached_property(read)
    made.__set_name__(Opened, name)
    return made


def _method(name: str, call: Call) -> Callable[..., Any]:
    title, signature = call.title or name.replace("_", " "), _signature(call)

    def method(self: Opened, *args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(self, *args, **kwargs).arguments
        filters = arguments.pop("filters", {})
        return self._answer(title, call, {key: arguments[key] for key in list(arguments)[1:]} | filters)

    method.__name__, method.__qualname__ = name, name
    method.__signature__, method.__doc__ = signature, _documentation(call)  # type: ignore[attr-defined]
    return method


def _parameters(call: Call) -> dict[str, Any]:
    """The parameters of a method by name, with their defaults; the many bounds are collected in `filters`."""
    own = {d.argument: d.default for d in call.parameters if not d.in_path and d.bound is None}
    if call.paged:
        own.pop("after")
        return {"limit": None} | {name: default for name, default in own.items() if name != "limit"}
    return own


def _signature(call: Call) -> inspect.Signature:
    parameters = [Parameter("self", Parameter.POSITIONAL_ONLY)]
    parameters += [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default) for name, default in _parameters(call).items()
    ]
    if call.paged:
        parameters.append(Parameter("filters", Parameter.VAR_KEYWORD))
    row: Any = call.row
    answer = call.answer if row is None else Pages[row] if call.paged else Records[row]
    return inspect.Signature(parameters, return_annotation=answer)


def _documentation(call: Call) -> str:
    """A method's docstring: the call's summary and a line for each parameter."""
    kinds = {d.argument: d.kind.description for d in call.parameters}
    if call.paged:
        kinds["limit"] = "Rows in all; None: every row, read page by page during iteration."
    lines = [f"{name}: {kinds[name]}" for name in _parameters(call)]
    columns = [d.bound[0] for d in call.parameters if d.bound and d.bound[1] == "gte"]
    if columns:
        lines.append(
            f"filters: {columns[0]}_gte (at least), {columns[0]}_lte (at most); also {', '.join(columns[1:])}."
        )
    lines = [fill(line, 100, initial_indent=" " * 4, subsequent_indent=" " * 8) for line in lines]
    return "\n".join([call.summary, *(["", "Args:", *lines, "", _RAISES] if lines else [])])
