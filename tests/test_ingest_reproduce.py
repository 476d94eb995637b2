"""`atlas reproduce`: figures worked out the plain way on a random GPT-2 come out reproduced, altered ones do not."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner, Result

from atlas.cli.main import main
from atlas.core.names import parse_neuron
from ingest.errors import OptionError
from ingest.reproduce.atlas_values import NeuronCongruence
from ingest.reproduce.compare import Comparison, judge_comparisons
from ingest.reproduce.curves import Curve
from ingest.reproduce.figures import KINDS, Figure, Published, read_published
from ingest.reproduce.judge import judge
from ingest.reproduce.measurements import MEASURES
from tests import plain_reproduce, tiny
from tests.plain_reproduce import PlainFigures


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["reproduce", "an-neuron", *map(str, arguments)])


@dataclass(frozen=True)
class Case:
    """A model, its texts, its figures, and what the program made of them."""

    folder: Path
    published: dict
    plain: PlainFigures
    result: Result

    @property
    def atlas(self) -> Path:
        return self.folder / "a.duckdb"

    def again(self, folder: Path, published: dict, *arguments: object) -> tuple[Result, dict]:
        """Hold the same atlas against other figures; the report as JSON."""
        figures = folder / "figures.json"
        figures.write_text(json.dumps(published))
        result = run(
            "--figures",
            figures,
            "--atlas",
            self.atlas,
            "--model",
            self.folder / "model",
            "--report",
            folder,
            *(arguments or ("--dataset", self.folder / "texts.jsonl")),
        )
        return result, json.loads((folder / "a.an-neuron.json").read_text())


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("reproduce")
    model, texts = plain_reproduce.save_model(folder / "model"), tiny.make_texts(30, 3)
    dataset = tiny.save_texts(folder / "texts.jsonl", texts)
    plain = PlainFigures(model, texts)
    published = plain.published(dataset.name)
    (folder / "figures.json").write_text(json.dumps(published))
    result = run(
        "--figures", folder / "figures.json", "--model", model, "--dataset", dataset, "--out", folder / "a.duckdb"
    )
    return Case(folder, published, plain, result)


def test_every_kind_of_figure_is_reproduced(case: Case) -> None:
    assert case.result.exit_code == 0, case.result.output
    report = json.loads((case.folder / "a.an-neuron.json").read_text())
    wrong = [
        (f["id"], [v for v in f["values"] if not v["ok"]]) for f in report["figures"] if f["verdict"] != "reproduced"
    ]
    assert wrong == []
    assert {figure["kind"] for figure in case.published["figures"]} == set(KINDS)
    assert {f["measure"] for f in case.published["figures"] if f["kind"] == "number"} == set(MEASURES)
    n_values = {figure["id"]: len(figure["values"]) for figure in report["figures"]}
    assert n_values["lens"] == 2 * plain_reproduce.N_LAYERS + 1
    assert n_values["map_mlp_out"] == plain_reproduce.N_LAYERS * len(case.plain.ids["clean"])
    assert f"{len(report['figures'])} reproduced" in case.result.output


def test_the_planted_figures_say_something(case: Case) -> None:
    """Bins that hold predictions and bins that hold none, a hub, curves of more than a few bins."""
    for curve in (figure for figure in case.published["figures"] if figure["kind"] == "curve"):
        assert len(curve["bins"]) > 8
        assert 1 < sum(bool(numerator) for numerator, _ in curve["fractions"]) < len(curve["bins"])
    assert case.plain.data["predicted"][case.plain.answer] > 5


def test_the_posts_way_is_beside_the_models_own(case: Case) -> None:
    report = json.loads((case.folder / "a.an-neuron.json").read_text())
    both = {row["what"]: (row["post"], row["own"]) for row in report["both_ways"]}
    data, answer = case.plain.data, case.plain.answer
    assert data["predicted"][answer] != data["own"][answer]
    assert both["positions whose top prediction is 'a'"] == (data["predicted"][answer], data["own"][answer])
    post, own = both["logit lens at the end (without biases, with them)"]
    assert post == pytest.approx(case.plain.lens()["final_post"], abs=1e-4)
    assert own == pytest.approx(case.plain.plain.seen["clean"]["difference"], abs=1e-4)
    assert both["top prediction after the clean prompt"][1] == repr(
        case.plain.tokenizer.decode([case.plain.plain.seen["clean"]["logits"].argmax()])
    )
    (curve,) = [curve for curve in report["curves"] if curve["layer"] == plain_reproduce.LAYER]
    rows = {bin_: counts for bin_, *counts in curve["rows"]}
    bins = data["bins"][plain_reproduce.LAYER, 7]
    assert {bin_: counts[:2] for bin_, counts in rows.items()} == {b: [n, k] for b, (k, n) in bins.items()}
    assert sum(counts[3] for counts in rows.values()) == data["actual"][answer]
    markdown = (case.folder / "a.an-neuron.md").read_text()
    assert "## The post's conventions and the model's own" in markdown
    assert "## What differs" not in markdown


def test_the_study_is_recorded(case: Case) -> None:
    with duckdb.connect(str(case.atlas), read_only=True) as connection:
        assert connection.execute("SELECT name, patched_layers FROM study").fetchall() == [("an-neuron", [1])]
        (conventions,) = connection.execute(
            "SELECT readout, bos_counted, overflow, context_length, dtype FROM atlas"
        ).fetchall()
    assert conventions == ("embed", True, "truncate", plain_reproduce.CONTEXT, "float32")


def alter(figures: dict[str, dict]) -> dict[str, int]:
    """Change one value of every figure by more than it may differ; how many comparisons must then fail."""
    for figure in figures.values():
        if figure["kind"] == "number":
            figure["value"] += 2 * figure["tolerance"] + (figure["tolerance"] == 0)
        elif figure["kind"] == "lens":
            figure["values"][2] += 0.01
        elif figure["kind"] == "map":
            figure["values"][1][3] += 0.01
        elif figure["kind"] == "neurons":
            figure["top"][1][1] += 0.01
        elif figure["kind"] == "congruence":
            figure["std"] += 0.01
        elif figure["kind"] == "hubs":
            figure["rows"][2][1] += 1
        elif figure["kind"] == "curve":
            at = max(range(len(figure["bins"])), key=lambda i: figure["fractions"][i][1] or 0)
            figure["fractions"][at][0] += 1
    figures["plain_clean"]["top"][1][1] += 0.1
    figures["plain_corrupt"]["top"][1][2] += 0.01
    figures["negated_activation_clean"]["top"][2][2] += 0.01
    figures["negated_activation_corrupt"]["top"][3][2] += 0.01
    figures["negated_w_in_clean"]["top"][0][0] += 1
    figures["negated_w_in_corrupt"]["top"][0][1] -= 0.1
    rows = figures["pairs"]["rows"]
    rows[0]["score"] += 0.01
    rows[1]["second_neuron"] = "L0N0"
    rows[2]["neuron"] = "L0N39"
    more = {"pairs": 3, "negated_activation_corrupt": 2, "negated_w_in_clean": 2}
    return {id_: more.get(id_, 1) for id_ in figures}


def test_an_altered_figure_of_every_kind_differs(case: Case, tmp_path: Path) -> None:
    published = copy.deepcopy(case.published)
    expected = alter({figure["id"]: figure for figure in published["figures"]})
    result, report = case.again(tmp_path, published)
    assert result.exit_code == 3, result.output
    assert {f["id"]: sum(not v["ok"] for v in f["values"]) for f in report["figures"]} == expected
    assert {f["verdict"] for f in report["figures"]} == {"differs"}
    markdown = (tmp_path / "a.an-neuron.md").read_text()
    assert "L0N39" in markdown.split("## What differs")[1]


def test_an_atlas_of_other_conventions_and_data_out_of_reach(case: Case, tmp_path: Path) -> None:
    published = copy.deepcopy(case.published)
    published["conventions"] |= {"readout": "unembed", "context_length": 16}
    published["figures"][0]["not_judged"] = "Quoted loosely."
    published["figures"][0]["value"] = 1
    result, report = case.again(tmp_path, published, "--dataset", tmp_path / "none.jsonl")
    assert result.exit_code == 0, result.output
    verdicts = {figure["id"]: (figure["verdict"], figure["reason"]) for figure in report["figures"]}
    assert verdicts["p_answer_clean"] == ("not judged", "Quoted loosely.")
    assert verdicts["pairs"] == ("not measured", "The atlas has readout 'embed' (the post: 'unembed').")
    assert verdicts["n_actual"] == ("not measured", "The atlas has context_length 32 (the post: 16).")
    assert verdicts["curve_L1"][0] == "not measured"
    assert "The data could not be read" in verdicts["curve_L1"][1]
    assert verdicts["map_resid_pre"] == ("reproduced", None)


def test_a_part_of_the_data_is_not_judged(case: Case, tmp_path: Path) -> None:
    published = copy.deepcopy(case.published)
    published["figures"] = [f for f in published["figures"] if f["kind"] == "curve"]
    result, report = case.again(tmp_path, published, "--dataset", case.folder / "texts.jsonl", "--max-texts", 10)
    assert result.exit_code == 0, result.output
    assert {f["reason"] for f in report["figures"]} == {"10 texts were read; the post read 29."}
    assert report["curves"][0]["columns"] == ["bin", "n", "n_predicted", "n_own", "n_actual"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case: ("--atlas", case.atlas), "The figures are of gpt2-large (n_layers 36), and"),
        (lambda case: ("--model", case.folder / "model"), "The figures are of gpt2-large (n_layers 36), and"),
        (lambda case: ("--model", tiny.save_llama(case.folder / "llama")), "is of the architecture 'llama'"),
        (lambda case: ("--figures", case.folder / "texts.jsonl"), "cannot be read (JSONDecodeError"),
        (lambda case: ("--report", case.folder / "texts.jsonl"), "cannot be written: File exists"),
        (lambda case: ("--atlas", case.folder / "none.duckdb"), "does not exist; expected an atlas file"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    case: Case, tmp_path: Path, change: Callable[[Case], tuple], message: str
) -> None:
    result = run("--out", tmp_path / "b.duckdb", *change(case))
    assert result.exit_code == 1, result.output
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_without_the_hub_the_model_is_asked_for(tmp_path: Path) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    result = run("--out", tmp_path / "b.duckdb")
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "The model 'gpt2-large' cannot be loaded" in said
    assert "check the spelling, the network" in said
    assert list(tmp_path.iterdir()) == []


def test_the_posts_own_figures_are_whole() -> None:
    published = read_published()
    assert {figure.kind for figure in published.figures} == set(KINDS)
    ids = [figure.id for figure in published.figures]
    assert len(ids) == len(set(ids)) == 35
    for figure in published.figures:
        assert figure.source, figure.id
        assert figure.why, figure.id
        assert figure.kind != "number" or figure.data["measure"] in MEASURES
    by_id = {figure.id: figure.data for figure in published.figures}
    assert len(by_id["fig.logit_lens"]["labels"]) == len(by_id["fig.logit_lens"]["values"]) == 73
    for figure in published.of_kind("map"):
        assert [len(row) for row in figure.data["values"]] == [20] * 36
    assert by_id["fig.patched_neuron_L31"]["top"][0] == [892, 0.503204]
    assert len(by_id["fig.mutual_exclusive_pairs"]["rows"]) == 30
    curve = by_id["fig.an_neuron_proportion"]
    assert curve["bins"][:3] == [-1, 0, 1]
    assert len(curve["bins"]) == len(curve["fractions"]) == 71


def test_figures_of_an_unknown_kind(tmp_path: Path, case: Case) -> None:
    published = copy.deepcopy(case.published)
    published["figures"][0]["kind"] = "guess"
    (tmp_path / "f.json").write_text(json.dumps(published))
    with pytest.raises(OptionError, match="figure 'p_answer_clean' is of kind 'guess', expected one of number, lens"):
        read_published(tmp_path / "f.json")


@pytest.mark.parametrize(
    ("published", "measured", "ok"),
    [
        (1.0, 1.1, True),
        (1.0, 1.11, False),
        ("L0N1", "L0N1", True),
        ("L0N1", "L0N2", False),
        ("L0N1", None, False),
        (1.0, None, False),
        (1.0, float("nan"), False),
    ],
)
def test_one_value_against_another(published: float | str, measured: float | str | None, ok: bool) -> None:
    comparison = Comparison("x", published, measured, 0.1000001)
    assert comparison.ok is ok
    figure = Figure("f", "number", "f", "s", "d", 0.1, "w", None, {})
    assert judge_comparisons(figure, [comparison]).verdict == ("reproduced" if ok else "differs")


class AsPublished:
    """Stands in for everything measured: every value is the published one. That the program's own figures can be
    judged at all, their names and shapes being right, is what it is for."""

    def __init__(self, published: Published) -> None:
        self.published = published
        self.atlas = self
        self.experiments = self
        self.info = SimpleNamespace(**published.model, n_positions=5476000)
        self.token_texts: dict[int, str] = {}
        figures = {figure.id: figure.data for figure in published.figures}
        self.maps = {f.data["site"]: np.array(f.data["values"]) for f in published.of_kind("map")}
        self.lens = dict(zip(figures["fig.logit_lens"]["labels"], figures["fig.logit_lens"]["values"], strict=True))
        listed = figures["fig.patched_neuron_L31"]
        recovery = np.zeros(5120)
        for index, value in listed["top"] + listed["bottom"]:
            recovery[index] = value
        self.neurons = {31: recovery}
        prompt = SimpleNamespace(
            p_answer_clean=0.6492, clean_logit_diff=0.986036, corrupt_logit_diff=-3.287, logit_bias=-0.2714
        )
        self.result = SimpleNamespace(prompts=[prompt])
        self.hubs = {**dict(figures["top_neuron_counts"]["rows"]), **{f"L0N{n}": 1 for n in range(1213 - 20)}}
        rows = figures["fig.mutual_exclusive_pairs"]["rows"]
        self.pairs = {(row["neuron"], row["token_id"]): SimpleNamespace(**row) for row in rows}
        self.pairs["L31N892", 281] = SimpleNamespace(score=0.241045)

    def weights(self) -> AsPublished:
        return self

    data = curve_pass = lambda self, **_: self.weights()

    def token(self, text: str) -> int:
        return {" an": 281, " though": 996}[text]

    def neuron(self, name: str) -> tuple[int, int]:
        return parse_neuron(name, 36, 5120)

    def neuron_id(self, name: str) -> str:
        return name

    def counts(self, token: int) -> tuple[int, int]:
        return {281: (1471, 12389), 996: (214, 654)}[token]

    def congruence(self, name: str) -> NeuronCongruence:
        (data,) = (f.data for f in self.published.of_kind("congruence") if f.data["neuron"] == name)
        return NeuronCongruence(dict(data["top"]), data["mean"], data["std"], tuple(data["min"]))

    def pair(self, neuron: str, token: str, width: float) -> str:
        return neuron

    @property
    def curves(self) -> dict[str, Curve]:
        return {f.data["neuron"]: self._curve(f.data) for f in self.published.of_kind("curve")}

    def _curve(self, data: dict) -> Curve:
        counts = zip(data["bins"], data["fractions"], strict=True)
        return Curve({bin_: np.array([4 * (n or 1), 4 * k, 0, 0]) for bin_, (k, n) in counts})


def test_the_posts_own_figures_can_be_judged() -> None:
    published = read_published()
    measured = AsPublished(published)
    for figure in published.figures:
        if figure.kind == "predictions":
            continue  # Ten tokens' logits make no softmax: those of the tiny model are held to it.
        finding = judge(figure, measured)
        expected = "not judged" if figure.id == "post.dataset_tokens" else "reproduced"
        assert finding.verdict == expected, [c for c in finding.comparisons if not c.ok]
    measured.info.n_positions = 5_470_000
    (total,) = [figure for figure in published.figures if figure.id == "counts.total_positions"]
    assert judge(total, measured).verdict == "differs"
