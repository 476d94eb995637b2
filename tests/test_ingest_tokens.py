"""From rows to texts: chunking, numbering, the report; and batching."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import BertTokenizer, PreTrainedTokenizerFast

from ingest.errors import OptionError, TokenizerError
from ingest.model.saved_tokenizer import bos_for
from ingest.process.cursor import Cursor, Share, TextReport
from ingest.texts import tokens
from ingest.texts.corpus import PythonTexts
from ingest.texts.dataset import Dataset
from ingest.texts.tokens import Text, batches, iter_texts

BOS = 3


@functools.cache
def letter_tokenizer() -> PreTrainedTokenizerFast:
    """One token a letter: a is 4, b is 5, ...; spaces are nothing."""
    vocab = {"<unk>": 0, "<pad>": 1, "</s>": 2, "<s>": BOS} | {chr(ord("a") + i): 4 + i for i in range(26)}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "")
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=4,
    )


def dataset_of(texts: Iterable[str | None]) -> Dataset:
    source = PythonTexts(tuple(texts))
    return Dataset("test", None, None, "text", "0" * 32, len(source.texts), source)


def read(texts: Iterable[str | None], **options) -> tuple[list[Text], TextReport]:
    options = {"context_length": 4, "overflow": "truncate", "bos_token_id": BOS} | options
    report = TextReport()
    return list(iter_texts(dataset_of(texts), letter_tokenizer(), report=report, **options)), report


def ids(word: str) -> list[int]:
    return [4 + ord(letter) - ord("a") for letter in word]


def flat(texts: list[Text]) -> list[tuple]:
    return [(text.text_id, text.source_row, text.chunk, text.token_ids.tolist()) for text in texts]


def add(reports: list[TextReport]) -> TextReport:
    names = [field.name for field in dataclasses.fields(TextReport)]
    return TextReport(**{name: sum(getattr(report, name) for report in reports) for name in names})


class TestTexts:
    def test_truncate(self):
        texts, report = read(["abcde", "", "  ", "a", "abc"])
        assert flat(texts) == [(0, 0, 0, [3, 4, 5, 6]), (1, 3, 0, [3, 4]), (2, 4, 0, [3, 4, 5, 6])]
        assert all(text.token_ids.dtype == np.int32 for text in texts)
        assert report == TextReport(
            rows_read=5, rows_empty=2, rows_one_token=1, texts=3, texts_truncated=1, tokens=4 + 2 + 4
        )

    def test_split(self):
        texts, report = read(["abcdefg", None, "abc"], overflow="split")
        assert flat(texts) == [
            (0, 0, 0, [3, 4, 5, 6]),
            (1, 0, 1, [3, 7, 8, 9]),
            (2, 0, 2, [3, 10]),
            (3, 2, 0, [3, 4, 5, 6]),
        ]
        assert report == TextReport(rows_read=3, rows_empty=1, rows_split=1, texts=4, tokens=14)

    def test_without_bos_the_context_is_all_text(self):
        texts, _ = read(["abcdef"], bos_token_id=None, overflow="split")
        assert flat(texts) == [(0, 0, 0, [4, 5, 6, 7]), (1, 0, 1, [8, 9])]

    def test_max_texts(self):
        texts, report = read(["a", "abcd", "b", "c"], overflow="split", max_texts=2)
        assert [text.text_id for text in texts] == [0, 1]
        assert report == TextReport(rows_read=2, rows_one_token=1, rows_split=1, texts=2, tokens=2 + 4)

    def test_part_keeps_global_ids(self):
        rows = ["a", "abcdefg", "", "b", "c"]
        texts, report = read(rows, overflow="split", first_text=2, last_text=5)
        whole, _ = read(rows, overflow="split")
        assert flat(texts) == flat(whole)[2:5]
        assert report == TextReport(rows_read=2, rows_empty=1, rows_one_token=1, texts=3, tokens=4 + 2 + 2)

    def test_part_beyond_the_end_is_empty(self):
        assert read(["a"], first_text=5) == ([], TextReport())

    def test_no_more_rows_are_read_than_needed(self):
        class Endless:
            def arrays(self, start_row=0):
                while True:
                    yield from PythonTexts(("abc",) * 10).arrays()

        dataset = Dataset("test", None, None, "text", "", None, Endless())
        texts = iter_texts(
            dataset,
            letter_tokenizer(),
            context_length=4,
            overflow="truncate",
            bos_token_id=BOS,
            max_texts=10,
            report=TextReport(),
        )
        assert len(list(texts)) == 10

    def test_special_tokens_spelt_out_are_special_tokens(self):
        tokenizer = letter_tokenizer()
        texts, _ = read(["a</s>b"])
        assert texts[0].token_ids.tolist() == [3, 4, 2, 5]
        assert texts[0].token_ids.tolist()[1:] == tokenizer("a</s>b", add_special_tokens=False)["input_ids"]

    def test_long_rows_are_tokenised_in_small_groups_without_warnings(self, monkeypatch):
        monkeypatch.setattr(tokens, "_ENCODE_CHARS", 10)
        assert list(tokens._slices(["a" * 4] * 5)) == [["aaaa"] * 2, ["aaaa"] * 2, ["aaaa"]]
        assert list(tokens._slices(["a" * 99, "", "b" * 11, "c"])) == [["a" * 99], [""], ["b" * 11], ["c"]]
        with warnings.catch_warnings(record=True) as caught:
            texts, _ = read(["a" * 99, "b", "c" * 12], context_length=100)
        assert not caught
        assert [len(text) for text in texts] == [100, 2, 13]

    def test_state_left_in_the_tokenizer_does_not_matter(self):
        tokenizer = letter_tokenizer()
        want = flat(read(["abcdef", "a"], context_length=9)[0])
        tokenizer(["abcdef", "a"], truncation=True, padding=True, max_length=3)
        assert tokenizer.backend_tokenizer.truncation is not None
        assert flat(read(["abcdef", "a"], context_length=9)[0]) == want

    def test_python_tokenizers(self):
        class Slow:
            is_fast = False

            def __call__(self, texts, **options):
                assert options == {"add_special_tokens": False, "padding": False, "truncation": False, "verbose": False}
                return {"input_ids": [ids(text) for text in texts]}

        report = TextReport()
        texts = iter_texts(
            dataset_of(["ab", ""]), Slow(), context_length=4, overflow="truncate", bos_token_id=None, report=report
        )
        assert flat(list(texts)) == [(0, 0, 0, [4, 5])]

    def test_token_that_the_model_has_no_row_for(self):
        assert len(read(["abc"], d_vocab=7)[0]) == 1
        with pytest.raises(TokenizerError) as error:
            read(["", "abcd"], d_vocab=7)
        assert str(error.value) == (
            "Row 1 has token 7 ('d'), but the model's vocabulary ends at 6. "
            "Use the tokenizer the model was trained with."
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"overflow": "wrap"}, "overflow is 'wrap', expected 'truncate' or 'split'."),
            ({"context_length": 1}, "context length is 1, expected at least 2 (BOS and one token)."),
            ({"context_length": 0, "bos_token_id": None}, "context length is 0, expected at least 1."),
            ({"first_text": -1}, "texts -1: is not a range: expected A:B with 0 <= A < B."),
            ({"first_text": 3, "last_text": 3}, "texts 3:3 is not a range: expected A:B with 0 <= A < B."),
            ({"max_texts": 0}, "max texts is 0, expected at least 1."),
        ],
    )
    def test_refuses_at_once(self, options, message):
        options = {"context_length": 4, "overflow": "truncate", "bos_token_id": BOS} | options
        with pytest.raises(OptionError) as error:
            iter_texts(dataset_of(["a"]), letter_tokenizer(), report=TextReport(), **options)
        assert str(error.value) == message

    words = st.lists(st.text("abc ", max_size=14), max_size=12)

    @given(words, st.integers(2, 9), st.booleans())
    def test_chunks_put_together_are_the_row(self, rows, context_length, bos):
        texts, report = read(rows, context_length=context_length, overflow="split", bos_token_id=BOS if bos else None)
        assert [text.text_id for text in texts] == list(range(len(texts)))
        assert all(int(bos) < len(text) <= context_length for text in texts)
        assert not bos or all(text.token_ids[0] == BOS for text in texts)
        for number, row in enumerate(rows):
            chunks = [text for text in texts if text.source_row == number]
            assert [text.chunk for text in chunks] == list(range(len(chunks)))
            assert all(len(text) == context_length for text in chunks[:-1])
            assert [t for text in chunks for t in text.token_ids.tolist()[int(bos) :]] == ids(row.replace(" ", ""))
        assert report.tokens == sum(map(len, texts))
        assert report.texts == len(texts)
        assert report.rows_read == len(rows)

    @given(words, st.integers(2, 9))
    def test_truncation_is_the_first_chunk(self, rows, context_length):
        cut, report = read(rows, context_length=context_length)
        split, _ = read(rows, context_length=context_length, overflow="split")
        first = [(text.source_row, text.token_ids.tolist()) for text in split if text.chunk == 0]
        assert [(text.source_row, text.token_ids.tolist()) for text in cut] == first
        assert [text.text_id for text in cut] == list(range(len(cut)))
        assert report.texts_truncated == len({text.source_row for text in split if text.chunk == 1})
        assert report.rows_read == report.rows_empty + report.texts

    @given(words, st.sampled_from(["truncate", "split"]), st.lists(st.integers(1, 12), max_size=3))
    def test_parts_add_up_to_the_whole(self, rows, overflow, cuts):
        edges = [0, *sorted(set(cuts)), None]
        parts = [
            read(rows, overflow=overflow, first_text=first, last_text=last) for first, last in itertools.pairwise(edges)
        ]
        whole, report = read(rows, overflow=overflow)
        assert [text for texts, _ in parts for text in flat(texts)] == flat(whole)
        assert add([part for _, part in parts]) == report


class TestBos:
    @pytest.mark.parametrize(
        ("bos", "eos", "want"), [(1, 2, 1), (0, 2, 0), (None, 2, 2), (None, 0, 0), (None, None, None)]
    )
    def test_bos_else_eos_else_none(self, bos, eos, want):
        tokenizer = type("Tokenizer", (), {"bos_token_id": bos, "eos_token_id": eos})
        assert bos_for(tokenizer) == want

    def test_of_real_tokenizers(self, tmp_path):
        (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
        assert bos_for(BertTokenizer(str(tmp_path / "vocab.txt"))) is None
        assert bos_for(letter_tokenizer()) == BOS


def texts_of_lengths(lengths: list[int]) -> list[Text]:
    return [Text(i, i, 0, np.arange(10 * i, 10 * i + length, dtype=np.int32)) for i, length in enumerate(lengths)]


class TestBatches:
    def test_longest_first_then_in_order(self):
        texts = texts_of_lengths([2, 5, 3, 3, 1])
        got = list(batches(texts, max_tokens=6, pad_id=99))
        assert [[text.text_id for text in batch.texts] for batch in got] == [[1], [2, 3], [0, 4]]
        assert got[1].input_ids.tolist() == [[20, 21, 22], [30, 31, 32]]
        assert got[2].input_ids.tolist() == [[0, 1], [40, 99]]
        assert got[2].lengths.tolist() == [2, 1]
        assert (got[0].input_ids.dtype, got[0].lengths.dtype) == (np.int64, np.int64)
        assert [(batch.cursor.next_text, set(batch.cursor.ahead)) for batch in got] == [
            (0, {1}),
            (0, {1, 2, 3}),
            (5, set()),
        ]

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 30), st.integers(1, 12), st.data())
    def test_reading_on_from_any_cursor_gives_the_same_batches(self, lengths, max_tokens, sort_window, data):
        """Restarted once and again from what a checkpoint holds, as JSON."""
        texts = texts_of_lengths(lengths)
        options = {"max_tokens": max_tokens, "pad_id": 0, "sort_window": sort_window}
        whole = list(batches(texts, **options))
        at, cursor = 0, Cursor()
        for _ in range(3):
            steps = data.draw(st.integers(0, len(whole) - at))
            left = [text for text in texts if text.text_id >= cursor.next_text]
            got = list(itertools.islice(batches(left, start=cursor, **options), steps))
            assert [[t.text_id for t in b.texts] for b in got] == [
                [t.text_id for t in b.texts] for b in whole[at : at + steps]
            ]
            assert [b.cursor for b in got] == [b.cursor for b in whole[at : at + steps]]
            at += steps
            cursor = Cursor.from_dict(json.loads(json.dumps(got[-1].cursor.to_dict()))) if got else cursor

    def test_no_texts(self):
        assert list(batches([], max_tokens=5, pad_id=0)) == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_tokens": 0}, "max tokens is 0, expected at least 1."),
            ({"max_tokens": 4, "sort_window": 0}, "sort window is 0, expected at least 1."),
        ],
    )
    def test_refuses_at_once(self, options, message):
        with pytest.raises(OptionError) as error:
            batches([], pad_id=0, **options)
        assert str(error.value) == message

    @given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 30), st.integers(1, 12))
    def test_every_text_once_within_the_budget(self, lengths, max_tokens, sort_window):
        texts = texts_of_lengths(lengths)
        got = list(batches(iter(texts), max_tokens=max_tokens, pad_id=-1, sort_window=sort_window))
        assert sorted(text.text_id for batch in got for text in batch.texts) == list(range(len(lengths)))
        for batch in got:
            assert len(batch.texts) == 1 or batch.input_ids.size <= max_tokens
            assert batch.input_ids.shape == (len(batch.texts), batch.lengths.max())
            for row, length, text in zip(batch.input_ids, batch.lengths, batch.texts, strict=True):
                assert row[:length].tolist() == text.token_ids.tolist()
                assert (row[length:] == -1).all()
        seen: set[int] = set()
        for batch in got:
            seen |= {text.text_id for text in batch.texts}
            assert seen == {i for i in range(len(lengths)) if batch.cursor.done(i)}


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(2, 16),
    st.integers(1, 5),
    st.sampled_from(["truncate", "split"]),
    st.data(),
)
def test_any_division_stopped_anywhere_reads_every_text_once(rows, worlds, context, sort_window, overflow, data):
    """Workers stop at any batch; then another number of workers goes on with what is left; the last read to the end."""
    dataset = dataset_of(["a" * n for n in rows])
    options = {"context_length": context, "overflow": overflow, "bos_token_id": BOS}
    whole = TextReport()
    wanted = [t.text_id for t in iter_texts(dataset, letter_tokenizer(), report=whole, **options)]
    earlier, seen = (), []
    for turn, world in enumerate(worlds):
        last = earlier[-1] if earlier else (Cursor(),)
        begin = replace(min(last, key=lambda cursor: cursor.next_text), ahead=frozenset())
        cursors = []
        for rank in range(world):
            share, report = Share(rank, world, earlier), replace(begin.report)
            texts = iter_texts(dataset, letter_tokenizer(), report=report, start=begin, **options)
            mine = (text for text in texts if text.text_id in share)
            cursor = begin
            stop = data.draw(st.integers(0, 4)) if turn < len(worlds) - 1 else None
            for batch in itertools.islice(
                batches(mine, max_tokens=12, pad_id=0, sort_window=sort_window, start=begin, report=report), stop
            ):
                seen += [text.text_id for text in batch.texts]
                cursor = batch.cursor
            if stop is None:
                assert report == whole
            cursors.append(cursor)
        earlier = (*earlier, tuple(cursors))
    assert sorted(seen) == wanted
