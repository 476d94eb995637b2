"""Datasets: what is read, what is refused, and the fingerprint."""

from __future__ import annotations

import bz2
import csv
import gzip
import itertools
import json
import pydoc_data.topics
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from datasets.exceptions import DatasetNotFoundError
from hypothesis import given
from hypothesis import strategies as st

from ingest.corpus import clean, scan, to_arrow
from ingest.dataset import open_dataset
from ingest.errors import DatasetError

TEXTS = ["plain", "", "two\nlines", 'quo"ted, é 漢字 🎉', " 007 "]


def write(path: Path, texts: list[str]) -> Path:
    """Write texts in the format of the path's suffix."""
    kind = path.name.split(".", 1)[1]
    if kind == "parquet":
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=2)
        return path
    if kind.startswith("json") and not kind.startswith("jsonl"):
        data = json.dumps([{"id": i, "text": text} for i, text in enumerate(texts)], indent=1)
    elif kind.startswith("jsonl"):
        data = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    elif kind == "txt":
        data = "".join(text + "\n" for text in texts)
    else:
        with path.open("w", newline="") as file:
            rows = csv.writer(file, delimiter="\t" if kind == "tsv" else ",")
            rows.writerow(["id", "text"])
            rows.writerows(enumerate(texts))
        return path
    raw = data.encode()
    if kind.endswith(".gz"):
        # Two members, as files put together from shards have.
        raw = gzip.compress(raw[:7]) + gzip.compress(raw[7:])
    elif kind.endswith(".bz2"):
        raw = bz2.compress(raw)
    elif kind.endswith(".zst"):
        raw = pa.compress(raw, "zstd", asbytes=True)
    path.write_bytes(raw)
    return path


def texts_of(dataset, start_row: int = 0) -> list[str]:
    rows = list(dataset.rows(start_row))
    assert [row for row, _ in rows] == list(range(start_row, start_row + len(rows)))
    return [text for _, text in rows]


class TestPydoc:
    def test_a_text_a_topic_in_order(self):
        dataset = open_dataset("pydoc")
        topics = pydoc_data.topics.topics
        assert texts_of(dataset) == [topics[topic] for topic in sorted(topics)]
        assert (dataset.name, dataset.config, dataset.split, dataset.text_column) == ("pydoc", None, None, "text")
        assert dataset.n_rows == len(topics)
        assert dataset.invalid_utf8_rows == 0

    def test_the_same_each_time(self):
        assert open_dataset("pydoc") == open_dataset("pydoc", split=None)

    def test_python_without_it(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
        with pytest.raises(DatasetError, match=r"comes with Python .* packaged without it. Give --dataset a file"):
            open_dataset("pydoc")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"split": "test"}, "'pydoc' has no splits, but split 'test' was asked for. Leave out --split"),
            ({"config": "en"}, "'pydoc' is not on the Hub and has no configs, but config 'en' was asked for."),
            ({"revision": "v1"}, "'pydoc' is not on the Hub and has no revisions, but revision 'v1' was asked for."),
            ({"text_column": "body"}, "The dataset 'pydoc' has no column 'body'; it has 'text'. Choose one with"),
        ],
    )
    def test_refuses(self, options, message):
        with pytest.raises(DatasetError) as error:
            open_dataset("pydoc", **options)
        assert message in str(error.value)


