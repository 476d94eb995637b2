"""A random GPT-2 with planted neurons, and every kind of published figure worked out on it the plain way: Hugging Face
in float64, one forward pass at a time, loops. Shares no code with `ingest`."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from tests import tiny
from tests.study_models import KINDS, Plain, softmax

N_LAYERS, D_MODEL, D_MLP, CONTEXT, LAYER = 3, 24, 40, 32, 1
ANSWER = "a"
PLANTED = {(LAYER, 7): ANSWER, (2, 11): "e"}
"""Neurons whose output weights are the embedding of a token, and more."""
WIDTH = 0.2


def save_model(folder: Path) -> Path:
    """The model and its tokenizer."""
    tokenizer = tiny.make_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(
        n_embd=D_MODEL, n_layer=N_LAYERS, n_head=3, n_inner=D_MLP, n_positions=48, vocab_size=len(tokenizer), **ids
    )
    net = GPT2LMHeadModel(config)
    tiny._randomise(net, seed=5, scale=0.3)
    with torch.no_grad():
        for (layer, index), token in PLANTED.items():
            embedding = net.transformer.wte.weight[tokenizer.convert_tokens_to_ids(token)]
            net.transformer.h[layer].mlp.c_proj.weight[index] = 5 * embedding
            net.transformer.h[layer].mlp.c_fc.weight[:, index] *= 3
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class PlainFigures:
    """The figures of the model in a folder, read over some texts."""

    def __init__(self, folder: Path, texts: list[str]) -> None:
        self.net = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager").double().eval()
        self.tokenizer, self.texts = AutoTokenizer.from_pretrained(folder), texts
        clean, corrupt = (self._encode(f"I climbed the {fruit} tree and picked") for fruit in ("apple", "lemon"))
        n = min(len(clean), len(corrupt))
        self.prompts = {"clean": self.tokenizer.decode(clean[:n]), "corrupt": self.tokenizer.decode(corrupt[:n])}
        self.ids = {side: [self.bos, *self._encode(text)] for side, text in self.prompts.items()}
        self.answer = self.tokenizer.convert_tokens_to_ids(ANSWER)
        self.other = self._far(self.tokenizer.convert_tokens_to_ids(list("bcdefghijklmnopqrstuvwxyz")))
        self.plain = Plain(KINDS["gpt2"], self.net, self.ids["clean"], self.ids["corrupt"], self.answer, self.other)

    @property
    def bos(self) -> int:
        return self.tokenizer.bos_token_id

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _far(self, tokens: list[int]) -> int:
        """The token whose logit the prompts move furthest from the answer's: recovery is of that difference."""
        with torch.no_grad():
            clean, corrupt = (self.net(torch.tensor([self.ids[side]])).logits[0, -1] for side in ("clean", "corrupt"))
        moved = clean - corrupt
        return max(tokens, key=lambda token: float((moved[token] - moved[self.answer]).abs()))

    def lens(self) -> dict[str, float]:
        """The post's logit lens: the final norm's scale, no biases."""
        seen, norm = self.plain.seen["clean"], self.net.transformer.ln_f
        final = seen[N_LAYERS - 1, "resid_post"][-1]
        scale = ((final - final.mean()).pow(2).mean() + norm.eps).sqrt()
        weight = self.net.transformer.wte.weight.detach()
        direction = (weight[self.answer] - weight[self.other]) * norm.weight.detach() / scale
        sites = {"final_post": final}
        for layer in range(N_LAYERS):
            sites[f"{layer}_pre"], sites[f"{layer}_mid"] = seen[layer, "resid_pre"][-1], seen[layer, "mid"][-1]
        return {label: float((x - x.mean()) @ direction) for label, x in sites.items()}

    def negated(self, side: str, index: int, w_in: bool) -> np.ndarray:
        """Logits with a neuron of LAYER turned round, by its activation or by its folded input weights."""
        block = self.net.transformer.h[LAYER]
        mid, norm, w = self.plain.seen[side][LAYER, "mid"], block.ln_2, block.mlp.c_fc.weight[:, index].detach()
        x = mid - mid.mean(1, keepdim=True)
        x = x / (x.pow(2).mean(1, keepdim=True) + norm.eps).sqrt()
        bias = norm.bias.detach() @ w + block.mlp.c_fc.bias[index].detach()
        pre = -(x @ (norm.weight.detach() * w)) + bias
        gelu = 0.5 * pre * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (pre + 0.044715 * pre**3)))

        def change(activations: torch.Tensor) -> None:
            activations[:, index] = gelu if w_in else -activations[:, index]

        return self.plain.run(self.ids[side], {(LAYER, "neuron"): change})

    @cached_property
    def congruence(self) -> np.ndarray:
        """[layer * d_mlp, d_vocab], by W_E."""
        embedding = self.net.transformer.wte.weight.detach().numpy()
        w_out = np.concatenate([block.mlp.c_proj.weight.detach().numpy() for block in self.net.transformer.h])
        return (w_out - w_out.mean(1, keepdims=True)) @ (embedding - embedding.mean(1, keepdims=True)).T

    def pairs(self) -> list[dict]:
        """Mutually exclusive pairs, best score first."""
        rows = []
        for neuron, values in enumerate(self.congruence):
            token = int(values.argmax())
            column = self.congruence[:, token]
            if int(column.argmax()) != neuron:
                continue
            first, second = np.argsort(-column)[:2]
            token_gap, neuron_gap = -np.diff(np.sort(values)[::-1][:2])[0], column[first] - column[second]
            rows.append(
                {
                    "token_id": token,
                    "token": self.tokenizer.decode([token]),
                    "neuron": name(neuron),
                    "score": token_gap * neuron_gap,
                    "congruence": values[token],
                    "neuron_gap": neuron_gap,
                    "token_gap": token_gap,
                    "second_neuron": name(int(second)),
                }
            )
        rows.sort(key=lambda row: -row["score"])
        return [{"rank": rank, **row} for rank, row in enumerate(rows, 1)]

    @cached_property
    def data(self) -> dict:
        """One text at a time: counts of tokens, and bins of the planted neurons."""
        counts: dict = {name: defaultdict(int) for name in ("predicted", "own", "actual")}
        counts |= {"positions": 0, "texts": 0, "bins": {pair: defaultdict(lambda: [0, 0]) for pair in PLANTED}}
        embedding = self.net.transformer.wte.weight.detach()
        embedding = embedding - embedding.mean(1, keepdim=True)
        kept: dict = {}
        transformer = self.net.transformer
        watched = [
            (transformer.ln_f, "final", slice(None)),
            *((transformer.h[at[0]].mlp.c_proj, at, at[1]) for at in PLANTED),
        ]
        handles = [
            part.register_forward_pre_hook(
                lambda _, args, at=at, column=column: kept.update({at: args[0][0, :, column]})
            )
            for part, at, column in watched
        ]
        for text in self.texts:
            ids = [self.bos, *self._encode(text)][:CONTEXT]
            if len(ids) == 1:
                continue
            with torch.no_grad():
                logits = self.net(input_ids=torch.tensor([ids])).logits[0]
            x = kept["final"]
            x = x - x.mean(1, keepdim=True)
            predicted = ((x / (x.pow(2).mean(1, keepdim=True) + 1e-5).sqrt()) @ embedding.T).argmax(1).tolist()
            counts["texts"] += 1
            for position, token in enumerate(predicted):
                counts["positions"] += 1
                counts["predicted"][token] += 1
                counts["own"][int(logits[position].argmax())] += 1
                if position + 1 < len(ids):
                    counts["actual"][ids[position + 1]] += 1
                for at, text_of in PLANTED.items():
                    cell = counts["bins"][at][round(float(kept[at][position]) / WIDTH)]
                    cell[0] += token == self.tokenizer.convert_tokens_to_ids(text_of)
                    cell[1] += 1
        for handle in handles:
            handle.remove()
        return counts

    def published(self, dataset: str) -> dict:
        """Everything in the form of the program's own file of figures."""
        neuron = f"L{LAYER}N7"
        seen, plain, data, congruence = self.plain.seen, self.plain, self.data, self.congruence
        figures: list[dict] = []

        def add(id_: str, kind: str, tolerance, **values) -> None:
            text = {"title": id_, "source": "made up", "description": "made up", "why": "because"}
            figures.append({"id": id_, "kind": kind, "tolerance": tolerance, **text, **values})

        def number(measure: str, value: float, tolerance: float = 1e-3, **values) -> None:
            add(measure, "number", tolerance, measure=measure, value=float(value), **values)

        differences = [float(seen[side]["difference"]) for side in ("clean", "corrupt")]
        sites = {
            site: [
                [plain.patch_site(layer, site, p) for p in range(len(self.ids["clean"]))] for layer in range(N_LAYERS)
            ]
            for site in ("resid_pre", "attn_out", "mlp_out")
        }
        recovery = np.array([plain.patch_neuron(LAYER, index) for index in range(D_MLP)])
        lens = self.lens()
        number("p_answer_clean", softmax(seen["clean"]["logits"])[self.answer])
        number("clean_logit_diff", differences[0])
        number("corrupt_logit_diff", differences[1])
        number("denominator", differences[0] - differences[1])
        number("logit_bias", differences[0] - lens["final_post"])
        number("mlp_recovery", sites["mlp_out"][LAYER][-1], layer=LAYER)
        number("neuron_recovery", recovery[7], neuron=neuron)
        add("lens", "lens", 1e-3, labels=list(lens), values=list(lens.values()))
        for site, values in sites.items():
            add(f"map_{site}", "map", 1e-3, site=site, values=np.array(values).tolist())
        order = np.argsort(-recovery)
        ends = {"top": order[:8], "bottom": order[::-1][:5]}
        add(
            "neurons",
            "neurons",
            1e-3,
            layer=LAYER,
            **{end: [[int(i), float(recovery[i])] for i in places] for end, places in ends.items()},
        )
        for variant in ("plain", "negated_activation", "negated_w_in"):
            for side in ("clean", "corrupt"):
                logits = (
                    seen[side]["logits"] if variant == "plain" else self.negated(side, 7, variant == "negated_w_in")
                )
                logits, percent = logits - logits.mean(), 100 * softmax(logits)
                top = [[int(t), float(percent[t]), float(logits[t])] for t in np.argsort(-logits)[:4]]
                add(
                    f"{variant}_{side}",
                    "predictions",
                    {"percent": 0.01, "logit": 1e-3},
                    variant=variant,
                    side=side,
                    neuron=neuron,
                    top=top,
                )
        for layer, index in PLANTED:
            values = congruence[layer * D_MLP + index]
            top = [[int(t), float(values[t])] for t in np.argsort(-values)[:15]]
            add(
                f"congruence_L{layer}",
                "congruence",
                1e-4,
                neuron=f"L{layer}N{index}",
                top=top,
                mean=values.mean(),
                std=values.std(),
                min=[int(values.argmin()), float(values.min())],
            )
        pairs = self.pairs()
        add("pairs", "pairs", {"score": 1e-4, "congruence": 1e-4, "gap": 1e-4, "rank": 0}, rows=pairs[:5])
        number("score", next(row["score"] for row in pairs if row["neuron"] == neuron), neuron=neuron)
        best = congruence.argmax(0)
        hubs = sorted(((int((best == n).sum()), -n) for n in set(best.tolist())), reverse=True)[:4]
        add("hubs", "hubs", {"relative": 0, "least": 0}, rows=[[name(-n), count] for count, n in hubs])
        number("hub_share", hubs[0][0] / len(best), neuron=name(-hubs[0][1]))
        number("hub_distinct", len(set(best.tolist())), 0)
        number("n_predicted", data["predicted"][self.answer], 0, token=ANSWER)
        number("n_actual", data["actual"][self.answer], 0, token=ANSWER)
        number("n_positions", data["positions"], 0)
        for at, token in PLANTED.items():
            bins = data["bins"][at]
            lowest = [Fraction(*bins[b]) for b in sorted(bins)]
            fractions = [[f.numerator, f.denominator] if f else [0, None] for f in lowest]
            add(
                f"curve_L{at[0]}",
                "curve",
                {"positions": 0, "relative": 0},
                neuron=f"L{at[0]}N{at[1]}",
                token=token,
                width=WIDTH,
                bins=sorted(bins),
                fractions=fractions,
            )
        return {
            "about": "Made up.",
            "model": {
                "name": "a tiny GPT-2",
                "n_layers": N_LAYERS,
                "d_model": D_MODEL,
                "d_mlp": D_MLP,
                "d_vocab": congruence.shape[1],
            },
            "conventions": {
                "readout": "embed",
                "bos_counted": True,
                "overflow": "truncate",
                "context_length": CONTEXT,
                "dataset_name": dataset,
                "dataset_split": "train",
                "text_column": "text",
                "dtype": "float32",
                "n_texts": data["texts"],
            },
            "study": {
                "name": "an-neuron",
                **self.prompts,
                "answer": ANSWER,
                "other": self.tokenizer.decode([self.other]),
                "layers": [LAYER],
            },
            "figures": figures,
        }


def name(neuron: int) -> str:
    """A neuron's name."""
    return f"L{neuron // D_MLP}N{neuron % D_MLP}"
