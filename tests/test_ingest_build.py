"""A whole run: same rows twice, parts add up, nothing half-written, and errors that say what to do."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import duckdb
import pytest
import torch
import transformers as hf
from rich.console import Console

from atlas.core.errors import AtlasError, SlugError
from atlas.core.files import OutputFileError, publish
from ingest.activations.reader import Reader
from ingest.errors import ActivationError, DatasetError, ModelError, OptionError, OutputError
from ingest.file import checks
from ingest.file.checks import bytes_per_table, check_file
from ingest.file.writer import AtlasWriter
from ingest.process.settings import Settings, parse_range
from ingest.run.build import build
from ingest.run.summary import print_report
from tests import tiny
from tests.conftest import Built, build_tiny
from tests.disk import Disk


def rows(atlas: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(atlas), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def tables(atlas: Path) -> list[str]:
    return [name for (name,) in rows(atlas, "SELECT table_name FROM duckdb_tables() ORDER BY 1")]


@pytest.fixture
def options(built_llama: Built) -> dict:
    return {"context_length": built_llama.context_length, "overflow": built_llama.overflow}


def test_same_inputs_same_rows(built_llama: Built, options: dict, tmp_path: Path) -> None:
    again = build_tiny(tmp_path, built_llama.model, built_llama.dataset, "tiny-llama", **options)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{again}' AS a (READ_ONLY); ATTACH '{built_llama.atlas}' AS b (READ_ONLY)")
        for table in tables(again):
            skip = "EXCLUDE (built_at, command)" if table == "atlas" else ""
            query = f'SELECT * {skip} FROM {{}}."{table}"'
            for one, other in (("a", "b"), ("b", "a")):
                difference = f"SELECT count(*) FROM ({query.format(one)} EXCEPT ALL {query.format(other)})"
                assert connection.execute(difference).fetchone() == (0,), table
    assert rows(again, "SELECT build_id FROM atlas") == rows(built_llama.atlas, "SELECT build_id FROM atlas")


def test_batch_size_changes_no_count_and_no_list(built_llama: Built, options: dict, tmp_path: Path) -> None:
    """Batches of one text: other GEMM shapes, so floats to rounding and counts up to bin edges."""
    again = build_tiny(tmp_path, built_llama.model, built_llama.dataset, "tiny-llama", batch_size=1, **options)
    for sql in ("SELECT token_id, n_input, n_actual, n_predicted FROM token ORDER BY 1", "FROM candidate_pair"):
        assert not set(rows(again, sql)) ^ set(rows(built_llama.atlas, sql))
    examples = "SELECT neuron_id, kind, rank, activation FROM example WHERE kind <> 'interval' ORDER BY ALL"
    for one, other in zip(rows(again, examples), rows(built_llama.atlas, examples), strict=True):
        assert one[:3] == other[:3]
        assert one[3] == pytest.approx(other[3], abs=5e-4)
    histogram = "SELECT neuron_id, bin, n FROM activation_histogram ORDER BY ALL"
    one, other = ({(n, b): c for n, b, c in rows(a, histogram)} for a in (again, built_llama.atlas))
    moved = sum(abs(one.get(cell, 0) - other.get(cell, 0)) for cell in one.keys() | other.keys())
    assert moved <= 6


def test_parts_add_up(built_llama: Built, options: dict, tmp_path: Path) -> None:
    """`--texts A:B` keeps global ids; the counts of two parts are those of the whole."""
    first = build_tiny(tmp_path, built_llama.model, built_llama.dataset, "first", last_text=90, **options)
    second = build_tiny(tmp_path, built_llama.model, built_llama.dataset, "second", first_text=90, **options)
    whole = built_llama.atlas
    for sql in (
        "SELECT n_positions FROM atlas",
        "SELECT sum(n_input * token_id) FROM token",
        "SELECT sum(n_predicted), sum(n_actual) FROM prediction_histogram",
    ):
        parts = [rows(part, sql)[0] for part in (first, second)]
        assert tuple(sum(values) for values in zip(*parts, strict=True)) == rows(whole, sql)[0]
    assert rows(first, 'SELECT max(text_id) < 90 FROM "text"') == [(True,)]
    assert rows(second, 'SELECT min(text_id) >= 90 FROM "text"') == [(True,)]
    assert rows(second, "SELECT first_text, n_texts FROM atlas") == [
        (90, rows(whole, "SELECT n_texts FROM atlas")[0][0] - 90)
    ]
    by_id = 'SELECT text_id, source_row, chunk, token_ids FROM "text" ORDER BY 1'
    everything = {row[0]: row for row in rows(whole, by_id)}
    shared = [row for row in rows(second, by_id) if row[0] in everything]
    assert shared
    assert all(everything[row[0]] == row for row in shared)
    prints = {rows(atlas, "SELECT dataset_fingerprint FROM atlas")[0] for atlas in (first, second, whole)}
    assert len(prints) == 1


def test_bfloat16_blocks(built_llama: Built, options: dict, tmp_path: Path) -> None:
    """Weights and congruence stay float32; activations are near those of float32."""
    atlas = build_tiny(tmp_path, built_llama.model, built_llama.dataset, "half", dtype="bfloat16", **options)
    assert rows(atlas, "SELECT dtype FROM atlas") == [("bfloat16",)]
    for table in ("neuron_token", "token_neuron", "exclusive_pair", "neuron_weight"):
        same = f"SELECT md5(string_agg(t::VARCHAR, '|' ORDER BY t::VARCHAR)) FROM {table} AS t"
        assert rows(atlas, same) == rows(built_llama.atlas, same)
    stds = "SELECT activation_std FROM neuron ORDER BY neuron_id"
    for (half,), (full,) in zip(rows(atlas, stds), rows(built_llama.atlas, stds), strict=True):
        assert half == pytest.approx(full, rel=0.1)


def test_counting_bos(built_gpt2: Built, tmp_path: Path) -> None:
    atlas = build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "bos", context_length=40, count_bos=True)
    ((n_texts, n_positions, counted),) = rows(atlas, "SELECT n_texts, n_positions, bos_counted FROM atlas")
    ((without,),) = rows(built_gpt2.atlas, "SELECT n_positions FROM atlas")
    assert counted
    assert n_positions == without + n_texts
    bos = rows(atlas, "SELECT n_input FROM token WHERE special")
    assert bos == [(n_texts,)]
    assert rows(atlas, "SELECT count(*) > 0 FROM example WHERE position = 0 AND window_start = 0") == [(True,)]


def test_without_weights(built_gpt2: Built, tmp_path: Path) -> None:
    atlas = build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "light", context_length=40, weights=False)
    assert rows(atlas, "SELECT has_weights FROM atlas") == [(False,)]
    assert rows(atlas, "SELECT (SELECT count(*) FROM neuron_weight) + (SELECT count(*) FROM token_weight)") == [(0,)]
    assert not set(rows(atlas, "FROM neuron_token")) ^ set(rows(built_gpt2.atlas, "FROM neuron_token"))


def test_max_texts(built_gpt2: Built, tmp_path: Path) -> None:
    atlas = build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "few", context_length=40, max_texts=3)
    assert rows(atlas, "SELECT n_texts FROM atlas") == [(3,)]


def test_chosen_pairs_are_counted(built_gpt2: Built, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("neuron,token\nL1N3, an\n\n0.7,42\n", encoding="utf-8")
    atlas = build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "chosen", context_length=40, pairs=file)
    found = rows(
        atlas,
        'SELECT n.name, t."text", c.token_id FROM candidate_pair AS c JOIN neuron AS n USING (neuron_id) '
        "JOIN token AS t USING (token_id) WHERE list_contains(string_split(source, ','), 'user') ORDER BY 1",
    )
    assert [(name, text if name == "L1N3" else token) for name, text, token in found] == [("L0N7", 42), ("L1N3", " an")]
    exact = rows(
        atlas,
        "SELECT max(abs(c.congruence - list_dot_product(w.w_out::FLOAT[], r.readout::FLOAT[]))) "
        "FROM candidate_pair AS c JOIN neuron_weight AS w USING (neuron_id) JOIN token_weight AS r USING (token_id)",
    )
    assert exact[0][0] < 1e-5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("L9N0,3", "Line 1 of .*There is no layer 9: this model has layers 0 to 1"),
        ("L0N0,99999", r"Line 1 of .*'99999' is no token; write a token's text or an id from 0 to"),
        ("L0N0, nosuchtoken", "' nosuchtoken' is no token"),
        ("L0N0", "Line 1 of .*has 1 fields, expected two"),
        ("hello,3", "'hello' is not a neuron name"),
    ],
)
def test_bad_pairs_are_refused_before_any_work(built_gpt2: Built, tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(OptionError, match=message):
        build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "bad", pairs=file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.csv"]


def test_an_existing_file_is_kept_unless_forced(built_gpt2: Built, tmp_path: Path) -> None:
    out = tmp_path / "kept.duckdb"
    out.write_text("mine")
    with pytest.raises(OutputFileError, match=r"kept\.duckdb' exists already.*--force"):
        build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "kept")
    assert out.read_text() == "mine"
    build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "kept", context_length=40, force=True)
    assert rows(out, "SELECT slug FROM atlas") == [("kept",)]
    assert not out.stat().st_mode & 0o222, "a published file is read-only"


def test_a_finished_run_is_not_lost_to_a_file_that_appeared(
    built_gpt2: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.run.publish.check_file", lambda *_: (tmp_path / "race.duckdb").write_text("theirs"))
    build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "race", context_length=40)
    assert (tmp_path / "race.duckdb").read_text() == "theirs"
    (ours,) = [path for path in tmp_path.iterdir() if path.name != "race.duckdb"]
    assert rows(ours, "SELECT 'race-' || build_id || '.duckdb' FROM atlas") == [(ours.name,)]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rename before flush, and a loss of power leaves the name over an empty file where a whole one stood."""
    new, out = tmp_path / "new", tmp_path / "x.duckdb"
    new.write_text("new")
    out.write_text("old")
    disk = Disk(monkeypatch)
    publish(new, out)
    assert disk.did == [
        ("chmod", str(new), 0o444),
        ("fsync", str(new)),
        ("replace", str(new), str(out)),
        ("fsync", str(tmp_path)),
    ]
    assert out.read_text() == "new"