class TestLocalFiles:
    @pytest.mark.parametrize(
        "name",
        [f"d.{kind}" for kind in ("parquet", "jsonl", "json", "csv", "tsv", "jsonl.gz", "jsonl.bz2", "jsonl.zst")],
    )
    def test_every_format_has_the_same_texts_and_fingerprint(self, tmp_path, name):
        dataset = open_dataset(str(write(tmp_path / name, TEXTS)))
        assert texts_of(dataset) == TEXTS
        assert texts_of(dataset, 3) == TEXTS[3:]
        assert texts_of(dataset, 9) == []
        assert (dataset.name, dataset.split, dataset.n_rows, dataset.invalid_utf8_rows) == (name, "train", 5, 0)
        assert dataset.fingerprint == scan([to_arrow(TEXTS)]).fingerprint

    @pytest.mark.parametrize("kind", ["csv", "txt"])
    def test_compressed(self, tmp_path, kind):
        path = write(tmp_path / f"d.{kind}", ["one", "two"])
        (tmp_path / f"e.{kind}.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert texts_of(open_dataset(str(tmp_path / f"e.{kind}.gz"))) == ["one", "two"]

    def test_a_line_of_plain_text_is_a_text_as_in_datasets(self, tmp_path):
        path = tmp_path / "d.txt"
        path.write_bytes("one\r\n\n  three\u2028 still\x0b three \nfour".encode())
        theirs = datasets.load_dataset("text", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        assert texts_of(open_dataset(str(path))) == theirs["text"][:]

    def test_byte_order_mark_is_not_text(self, tmp_path):
        for name, data in (("d.txt", "one\n"), ("d.jsonl", '{"text": "one"}\n'), ("d.csv", "text\none\n")):
            (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + data.encode())
            assert texts_of(open_dataset(str(tmp_path / name))) == ["one"]

    def test_many_batches_and_another_column(self, tmp_path):
        texts = [f"text {i}" for i in range(1300)]
        path = tmp_path / "d.parquet"
        pq.write_table(pa.table({"body": pa.array(texts).dictionary_encode()}), path)
        dataset = open_dataset(str(path), text_column="body")
        assert texts_of(dataset, 511) == texts[511:]
        assert [len(batch.texts) for batch in dataset.row_batches()] == [256] * 5 + [20]

    @pytest.mark.parametrize("kind", ["parquet", "jsonl"])
    def test_null_is_the_empty_text_but_another_fingerprint(self, tmp_path, kind):
        nulls = open_dataset(str(write(tmp_path / f"n.{kind}", ["a", None, "b"])))
        empty = open_dataset(str(write(tmp_path / f"e.{kind}", ["a", "", "b"])))
        assert texts_of(nulls) == texts_of(empty) == ["a", "", "b"]
        assert nulls.fingerprint != empty.fingerprint

    def test_json_rows_without_the_column_are_null_and_blank_lines_are_no_rows(self, tmp_path):
        path = tmp_path / "d.jsonl"
        path.write_text('{"text": "a"}\n\n{"other": 1}\n  \n{"text": "b", "other": "now text"}')
        assert texts_of(open_dataset(str(path))) == ["a", "", "b"]

    def test_directory_and_glob_read_files_in_order_of_name(self, tmp_path):
        folder = tmp_path / "shards"
        folder.mkdir()
        for name, texts in (("b.jsonl", ["2"]), ("a.jsonl", ["0", "1"]), ("c.jsonl.gz", ["3"])):
            write(folder / name, texts)
        (folder / "README.md").write_text("not data")
        for name in (str(folder), str(folder / "*.jsonl*")):
            dataset = open_dataset(name)
            assert texts_of(dataset) == ["0", "1", "2", "3"]
            assert texts_of(dataset, 2) == ["2", "3"]
        assert open_dataset(str(folder)).name == "shards"

    def test_folder_of_save_to_disk(self, tmp_path):
        data = datasets.Dataset.from_dict({"text": TEXTS})
        data.save_to_disk(tmp_path / "one")
        datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "two")
        one = open_dataset(str(tmp_path / "one"))
        assert (texts_of(one), one.name) == (TEXTS, "one")
        assert texts_of(open_dataset(str(tmp_path / "two"), split="test")) == TEXTS[:1]
        with pytest.raises(DatasetError, match=r"'two' has no split 'dev': expected one of \['train', 'test'\]"):
            open_dataset(str(tmp_path / "two"), split="dev")
        (tmp_path / "one" / "state.json").write_text("{")
        with pytest.raises(DatasetError, match=r"cannot be read by datasets.load_from_disk"):
            open_dataset(str(tmp_path / "one"))

    @pytest.mark.parametrize(
        ("name", "raw", "message"),
        [
            ("d.jsonl", b'{"text": "a"}\n{"text"\n', "Line 2 of 'd.jsonl' is not JSON: Expecting ':' delimiter"),
            ("d.jsonl", b'{"text": "a"}\n[1, 2]\n', "Line 2 of 'd.jsonl' is [1, 2], expected an object of columns."),
            ("d.json", b'[{"text": "a"}, 3]', "Element 2 of 'd.json' is 3, expected an object of columns."),
            ("d.json", b'[{"text": "a"}', "The file 'd.json' is not JSON: "),
            ("d.json", b'{\n "text": "a"\n}', "Expected one object a line, or one array."),
            ("d.jsonl", b'{"text": 5}', "The column 'text' of 'd.jsonl' is of type number, expected string."),
            ("d.jsonl", b'{"text": {}}', "The column 'text' of 'd.jsonl' is of type object, expected string."),
            ("d.jsonl", b'{"a": 1}\n{"b": 1}', "'d.jsonl' has no column 'text'; it has 'a', 'b'. Choose one with"),
            ("d.csv", b"a,b\n1,2\n", "The file 'd.csv' has no column 'text'; it has 'a', 'b'. Choose one with --text-"),
            ("d.csv", b"a,text\n1,2\n1,2,3\n", "The file 'd.csv' cannot be read: CSV parse error: "),
            ("d.parquet", b"nothing of the sort", "The file 'd.parquet' cannot be read: Parquet magic bytes not found"),
            ("d.txt.gz", gzip.compress(b"hello" * 99, mtime=0)[:-9], "The file 'd.txt.gz' cannot be read: "),
            ("d.txt", b"", "The dataset 'd.txt' has no rows. Expected at least one text."),
            ("d.jsonl", b"\n", "The dataset 'd.jsonl' has no rows."),
            ("d.csv", b"text\n", "The dataset 'd.csv' has no rows."),
            ("d.csv", b"", "The file 'd.csv' cannot be read: Empty CSV file. Check that it is whole."),
            ("d.docx", b"", "ends in '.docx': expected one of .parquet, .jsonl, .json, .csv, .tsv, .txt (all but .par"),
            ("d.parquet.gz", b"", "ends in '.gz': expected one of .parquet"),
        ],
    )
    def test_refuses_what_it_cannot_read(self, tmp_path, name, raw, message):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(DatasetError) as error:
            open_dataset(str(tmp_path / name))
        assert message in str(error.value)

    def test_column_missing_from_a_long_file_is_found_out_early(self, tmp_path):
        path = tmp_path / "d.jsonl"
        path.write_text('{"body": "x"}\n' * 2000 + "not json")
        with pytest.raises(DatasetError, match="has no column 'text'; it has 'body'"):
            open_dataset(str(path))

    def test_columns_of_parquet(self, tmp_path):
        path = tmp_path / "d.parquet"
        pq.write_table(pa.table({"n": [1], "raw": [b"x"]}), path)
        for column, message in [
            ("text", "The file 'd.parquet' has no column 'text'; it has 'n', 'raw'. Choose one with --text-column."),
            (
                "n",
                "The column 'n' of 'd.parquet' is of type int64, expected string. Choose another with --text-column.",
            ),
            ("raw", "The column 'raw' of 'd.parquet' is of type binary, expected string."),
        ]:
            with pytest.raises(DatasetError) as error:
                open_dataset(str(path), text_column=column)
            assert message in str(error.value)

    def test_empty_parquet(self, tmp_path):
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "d.parquet")
        with pytest.raises(DatasetError, match=r"'d.parquet' has no rows"):
            open_dataset(str(tmp_path / "d.parquet"))

    def test_refuses_paths_to_nothing(self, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "mixed").mkdir()
        write(tmp_path / "mixed" / "a.csv", ["a"])
        write(tmp_path / "mixed" / "b.txt", ["b"])
        for name, message in [
            (str(tmp_path / "no.jsonl"), "no.jsonl'. Check the path given to --dataset."),
            ("no.csv.gz", "There is no file 'no.csv.gz'. Check the path given to --dataset."),
            ("./nothing", "There is no file './nothing'."),
            (str(tmp_path / "empty"), "expected files ending in .parquet, .jsonl, .json, .csv, .tsv, .txt"),
            (str(tmp_path / "*.csv"), "There is no data file at"),
            (str(tmp_path / "mixed"), "holds files of several formats (.csv, .txt). Name one, as in '*.csv'."),
        ]:
            with pytest.raises(DatasetError) as error:
                open_dataset(name)
            assert message in str(error.value)

    def test_refuses_options_of_the_hub(self, tmp_path):
        path = str(write(tmp_path / "d.txt", ["a"]))
        with pytest.raises(DatasetError, match="has no splits, but split 'test' was asked for"):
            open_dataset(path, split="test")
        with pytest.raises(DatasetError, match="has no configs, but config 'en' was asked for"):
            open_dataset(path, config="en")
        with pytest.raises(DatasetError, match=r"'d.txt' has no column 'body'; it has 'text'"):
            open_dataset(path, text_column="body")

    def test_negative_start_row(self):
        with pytest.raises(ValueError, match="start_row is -1, expected 0 or more"):
            next(open_dataset("pydoc").rows(-1))


