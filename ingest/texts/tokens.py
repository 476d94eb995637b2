"""Tokenise rows into texts, and group texts into padded batches."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32, Int64

from ingest.errors import OptionError, TokenizerError
from ingest.process.cursor import Cursor, TextReport
from ingest.texts.dataset import Dataset

_ENCODE_CHARS = 1_000_000
"""Most characters tokenised in one call: encodings take some hundred bytes a token until their ids are taken out."""


@dataclass(frozen=True, eq=False, slots=True)
class Text:
    """One text: a row of the dataset, or a chunk of one. `token_ids` includes BOS."""

    text_id: int
    source_row: int
    chunk: int
    token_ids: Int32[np.ndarray, " pos"]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, eq=False, slots=True)
class TextBatch:
    """Texts padded on the right to the longest of them.

    `cursor`: the place in the texts once this batch is done (a checkpoint). Reading on from it gives exactly the
    batches that follow.
    """

    texts: list[Text]
    input_ids: Int64[np.ndarray, "batch pos"]
    lengths: Int64[np.ndarray, " batch"]
    cursor: Cursor


def iter_texts(
    dataset: Dataset,
    tokenizer: Any,
    *,
    context_length: int,
    overflow: Literal["truncate", "split"],
    bos_token_id: int | None,
    first_text: int = 0,
    last_text: int | None = None,
    max_texts: int | None = None,
    report: TextReport,
    d_vocab: int | None = None,
    start: Cursor | None = None,
) -> Iterator[Text]:
    """Texts `first_text` to `last_text` (exclusive; None: to the end) of a dataset, in order, counted in `report`.

    A row is tokenised without special tokens, BOS is put before it, and it is cut to `context_length` tokens BOS
    included, or split into texts of that length, each with its own BOS. Rows without tokens are left out. `text_id`
    counts from the start of the dataset whichever part is requested, so the rows before it are tokenised too.
    `max_texts` leaves out ids from there on. `start` resumes where another reading stopped, at its row; `report` must
    then begin as `start.report`.

    A row that contains a special token's own spelling ("<|endoftext|>" in a web page) gets that special token, as
    `tokenizer(text, add_special_tokens=False)` gives it and as the model met it in training.

    Raises:
        OptionError: an impossible length, range or overflow.
        TokenizerError: (while iterating, when `d_vocab` is given) a token that the model has no embedding for.
        DatasetError: (while iterating) the dataset breaks off.
    """
    if overflow not in ("truncate", "split"):
        raise OptionError(f"overflow is {overflow!r}, expected 'truncate' or 'split'.")
    shortest = 1 if bos_token_id is None else 2
    if context_length < shortest:
        why = "" if bos_token_id is None else " (BOS and one token)"
        raise OptionError(f"context length is {context_length}, expected at least {shortest}{why}.")
    if first_text < 0 or (last_text is not None and last_text <= first_text):
        end = "" if last_text is None else last_text
        raise OptionError(f"texts {first_text}:{end} is not a range: expected A:B with 0 <= A < B.")
    if max_texts is not None and max_texts < 1:
        raise OptionError(f"max texts is {max_texts}, expected at least 1.")
    stop = min((end for end in (last_text, max_texts) if end is not None), default=None)
    # Several threads, without the warning (and the fall back to one) if something forks later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    start = start or Cursor(next_text=first_text)
    rows = _tokenised_rows(dataset, tokenizer, d_vocab, start.source_row)
    return _cut(rows, context_length, overflow == "split", bos_token_id, start, stop, report)


def batches(
    texts: Iterable[Text],
    *,
    max_tokens: int,
    pad_id: int,
    sort_window: int = 512,
    start: Cursor | None = None,
    report: TextReport | None = None,
) -> Iterator[TextBatch]:
    """Group texts of like length: every text once, and rows * longest <= `max_tokens`, padding counted.

    Within each window of `sort_window` texts the longest come first (then the lower text_id), so the batch that needs
    the most memory is the first. A text longer than `max_tokens` is a batch of its own. The same texts give the same
    batches. `start` is the cursor the texts were read from, whose `ahead` are left out; `report` is what their reading
    counts into, kept with each window's cursor.

    Raises:
        OptionError: `max_tokens` or `sort_window` is below 1.
    """
    for option, value in (("max tokens", max_tokens), ("sort window", sort_window)):
        if value < 1:
            raise OptionError(f"{option} is {value}, expected at least 1.")
    return _group(iter(texts), max_tokens, pad_id, sort_window, start or Cursor(), report or TextReport())


@dataclass(frozen=True, eq=False, slots=True)
class _Row:
    source_row: int
    token_ids: Int32[np.ndarray, " pos"]


def _tokenised_rows(dataset: Dataset, tokenizer: Any, d_vocab: int | None, start_row: int) -> Iterator[_Row]:
    rows = encoded(dataset, tokenizer, start_row) if dataset.tokens is None else dataset.tokens.rows(start_row)
    for source_row, token_ids in enumerate(rows, start_row):
        if d_vocab is not None and len(token_ids) and token_ids.max() >= d_vocab:
            raise TokenizerError(
                f"Row {source_row} has token {token_ids.max()} ({_piece(tokenizer, token_ids.max())}), but the "
                f"model's vocabulary ends at {d_vocab - 1}. Use the tokenizer the model was trained with."
            )
        yield _Row(source_row, token_ids)


@dataclass(frozen=True)
class Backend:
    """What of a fast tokenizer makes token ids, for a process without transformers."""

    backend_tokenizer: Any
    split_special_tokens: bool
    is_fast: bool = True


def encoded(dataset: Dataset, tokenizer: Any, start_row: int) -> Iterator[Int32[np.ndarray, " pos"]]:
    """The token ids of each row from `start_row` on.

    Raises:
        DatasetError: (while iterating) the dataset breaks off.
    """
    for batch in dataset.row_batches(start_row):
        for texts in _slices(batch.texts):
            yield from (np.array(ids, np.int32) for ids in _encode(tokenizer, texts))


def _slices(texts: list[str]) -> Iterator[list[str]]:
    start, n_chars = 0, 0
    for end, text in enumerate(texts):
        if end > start and n_chars + len(text) > _ENCODE_CHARS:
            yield texts[start:end]
            start, n_chars = end, 0
        n_chars += len(text)
    yield texts[start:]


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not tokenizer.is_fast:
        encoded = tokenizer(texts, add_special_tokens=False, padding=False, truncation=False, verbose=False)
        return encoded["input_ids"]
    # tokenizer(texts) without the offsets and Python copies of the rest: two thirds of its time.
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _piece(tokenizer: Any, token_id: int) -> str:
    return repr(tokenizer.convert_ids_to_tokens(int(token_id)))


def _cut(
    rows: Iterator[_Row],
    context_length: int,
    split: bool,
    bos_token_id: int | None,
    start: Cursor,
    stop: int | None,
    report: TextReport,
) -> Iterator[Text]:
    bos = np.array([] if bos_token_id is None else [bos_token_id], np.int32)
    step = context_length - len(bos)
    text_id, first_text = start.row_text, start.next_text
    if stop is not None and first_text >= stop:
        return
    for row in rows:
        n_tokens = len(row.token_ids)
        n_chunks = -(-n_tokens // step) if split else min(n_tokens, 1)
        if text_id >= first_text:
            report.rows_read += 1
            report.rows_empty += n_tokens == 0
            report.rows_one_token += n_tokens == 1
            report.rows_split += n_chunks > 1
        for chunk in range(n_chunks):
            if text_id >= first_text:
                token_ids = np.concatenate([bos, row.token_ids[chunk * step : (chunk + 1) * step]])
                report.texts += 1
                report.texts_truncated += not split and n_tokens > step
                report.tokens += len(token_ids)
                yield Text(text_id, row.source_row, chunk, token_ids)
            text_id += 1
            if text_id == stop:
                return


def _group(
    texts: Iterator[Text], max_tokens: int, pad_id: int, sort_window: int, cursor: Cursor, report: TextReport
) -> Iterator[TextBatch]:
    while True:
        window, counted = [], report
        for text in itertools.islice(texts, sort_window):
            window.append(text)
            counted = replace(report)  # Now: running out of texts counts the empty rows behind the last.
        if not window:
            return
        last = window[-1]
        after = Cursor(last.source_row, last.text_id - last.chunk, last.text_id + 1, report=counted)
        # Done batches are the first of a window, so what is left of it is grouped as it would have been.
        window = [text for text in window if text.text_id not in cursor.ahead]
        window.sort(key=lambda text: (-len(text), text.text_id))
        begin = 0
        while begin < len(window):
            end = min(len(window), begin + max(1, max_tokens // len(window[begin])))
            part = window[begin:end]
            cursor = replace(cursor, ahead=cursor.ahead.union(text.text_id for text in part))
            yield _pad(part, pad_id, after if end == len(window) else cursor)
            begin = end
        cursor = after


def _pad(texts: list[Text], pad_id: int, cursor: Cursor) -> TextBatch:
    lengths = np.array([len(text) for text in texts], np.int64)
    input_ids = np.full((len(texts), lengths.max()), pad_id, np.int64)
    for row, text in zip(input_ids, texts, strict=True):
        row[: len(text)] = text.token_ids
    return TextBatch(texts, input_ids, lengths, cursor)
