"""Every family of models: what a neuron's weights say is what the neuron does, by finite differences in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from ingest.effects.choose import ChosenPair, Firing
from ingest.effects.measure import MEASURES, measure_effects
from ingest.errors import ModelError
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, bridge_for, describe
from ingest.model.weights import layer_weights, read_readout
from ingest.study.study_model import StudyModel
from tests import families, tiny
from tests.families import FAMILIES, UNSUPPORTED, Family

CPU = torch.device("cpu")
TOKENS = torch.tensor([[5, 17, 300, 41, 8, 99]])
POSITION = 3
EPSILON = 1e-5


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.make_tokenizer().save_pretrained(folder)
    return hf.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tokenizer) -> tuple[Family, LoadedModel]:
    """A family's model in float64, as Hugging Face made it, and as it is loaded."""
    net = families.make(request.param)
    return Family(request.param, copy.deepcopy(net).double()), load(net, tokenizer)


@contextmanager
def in_float64() -> Iterator[None]:
    """Many norms compute in float32 whatever the model's precision is: not here."""
    to = Tensor.to

    def stay(self: Tensor, *args, **kwargs) -> Tensor:
        if self.dtype == torch.float64 and torch.float32 in (*args, *kwargs.values()):
            return self
        return to(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "to", stay)
        patch.setattr(Tensor, "float", lambda self: stay(self, torch.float32))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.fixture
def float64() -> Iterator[None]:
    """The whole test in float64."""
    with in_float64():
        yield


def load(net: nn.Module, tokenizer) -> LoadedModel:
    return describe("tiny", None, bridge_for("tiny", copy.deepcopy(net), tokenizer), tokenizer)


@contextmanager
def hooked(module: nn.Module, change: Callable[[Tensor], Tensor | None], *, at_input: bool = False):
    """`change` sees the value as [pos, width]; what it gives takes its place."""

    def of(value: Tensor) -> Tensor:
        flat = value.reshape(TOKENS.shape[1], -1)
        new = change(flat)
        return value if new is None else new.view(value.shape)

    def post(_: nn.Module, __: tuple, output):
        return (of(output[0]), *output[1:]) if isinstance(output, tuple) else of(output)

    handle = (
        module.register_forward_pre_hook(lambda _, args: (of(args[0]), *args[1:]))
        if at_input
        else module.register_forward_hook(post)
    )
    try:
        yield
    finally:
        handle.remove()


def block_output(family: Family, layer: int, site: nn.Module, change: Callable, *, at_input: bool = False) -> Tensor:
    """What a block gives at POSITION if something changes at one of its modules."""
    seen: list[Tensor] = []
    see = hooked(family.blocks[layer], lambda value: seen.append(value.clone()))
    with torch.no_grad(), hooked(site, change, at_input=at_input), see:
        family.net(input_ids=TOKENS, use_cache=False)
    return seen[0][POSITION]


@pytest.mark.usefixtures("float64")
def test_output_weights_are_what_a_neuron_adds(pair: tuple[Family, LoadedModel]) -> None:
    """The change of the residual stream behind the block is the predicted direction, plus what a norm's scale does: a
    multiple of all that the MLP adds. The multiple of the direction is the norm's scale; without a norm it is one."""
    family, model = pair
    centre = (lambda x: x - x.mean(-1, keepdim=True)) if family.layer_norm else (lambda x: x)
    for layer, out in enumerate(family.out):
        given: list[Tensor] = []
        plain = block_output(family, layer, out, lambda value, given=given: given.append(value[POSITION].clone()))
        added = centre(plain - block_output(family, layer, out, torch.zeros_like))
        weights = layer_weights(model, layer).w_out.double()
        multiples = []
        for neuron in range(0, len(weights), 5):

            def push(value: Tensor, neuron: int = neuron) -> Tensor:
                value = value.clone()
                value[POSITION, neuron] += EPSILON
                return value

            change = centre(block_output(family, layer, out, push, at_input=True) - plain) / EPSILON
            basis = torch.stack([weights[neuron], added], dim=1)
            found = torch.linalg.lstsq(basis, change[:, None]).solution[:, 0]
            assert (basis @ found - change).norm() < 1e-5 * change.norm()
            multiples.append(found)
        multiple, of_added = torch.stack(multiples).T
        is_norm = of_added.abs().max() > 1e-4
        scale = 1 / given[0].pow(2).mean().sqrt() if is_norm else torch.ones(())
        torch.testing.assert_close(multiple, scale.expand_as(multiple), rtol=1e-4, atol=0)