class TestInvalidUtf8:
    BAD = b"caf\xe9 \xff"
    MENDED = "caf\ufffd \ufffd"

    def check(self, path: Path):
        dataset = open_dataset(str(path))
        assert texts_of(dataset) == ["good é", self.MENDED, "last"]
        assert dataset.invalid_utf8_rows == 1
        assert [batch.invalid_utf8 for batch in dataset.row_batches()] == [[1]]
        assert [batch.invalid_utf8 for batch in dataset.row_batches(1)] == [[1]]
        assert dataset.fingerprint == scan([to_arrow(["good é", self.MENDED, "last"])]).fingerprint

    def test_text(self, tmp_path):
        (tmp_path / "d.txt").write_bytes("good é\n".encode() + self.BAD + b"\nlast\n")
        self.check(tmp_path / "d.txt")

    def test_csv(self, tmp_path):
        (tmp_path / "d.csv").write_bytes("text\ngood é\n".encode() + self.BAD + b"\nlast\n")
        self.check(tmp_path / "d.csv")

    def test_csv_header(self, tmp_path):
        (tmp_path / "d.csv").write_bytes(b"n,t\xff\n1,\xff\n")
        with pytest.raises(DatasetError, match=r"Reading the dataset 'd.csv' failed after row 0: 'utf-8' codec can't"):
            open_dataset(str(tmp_path / "d.csv"))

    @pytest.mark.parametrize("layout", ["%s\n%s\n%s\n", "[%s, %s, %s]"])
    def test_json(self, tmp_path, layout):
        rows = tuple(b'{"text": "' + raw + b'"}' for raw in ("good é".encode(), self.BAD, b"last"))
        (tmp_path / "d.json").write_bytes(layout.encode() % rows)
        self.check(tmp_path / "d.json")

    def test_parquet(self, tmp_path):
        raw = pa.array(["good é".encode(), self.BAD, b"last"])
        array = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
        pq.write_table(pa.table({"text": array}), tmp_path / "d.parquet")
        self.check(tmp_path / "d.parquet")

    def test_lone_surrogates_of_json(self, tmp_path):
        rows = [r"a\ud800b", r"\udc00", r"\ude00\ud83d", r"\ud83d\ude00 fine"]
        (tmp_path / "d.jsonl").write_text("".join(f'{{"text": "{row}"}}\n' for row in rows))
        dataset = open_dataset(str(tmp_path / "d.jsonl"))
        assert texts_of(dataset) == ["a\ufffdb", "\ufffd", "\ufffd\ufffd", "😀 fine"]
        assert dataset.invalid_utf8_rows == 3

    @given(st.lists(st.none() | st.binary(max_size=12), max_size=8))
    def test_bytes_come_out_as_python_decodes_them(self, raw):
        want = [text if text is None else text.decode("utf-8", "replace") for text in raw]
        escaped = [text if text is None else text.decode("utf-8", "surrogateescape") for text in raw]
        for array in (pa.array(raw, pa.large_binary()), to_arrow(escaped)):
            texts, invalid = clean(array)
            assert texts.to_pylist() == want
            assert invalid == [i for i, text in enumerate(escaped) if text is not None and text != want[i]]


