"""Answers of calls as JSON and back: the client reads a server's JSON into the records that the server sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, urlsplit

from atlas.core.call import Call, Page
from atlas.core.errors import (
    AtlasError,
    NeuronNameError,
    PairError,
    ParameterError,
    QueryError,
    StudyNameError,
    TokenError,
    WeightsError,
)
from atlas.core.units import Token
from atlas.topics.example import Example

Vocabulary = Mapping[int, Token]
Reader = Callable[[Any, Vocabulary], Any]


def encode(call: Call, answer: Any, next_url: str | None) -> dict[str, Any]:
    """An answer as `{"data": …}`; see `Schemas.answer` for the further keys of lists."""
    rows = answer.rows if isinstance(answer, Page) else answer
    body: dict[str, Any] = {"data": rows}
    if call.row is not None:
        body["next"] = next_url
    if isinstance(answer, Page):
        body["total"] = answer.total
    if call.row is Example:
        tokens = {token.token_id: token for example in rows for token in example.tokens}
        body["tokens"] = [tokens[token_id] for token_id in sorted(tokens)]
    return body


def decode(call: Call, body: Mapping[str, Any]) -> Any:
    """Read an answer from a body.

    Raises:
        KeyError, TypeError, ValueError: the body is of another shape.
    """
    vocabulary = {item["token_id"]: _token(item) for item in body.get("tokens", ())}
    if not call.paged:
        return _reader(call.answer)(body["data"], vocabulary)
    row: Any = call.row
    rows = _reader(tuple[row, ...])(body["data"], vocabulary)
    after = parse_qs(urlsplit(body["next"]).query)["after"][0] if body["next"] else None
    return Page(rows, body["total"], after)


def _token(data: Mapping[str, Any]) -> Token:
    text, raw = data["text"], data.get("bytes")
    known = None if text is None else text.encode()
    return Token(data["token_id"], text, known if raw is None else bytes.fromhex(raw), data["special"])


@cache
def _reader(hint: Any) -> Reader:
    """The reader of a hint's values, made once because a page has thousands of values."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):  # of None and one other, in every record that is sent
        known = _reader(next(item for item in inner if item is not type(None)))
        return lambda data, vocabulary: None if data is None else known(data, vocabulary)
    if origin is tuple and inner[-1] is Ellipsis:
        each = _reader(inner[0])
        return lambda data, vocabulary: tuple([each(item, vocabulary) for item in data])
    if origin is tuple:
        places = [_reader(item) for item in inner]
        return lambda data, vocabulary: tuple(read(item, vocabulary) for read, item in zip(places, data, strict=True))
    if origin is dict:
        each = _reader(inner[1])
        return lambda data, vocabulary: {name: each(item, vocabulary) for name, item in data.items()}
    if hint is Token:
        return lambda data, vocabulary: _token(data)
    if isinstance(hint, type) and is_dataclass(hint):
        return _record_reader(hint)
    if hint is datetime:
        return lambda data, vocabulary: datetime.fromisoformat(data)
    if hint is float:
        return lambda data, vocabulary: float(data)  # 'NaN' is a text in JSON
    return lambda data, vocabulary: data


def _record_reader(record: type) -> Reader:
    hints = get_type_hints(record)
    readers = [(field.name, _reader(hints[field.name])) for field in fields(record)]
    if record is Example:  # its tokens are sent as ids
        readers = [("token_ids", _window) if name == "tokens" else (name, read) for name, read in readers]
    return lambda data, vocabulary: record(*[read(data[name], vocabulary) for name, read in readers])


def _window(token_ids: list[int], vocabulary: Vocabulary) -> tuple[Token, ...]:
    return tuple([vocabulary[token_id] for token_id in token_ids])


CODES: dict[type[AtlasError], tuple[str, int]] = {
    ParameterError: ("bad_request", 400),
    NeuronNameError: ("no_such_neuron", 404),
    TokenError: ("no_such_token", 404),
    PairError: ("not_counted", 404),
    StudyNameError: ("no_such_study", 404),
    WeightsError: ("no_weights", 404),
    QueryError: ("query_failed", 500),
}
"""The code and the HTTP status of each."""

ERRORS: dict[str, type[AtlasError]] = {code: error for error, (code, _) in CODES.items()}
"""The error of each code."""