def test_a_written_atlas_is_published_in_that_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "it's.duckdb"
    with AtlasWriter(out, 4) as writer:
        writer.close()
        disk = Disk(monkeypatch)
        writer.publish(out)
    written = str(writer.path)
    assert disk.did == [
        ("chmod", written, 0o444),
        ("fsync", written),
        ("replace", written, str(out)),
        ("fsync", str(tmp_path)),
    ]
    assert rows(out, "SELECT count(*) FROM neuron") == [(0,)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interrupted_run_leaves_nothing(
    built_gpt2: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    out = tmp_path / "cut.duckdb"
    shutil.copy(built_gpt2.atlas, out)
    before = out.read_bytes()
    for place in ((Reader, "read"), (AtlasWriter, "close"), (AtlasWriter, "publish")):
        with monkeypatch.context() as patch:
            patch.setattr(*place, lambda *_: (_ for _ in ()).throw(error()))
            with pytest.raises(error):
                build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "cut", context_length=40, force=True)
        assert [path.name for path in tmp_path.iterdir()] == ["cut.duckdb"]
        assert out.read_bytes() == before


def test_infinite_activations_stop_the_run(built_llama: Built, tmp_path: Path) -> None:
    """Weights that are finite, activations that are not: layer, neuron, text and position are named."""
    folder = tmp_path / "model"
    net = hf.AutoModelForCausalLM.from_pretrained(built_llama.model)
    with torch.no_grad():
        net.model.layers[2].mlp.gate_proj.weight[5] = 1e25
        net.model.layers[2].mlp.up_proj.weight[5] = 1e25
    net.save_pretrained(folder)
    hf.AutoTokenizer.from_pretrained(built_llama.model).save_pretrained(folder)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ActivationError, match=r"L2N5 is -?inf at text \d+, position \d+.*--dtype float32"):
        build_tiny(work, folder, built_llama.dataset, "inf", context_length=24)
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"context_length": 4096}, OptionError, "--context-length 4096 is more than this model's 48 positions"),
        ({"device": "tpu"}, OptionError, "device 'tpu'"),
        ({"slug": "Not A Slug"}, SlugError, "'Not A Slug' is not allowed"),
        ({"slug": "api"}, SlugError, "'api' is reserved"),
        ({"text_column": "body"}, DatasetError, "body.*text"),
        ({"first_text": 10_000}, DatasetError, "no text with a token in column 'text' from text 10000 on"),
        ({"dataset": "no/such/dataset.jsonl"}, DatasetError, "no/such/dataset.jsonl"),
        ({"model": "no/such-model"}, ModelError, "'no/such-model' cannot be loaded"),
        ({"out": "missing/folder/x.duckdb"}, OutputFileError, "folder .*missing/folder.* does not exist"),
        ({"out": "."}, OutputFileError, "is a folder"),
    ],
)
def test_bad_options(built_gpt2: Built, tmp_path: Path, changes: dict, error: type, message: str) -> None:
    base = {"model": str(built_gpt2.model), "dataset": str(built_gpt2.dataset), "out": tmp_path / "x.duckdb"}
    if "out" in changes:
        changes = {"out": tmp_path / changes["out"]}
    with pytest.raises(error, match=message):
        build(Settings(**{**base, "slug": "x", **changes}), Console(file=io.StringIO()))
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_empty_texts(built_gpt2: Built, tmp_path: Path) -> None:
    dataset = tiny.save_texts(tmp_path / "empty.jsonl", ["", "", ""])
    with pytest.raises(DatasetError, match=r"no text with a token.*3 of 3 rows read were empty"):
        build_tiny(tmp_path, built_gpt2.model, dataset, "x")