@pytest.mark.usefixtures("float64")
def test_the_readout_is_what_final_norm_and_unembedding_make_of_it(pair: tuple[Family, LoadedModel]) -> None:
    """Any change of the final residual changes the scores by its dot products with the readout's columns, plus what
    the norm's scale does: a multiple of the scores less biases."""
    family, model = pair
    readout = read_readout(model, "unembed")
    weight = family.net.get_output_embeddings().weight.detach()
    generator = torch.Generator().manual_seed(1)
    residual, change = torch.randn(2, families.D_MODEL, generator=generator)
    with torch.no_grad():
        at, moved, bias = family.norm(torch.stack([residual, residual + EPSILON * change, 0 * residual]))
    scores = weight @ torch.stack([(moved - at) / EPSILON, at - bias], dim=1)
    # A constant for all tokens is nothing, but to a soft cap; there it is not taken off.
    capped = getattr(family.net.config, "final_logit_softcapping", None)
    scores = scores if capped else scores - scores.mean(0)
    basis = torch.stack([readout.columns.double() @ change, scores[:, 1]], dim=1)
    found = torch.linalg.lstsq(basis, scores[:, :1]).solution
    assert (basis @ found - scores[:, :1]).norm() < 1e-5 * scores[:, 0].norm()
    assert found[0] > 0


def test_padding_and_the_texts_beside_it_change_nothing(pair: tuple[Family, LoadedModel], tokenizer) -> None:
    """Texts of three lengths in one batch, padded with tokens that mean something, against each alone in float64."""
    family, _ = pair
    lean = LeanModel(load(copy.deepcopy(family.net).float(), tokenizer), CPU, torch.float32)
    lengths = [13, 8, 3]  # Longer than a sliding window, and shorter.
    ids = torch.randint(1, families.D_VOCAB, (3, 13), generator=torch.Generator().manual_seed(5))
    seen: dict[int, Tensor] = {}
    residual = lean.run(ids, lambda layer, x: seen.update({layer: x.clone()}))
    predicted = lean.predict(residual.flatten(0, 1)).view(ids.shape)
    for text, length in enumerate(lengths):
        alone: list[Tensor] = []

        def take(_: nn.Module, args: tuple[Tensor], alone: list[Tensor] = alone) -> None:
            alone.append(args[0])

        handles = [out.register_forward_pre_hook(take) for out in family.out]
        with torch.no_grad(), in_float64():
            logits = family.net(input_ids=ids[text : text + 1, :length], use_cache=False).logits[0]
        for handle in handles:
            handle.remove()
        for layer, expected in enumerate(alone):
            expected = expected.view(length, -1).float()
            torch.testing.assert_close(seen[layer][text, :length], expected, rtol=1e-4, atol=1e-4)
        best = logits.gather(1, predicted[text, :length, None])[:, 0]
        assert (best >= logits.amax(1) - 1e-4).all()


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_blocks_that_do_something_else_are_refused(name: str, tokenizer) -> None:
    reason = "has shape" if name == "modernbert-decoder" else "does more than add its MLP's output"
    with pytest.raises(ModelError, match=rf"of 'tiny' {reason}.*not supported"):
        load(families.make(name), tokenizer)


# What scales the scores behind the final norm, what one unit of the residual's change is behind the MLP, and gains.
_DIRECT = {
    "granite": (1 / 2.0, lambda block, p: torch.full_like(p, 0.22), lambda norm: norm.weight),
    "cohere": (0.3, lambda block, p: torch.ones_like(p), lambda norm: norm.weight),
    "gemma2": (
        1.0,
        lambda block, p: (1 + block.post_feedforward_layernorm.weight) / p.pow(2).mean().sqrt(),
        lambda norm: 1 + norm.weight,
    ),
}


@pytest.mark.parametrize("pair", _DIRECT, indirect=True)
def test_direct_effects_are_at_the_scales_of_the_position(pair: tuple[Family, LoadedModel]) -> None:
    """Activation less its mean, times what the score reads of what the neuron adds, worked out by hand."""
    family, model = pair
    scale, behind, gain = _DIRECT[family.name]
    layer, neuron, token, mean = 0, 7, 42, 0.3
    seen: dict[str, Tensor] = {}
    take = {
        "activation": hooked(family.out[layer], lambda x: seen.update(activation=x[POSITION, neuron]), at_input=True),
        "projected": hooked(family.out[layer], lambda x: seen.update(projected=x[POSITION])),
        "final": hooked(family.norm, lambda x: seen.update(final=x[POSITION]), at_input=True),
    }
    with torch.no_grad(), in_float64():
        with take["activation"], take["projected"], take["final"]:
            family.net(input_ids=TOKENS, use_cache=False)
        added = family.out[layer].weight[:, neuron] * behind(family.blocks[layer], seen["projected"])
        final = seen["final"]
        if family.layer_norm:
            added, final = added - added.mean(), final - final.mean()
        scores = family.net.get_output_embeddings().weight @ (gain(family.norm) * added / final.pow(2).mean().sqrt())
    if family.name != "gemma2":  # Its scores are capped.
        scores = scores - scores.mean()
    expected = float((seen["activation"] - mean) * scores[token] * scale)

    congruence = float(layer_weights(model, layer).w_out[neuron] @ read_readout(model, "unembed").columns[token])
    means = torch.full((families.N_LAYERS * model.d_mlp,), mean).numpy()
    chosen = ChosenPair(
        layer * model.d_mlp + neuron, token, "positive", congruence, "metric", (Firing(0, POSITION, 1.0),)
    )
    (effect,) = measure_effects(StudyModel(model, CPU), [chosen], {0: TOKENS[0].tolist()}, means)
    assert effect.values[0, MEASURES.index("direct_effect")] == pytest.approx(expected, rel=1e-4)