class TestFingerprint:
    @given(st.lists(st.none() | st.text(max_size=9), max_size=20), st.lists(st.integers(0, 20), max_size=4))
    def test_follows_its_definition_however_the_texts_are_cut(self, texts, cuts):
        array = to_arrow(texts)
        edges = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
        pieces = [array[a:b] for a, b in itertools.pairwise(edges)]
        texts = array.to_pylist()
        lengths = b"".join((-1 if t is None else len(t.encode())).to_bytes(8, "little", signed=True) for t in texts)
        data = "".join(text or "" for text in texts).encode()
        want = xxhash.xxh3_128(xxhash.xxh3_128(lengths).digest() + xxhash.xxh3_128(data).digest()).hexdigest()
        assert scan(pieces).fingerprint == want
        assert len(want) == 32

    def test_bytes_under_a_null_do_not_count(self):
        valid = pa.array([True, False, True]).buffers()[1]
        hidden = pa.array(["a", "xyz", "b"], pa.large_string())
        array = pa.Array.from_buffers(pa.large_string(), 3, [valid, *hidden.buffers()[1:]])
        assert scan([array]).fingerprint == scan([to_arrow(["a", None, "b"])]).fingerprint

    def test_tells_apart_where_texts_end(self):
        prints = [scan([to_arrow(texts)]).fingerprint for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""])]
        assert len(set(prints)) == 4