@pytest.mark.parametrize(("text", "range_"), [(None, (0, None)), ("3:9", (3, 9)), (":9", (0, 9)), ("3:", (3, None))])
def test_text_ranges(text: str | None, range_: tuple) -> None:
    assert parse_range(text) == range_


@pytest.mark.parametrize("text", ["3", "a:b", "-1:4", "1:2:3"])
def test_text_ranges_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="expected A:B"):
        parse_range(text)


BREAKAGES = {
    "histogram": ("DELETE FROM activation_histogram WHERE neuron_id = 3 AND bin = 61", "histograms that do not sum"),
    "neuron": ("DELETE FROM neuron WHERE neuron_id = 3", "neurons missing"),
    "duplicate": ("INSERT INTO neuron_token SELECT * FROM neuron_token WHERE neuron_id = 3", "two rows of key"),
    "input": ("UPDATE token SET n_input = n_input + 1 WHERE token_id = 3", "input tokens that do not sum"),
    "predicted": ("UPDATE token SET n_predicted = n_predicted + 1 WHERE token_id = 3", "predicted tokens that do not"),
    "cells": ("UPDATE prediction_histogram SET n_predicted = 1000000 WHERE neuron_id = 3", "above the activation"),
    "candidate": ("DELETE FROM candidate_pair WHERE neuron_id = 3", "not candidates"),
    "text": ('DELETE FROM "text" WHERE text_id = (SELECT min(text_id) FROM example)', "text is missing"),
    "window": ("UPDATE example SET position = 1000 WHERE neuron_id = 3", "outside their text"),
    "extreme": ("UPDATE neuron SET activation_max = 1e9 WHERE neuron_id = 3", "extreme example"),
    "lowest": ("UPDATE neuron SET activation_min = -1e9 WHERE neuron_id = 3", "extreme example"),
    "token": ("DELETE FROM token WHERE token_id = 3", "tokens missing or out of range"),
    "not a candidate": (
        "; ".join(
            f"DELETE FROM {table} AS t USING (FROM exclusive_pair LIMIT 1) AS e "
            "WHERE (t.neuron_id, t.token_id) = (e.neuron_id, e.token_id)"
            for table in ("candidate_pair", "prediction_histogram", "pair_metric")
        ),
        "exclusive pairs that are not candidates",
    ),
    "no metric": ("DELETE FROM pair_metric WHERE neuron_id = 3", "pair metrics missing"),
    "metric's counts": ("UPDATE pair_metric SET n_actual = n_actual + 1 WHERE neuron_id = 3", "are not the token's"),
    "metric's positions": ("UPDATE pair_metric SET n_positions = 1 WHERE neuron_id = 3", "are not the token's"),
    **{
        f"bounds of {metric}_{end}": (
            f"UPDATE pair_metric SET {metric}_{end} = {value} WHERE {metric} IS NOT NULL",
            "outside their bounds",
        )
        for metric in (
            "average_precision_predicted",
            "average_precision_actual",
            "top_thousandth_predicted",
            "top_thousandth_actual",
        )
        for end, value in (("lower", 1.5), ("upper", -0.5))
    },
    "family": ("UPDATE family_histogram SET n_predicted = 0, n_actual = 0", "family cells below"),
    "example's window": ("UPDATE example SET window_start = position + 1 WHERE neuron_id = 3", "outside their text"),
    "effects": (
        "INSERT INTO pair_effect BY NAME SELECT neuron_id, token_id, 'positive' AS side, 'metric' AS chosen_by, "
        "1 AS n_positions, 0 AS activation_mean, 0 AS probability, 1 AS rank_median, 0 AS probability_change, "
        "0 AS rank_change, 0 AS logit_change, 0 AS direct_effect FROM candidate_pair "
        "WHERE neuron_id IN (3, 4) ORDER BY neuron_id DESC",
        "'pair_effect' is not sorted by neuron_id, token_id, side: see row",
    ),
    "order": (
        "CREATE TEMP TABLE t AS SELECT * FROM exclusive_pair ORDER BY rank; DELETE FROM exclusive_pair; "
        "INSERT INTO exclusive_pair SELECT * FROM t",
        "'exclusive_pair' is not sorted by direction, rank: see row",
    ),
}


