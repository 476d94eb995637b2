"""The file of `--pairs`: real CSV, tokens by text or id, mistakes by line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ingest.congruence.pairs import read_pairs
from ingest.errors import OptionError

# One layer of 10 neurons; each text is the token of its place.
TEXTS = ["a", " an", "\u2028", "two\nlines", "\r\n", 'quo"te', ",", "7", " 7", "٣", "", "\ufffd", "\x85", "#c", "é"]
SAME = {"\ufffd": [11, 15]}


def read(path: Path) -> list[tuple[int, int]]:
    ids = {text: SAME.get(text, [place]) for place, text in enumerate(TEXTS)}
    return read_pairs(path, ids, n_layers=1, d_mlp=10, d_vocab=16)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_text_that_csv_can_write(tmp_path, encoding, end):
    tokens = [text for text in TEXTS if text != "7" and text not in SAME]
    with (tmp_path / "pairs.csv").open("w", encoding=encoding, newline="") as file:
        rows = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL if end == "\r" else csv.QUOTE_MINIMAL)
        rows.writerow(["neuron", "token"])
        rows.writerows([f"L0N{place % 10}", text] for place, text in enumerate(tokens))
    assert read(tmp_path / "pairs.csv") == [(place % 10, TEXTS.index(text)) for place, text in enumerate(tokens)]


def test_ids_are_ascii_digits_and_spaces_are_kept(tmp_path):
    (tmp_path / "pairs.csv").write_text('L0N1,7\n\n0.2, 7\n0:3,٣\n"L0N4","015"\n')
    assert read(tmp_path / "pairs.csv") == [(1, 7), (2, 8), (3, 9), (4, 15)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('L0N1,a\nL0N2,"two\nlines"\nL0N3,nothing\n', r"Line 4 of .*: 'nothing' is no token; write a token's text or"),
        ('L0N1,a\nL0N2,"a"b\n', r"Line 2 of .* is not CSV: ',' expected after '\"'. Double the quotes within quotes"),
        ('L0N1,a\nL0N2,"a\n', r"Line 2 of .* is not CSV: unexpected end of data"),
        ("L0N1,a\nL0N2,\ufffd\n", r"Line 2 of .*: '�' is the text of tokens 11, 15; write one's id"),
        ("L0N1,a\nL0N1,16\n", r"Line 2 of .*: '16' is no token; write a token's text or an id from 0 to 15"),
        ("L0N1,a\nL0N1,²\n", r"Line 2 of .*: '²' is no token"),
        ("L0N1,a,b\n", r"Line 1 of .* has 3 fields, expected two"),
        ("L0N1,a\nneuron,token\n", r"Line 2 of .*: 'neuron' is not a neuron name"),
    ],
)
def test_mistakes_are_refused_by_line(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=message):
        read(tmp_path / "pairs.csv")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"L0N1,a\nL0N2,caf\xe9\n")
    with pytest.raises(OptionError, match=r"Line 2 of .*pairs.csv' is not UTF-8 .*; it looks like Windows-1252"):
        read(tmp_path / "pairs.csv")
    for place, cause in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(OptionError, match=rf"cannot be read: {cause}.*Check --pairs"):
            read(place)