class TestHub:
    """No network: `load_dataset` is replaced by what it would return, or raise."""

    @pytest.fixture
    def hub(self, monkeypatch):
        """Make load_dataset return (or raise) what `hub(result)` says; returns the calls it gets."""
        calls = []

        def answer(result):
            def load_dataset(*args, **kwargs):
                calls.append((args, kwargs))
                if isinstance(result, Exception):
                    raise result
                return result

            monkeypatch.setattr(datasets, "load_dataset", load_dataset)
            return calls

        def dataset_info(self, repo_id, *, revision=None, timeout=None):
            raise ConnectionError("offline")

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
        return answer

    def test_calls_load_dataset_as_documented(self, hub):
        calls = hub(datasets.Dataset.from_dict({"body": TEXTS, "n": range(5)}))
        dataset = open_dataset("org/web", config="en", split="train[:5]", text_column="body", revision="v2")
        assert calls == [(("org/web", "en"), {"split": "train[:5]", "revision": "v2", "streaming": False})]
        assert texts_of(dataset) == TEXTS
        assert texts_of(dataset, 3) == TEXTS[3:]
        assert texts_of(dataset, 7) == []
        assert (dataset.name, dataset.config, dataset.split, dataset.n_rows) == ("org/web", "en", "train[:5]", 5)

    def test_the_content_is_the_fingerprint(self, hub, tmp_path):
        hub(datasets.Dataset.from_dict({"text": [*TEXTS, None] * 400}))
        path = write(tmp_path / "d.jsonl", [*TEXTS, None] * 400)
        assert open_dataset("org/web").fingerprint == open_dataset(str(path)).fingerprint

    def test_selected_and_large_string_rows(self, hub):
        data = datasets.Dataset(pa.table({"text": pa.array(TEXTS, pa.large_string())})).select([4, 0, 0])
        hub(data)
        assert texts_of(open_dataset("org/web")) == [TEXTS[4], TEXTS[0], TEXTS[0]]

    @pytest.mark.parametrize("typed", [True, False])
    def test_stream(self, hub, typed):
        texts = ["x", None, *(f"text {i}" for i in range(600))]
        if typed:
            stream = datasets.Dataset.from_dict({"text": texts, "n": range(602)}).to_iterable_dataset()
        else:
            stream = datasets.IterableDataset.from_generator(lambda: ({"text": text, "n": 0} for text in texts))
            assert stream.features is None
        calls = hub(stream)
        dataset = open_dataset("org/web", stream=True)
        assert calls == [(("org/web", None), {"split": "train", "revision": None, "streaming": True})]
        want = [text or "" for text in texts]
        assert texts_of(dataset) == want
        assert texts_of(dataset, 300) == want[300:]
        assert (dataset.n_rows, dataset.invalid_utf8_rows) == (None, None)

    def test_invalid_utf8_in_a_streamed_parquet_file(self, hub, tmp_path):
        raw = pa.array([b"fine", b"caf\xe9"])
        pq.write_table(pa.table({"text": pa.Array.from_buffers(pa.string(), 2, raw.buffers())}), tmp_path / "d.parquet")
        files = str(tmp_path / "d.parquet")
        hub(datasets.load_dataset("parquet", data_files=files, split="train", streaming=True))
        dataset = open_dataset("org/web", stream=True)
        assert texts_of(dataset) == ["fine", "caf\ufffd"]
        assert next(dataset.row_batches()).invalid_utf8 == [1]

    def test_lone_surrogates_in_a_stream(self, hub):
        hub(datasets.IterableDataset.from_generator(lambda: iter([{"text": "a\ud800"}, {"text": "b"}])))
        dataset = open_dataset("org/web", stream=True)
        assert texts_of(dataset) == ["a\ufffd", "b"]
        assert next(dataset.row_batches()).invalid_utf8 == [0]

    def test_fingerprint_of_a_stream_is_its_identity(self, hub, monkeypatch):
        def fingerprint(**options):
            hub(datasets.Dataset.from_dict({"text": ["a"], "body": ["a"]}).to_iterable_dataset())
            return open_dataset("org/web", stream=True, **options).fingerprint

        offline = [fingerprint(), fingerprint(revision="v1"), fingerprint(config="en"), fingerprint(text_column="body")]
        assert offline == [
            xxhash.xxh3_128_hexdigest(json.dumps(identity).encode())
            for identity in (
                ["org/web", None, "train", "text", ""],
                ["org/web", None, "train", "text", "v1"],
                ["org/web", "en", "train", "text", ""],
                ["org/web", None, "train", "body", ""],
            )
        ]
        asked = []

        def dataset_info(self, repo_id, *, revision=None, timeout=None):
            asked.append((repo_id, revision))
            return huggingface_hub.DatasetInfo(id=repo_id, sha="c0ffee", tags=[], downloads=0, likes=0, private=False)

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
        assert fingerprint(revision="main") == fingerprint()
        assert fingerprint() not in offline
        assert asked[0] == ("org/web", "main")

    def test_rows_that_the_hub_declares(self, hub):
        stream = datasets.Dataset.from_dict({"text": ["a"]}).to_iterable_dataset()
        stream.info.splits = datasets.SplitDict({"train": datasets.SplitInfo("train", num_examples=17)})
        hub(stream)
        assert open_dataset("org/web", stream=True).n_rows == 17

    def test_no_split_asked_for(self, hub):
        data = datasets.Dataset.from_dict({"text": ["a"]})
        hub(datasets.DatasetDict({"validation": data}))
        assert open_dataset("org/web", split=None).split == "validation"
        hub(datasets.DatasetDict({"train": data, "test": data}))
        with pytest.raises(DatasetError, match=r"has several splits: expected one of \['train', 'test'\]. Choose it"):
            open_dataset("org/web", split=None)

    @pytest.mark.parametrize(
        "cause",
        [
            ConnectionError("Couldn't reach 'org/web' on the Hub (OfflineModeIsEnabled)"),
            DatasetNotFoundError("Dataset 'org/web' doesn't exist on the Hub or cannot be accessed."),
            RuntimeError("Dataset scripts are no longer supported, but found web.py"),
        ],
    )
    def test_what_the_hub_refuses(self, hub, cause):
        hub(cause)
        with pytest.raises(DatasetError) as error:
            open_dataset("org/web", config="en", revision="v1")
        assert error.value.__cause__ is cause
        assert str(error.value) == (
            f"The dataset 'org/web' cannot be loaded: {str(cause).rstrip('.')}. There is no local file of that name "
            "either. Tried datasets.load_dataset('org/web', 'en', split='train', revision='v1'). Check the spelling, "
            "the network (and that HF_HUB_OFFLINE is not set), and for gated or private datasets log in with "
            "`hf auth login`; `--dataset pydoc` needs no network."
        )

    @pytest.mark.parametrize(
        "message",
        [
            "Unknown split \"trian\". Should be one of ['train', 'test'].",
            "Bad split: trian. Available splits: ['train', 'test']",
        ],
    )
    def test_unknown_split(self, hub, message):
        hub(ValueError(message))
        with pytest.raises(DatasetError) as error:
            open_dataset("org/web", split="trian")
        assert str(error.value) == (
            "The dataset 'org/web' has no split 'trian': expected one of ['train', 'test']. Choose it with --split."
        )

    @pytest.mark.parametrize("stream", [False, True])
    def test_columns(self, hub, stream):
        data = datasets.Dataset.from_dict({"n": [1], "answers": [["x"]]})
        hub(data.to_iterable_dataset() if stream else data)
        for column, message in [
            (
                "text",
                "The dataset 'org/web' has no column 'text'; it has 'n', 'answers'. Choose one with --text-column.",
            ),
            ("n", "The column 'n' of 'org/web' is of type int64, expected string. Choose another with --text-column."),
            ("answers", "The column 'answers' of 'org/web' is of type List(Value('string')), expected string."),
        ]:
            with pytest.raises(DatasetError) as error:
                open_dataset("org/web", text_column=column, stream=stream)
            assert message in str(error.value)

    def test_columns_of_an_untyped_stream(self, hub):
        hub(datasets.IterableDataset.from_generator(lambda: iter([{"n": 1}])))
        with pytest.raises(DatasetError, match="has no column 'text'; it has 'n'"):
            open_dataset("org/web", stream=True)
        with pytest.raises(DatasetError, match="The column 'n' of 'org/web' is of type int, expected string"):
            open_dataset("org/web", stream=True, text_column="n")

    def test_no_rows(self, hub):
        empty = datasets.Dataset(pa.table({"text": pa.array([], pa.string())}))
        hub(empty)
        with pytest.raises(DatasetError, match=r"'org/web' has no rows. Expected at least one text"):
            open_dataset("org/web")
        hub(datasets.IterableDataset.from_generator(lambda: iter([])))
        with pytest.raises(DatasetError, match=r"'org/web' has no rows. Choose another split with --split"):
            open_dataset("org/web", stream=True)

    def test_stream_that_breaks(self, hub):
        def rows(n_good):
            yield from ({"text": "a"} for _ in range(n_good))
            raise OSError("connection reset")

        hub(datasets.IterableDataset.from_generator(rows, gen_kwargs={"n_good": 256}))
        dataset = open_dataset("org/web", stream=True)
        with pytest.raises(DatasetError, match="Reading the dataset 'org/web' failed after row 256: connection reset"):
            list(dataset.rows())
        hub(datasets.IterableDataset.from_generator(rows, gen_kwargs={"n_good": 0}))
        with pytest.raises(DatasetError, match=r"'org/web' cannot be streamed: connection reset. Try again"):
            open_dataset("org/web", stream=True)