@pytest.mark.parametrize("case", BREAKAGES)
def test_what_does_not_hold_together_is_not_published(tiny_llama_atlas: Path, tmp_path: Path, case: str) -> None:
    statement, message = BREAKAGES[case]
    broken = tmp_path / "broken.duckdb"
    shutil.copy(tiny_llama_atlas, broken)
    broken.chmod(0o644)
    with duckdb.connect(str(broken)) as connection:
        connection.execute(statement)
    with pytest.raises(OutputError, match=message):
        check_file(broken, {})


def test_every_table_has_a_key_that_is_checked(tiny_llama_atlas: Path) -> None:
    assert {*checks.KEYS, "atlas"} == set(tables(tiny_llama_atlas))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_a_file_cut_short_is_not_published(
    built_gpt2: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """As a disk would that loses the end of what it was given."""
    close = AtlasWriter.close

    def cut(writer: AtlasWriter) -> None:
        close(writer)
        os.truncate(writer.path, int(share * writer.path.stat().st_size))

    monkeypatch.setattr(AtlasWriter, "close", cut)
    with pytest.raises(OutputError, match=r"is not published"):
        build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, "cut", context_length=40)
    assert not list(tmp_path.iterdir())


def test_row_counts_are_checked(tiny_llama_atlas: Path) -> None:
    check_file(tiny_llama_atlas, {"neuron": 144})
    with pytest.raises(OutputError, match="'neuron' holds 144 rows, expected 145"):
        check_file(tiny_llama_atlas, {"neuron": 145})


