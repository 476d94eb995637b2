"""Hostile token text is shown, never obeyed; numbers and records become text that can be read."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.display import (
    column_decimals,
    read_shown,
    show_decimals,
    show_in_text,
    show_number,
    show_percentile,
    show_points,
    show_range,
    show_share,
    show_token,
    show_value,
    visible,
)
from atlas.core.jsonable import dumps
from atlas.core.units import Token


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" an", "␣an"),
        ("an", "an"),
        ("  ", "␣␣"),
        (" a b ", "␣a b␣"),
        ("\n", "\\n"),
        ("\t\r", "\\t\\r"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202eabc", "\\u202eabc"),
        ("a\u200bb", "a\\u200bb"),
        ("\xa0", "\\xa0"),
        ("\u3000", "\\u3000"),
        ("\ufeff", "\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u0301", "◌\u0301"),
        ("é", "é"),
        ("日本", "日本"),
        ("", "[empty]"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_tokens_on_their_own(text, shown):
    assert show_token(7, text, text.encode("utf-8", "surrogatepass")) == shown


def test_bytes_that_are_not_utf8():
    assert show_token(7, "\ufffd", b"\xe2\x80") == "\\xe2\\x80"
    assert show_token(7, " \ufffd", b" \xf0\x9f") == "␣\\xf0\\x9f"
    assert show_token(7, "\ufffd", "\ufffd".encode()) == "\ufffd"  # the character itself is in the vocabulary


def test_a_token_that_is_not_in_the_tokenizer():
    assert show_token(50000, None, None) == "[#50000]"
    assert show_in_text(50000, None, None) == "[#50000]"


def test_tokens_in_running_text_keep_their_spaces():
    assert show_in_text(7, " an", b" an") == " an"
    assert show_in_text(7, "\n", b"\n") == "↵"
    assert show_in_text(7, "\\n", b"\\n") == "\\n"  # a backslash and an n are no newline
    assert show_in_text(7, "\u202e", "\u202e".encode()) == "\\u202e"


@given(st.text())
def test_nothing_invisible_is_left(text):
    for character in visible(text):
        assert character == " " or unicodedata.category(character) not in {
            "Cc",
            "Cf",
            "Cs",
            "Co",
            "Cn",
            "Zl",
            "Zp",
            "Zs",
        }


@pytest.mark.parametrize("text", [" an", "\n", "\t", "  if", "plain"])
def test_a_copied_token_is_read_back(text):
    assert read_shown(show_token(7, text, text.encode())) == text


def test_numbers_of_a_column():
    assert [show_decimals(value, 2) for value in (1, 0.999, -0.001, -1234.5, None)] == [
        "1.00",
        "1.00",
        "0.00",
        "−1,234.50",
        "–",
    ]
    assert [show_points(value) for value in (-0.36943, 0.0001, 0.25, None)] == [
        "−36.9 points",
        "0.0 points",
        "+25.0 points",
        "–",
    ]
    assert [column_decimals(values) for values in ([], [0.0, None], [0.99996], [0.5], [12345.6])] == [0, 0, 3, 4, 0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0"),
        (0, "0"),
        (1234567, "1,234,567"),
        (-12, "−12"),
        (12.3456, "12.35"),
        (-0.01234567, "−0.01235"),
        (1234.567, "1,235"),
        (1.5e-7, "1.500e−07"),
        (2.5e9, "2.500e+09"),
        (0.99999, "1.000"),
        (1234567.8, "1,234,568"),
        (12345678.0, "1.235e+07"),
        (0.00012346, "0.0001235"),
        (0.000012346, "1.235e−05"),
    ],
)
def test_numbers(value, shown):
    assert show_number(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (None, "–"),
        (0.0, "0%"),
        (0.65932, "65.9%"),
        (0.05, "5.00%"),
        (0.000123, "0.0123%"),
        (-0.2025, "−20.2%"),
        (1, "100%"),
    ],
)
def test_shares(share, shown):
    assert show_share(share) == shown


def test_shares_with_fewer_digits_and_with_a_sign():
    assert show_share(0.123, 2) == "12%"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (True, "yes"), (False, "no"), (-1.5, "−1.500"), (1234, "1,234"), ("a\tb", "a\\tb")],
)
def test_values(value, shown):
    assert show_value(value) == shown


def test_percentiles_are_rounded_down():
    """Nothing but the whole is 100."""
    assert [show_percentile(value) for value in (0.0, 0.12399, 0.5, 0.9999, 1.0)] == [
        "0.0",
        "12.3",
        "50.0",
        "99.9",
        "100.0",
    ]


def test_ranges():
    assert show_range(0.015625, 0.5) == "0.015625 to 0.5"
    assert show_range(None, -512) == "below −512"
    assert show_range(512, None) == "512 and more"


def test_json_is_strict():
    value = {
        "a": float("nan"),
        "b": [float("inf"), -float("inf"), 1.5],
        "c": b"\xff",
        "d": datetime(2026, 1, 2),
        "e": Decimal("1.5"),
    }
    text = dumps(value)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": "NaN",
        "b": ["Infinity", "-Infinity", 1.5],
        "c": "ff",
        "d": "2026-01-02T00:00:00",
        "e": "1.5",
    }


def test_a_tokens_json_has_bytes_only_where_they_say_more():
    assert json.loads(dumps(Token(3, " an", b" an", False))) == {
        "token_id": 3,
        "text": " an",
        "shown": "␣an",
        "special": False,
    }
    assert json.loads(dumps(Token(5, "\ufffd", b"\xe2\x80", False)))["bytes"] == "e280"