def test_rows_the_schema_refuses(tmp_path: Path) -> None:
    with AtlasWriter(tmp_path / "x.duckdb", 4) as writer, pytest.raises(OutputError, match="table 'token_weight'"):
        writer.write("token_weight", {"token_id": [1], "readout": [None]})
    assert not list(tmp_path.iterdir())


def test_the_closing_report(built_gpt2: Built, tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100)
    settings = Settings(
        model=str(built_gpt2.model), dataset=str(built_gpt2.dataset), out=tmp_path / "r.duckdb", context_length=40
    )
    report = build(settings, console)
    print_report(report, console)
    text = out.getvalue()
    for expected in (
        "Congruence",
        "Activations",
        "tokens/s",
        "Best exclusive pairs",
        "1 empty",
        "truncated",
        "Memory",
        report.build_id,
        "neuron_weight",
    ):
        assert expected in text
    assert sum(bytes_per_table(report.out).values()) > 0
    assert rows(report.out, "SELECT slug FROM atlas") == [("model",)]
    pairs = rows(
        report.out,
        "SELECT neuron FROM pair WHERE NOT special AND n_actual > 0 AND direction = 'top' ORDER BY rank LIMIT 5",
    )
    assert all(name in text for (name,) in pairs)


def test_errors_are_all_atlas_errors() -> None:
    assert all(issubclass(e, AtlasError) for e in (ActivationError, DatasetError, ModelError, OptionError, OutputError))
