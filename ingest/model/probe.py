"""What a model's modules do, found by trying them: whatever their names are, and however they store their gains.

A neuron's output weights say what it adds to the residual stream only together with what stands behind the MLP: a norm
(Gemma 2 and 3, OLMo 2, GLM-4), a factor (Granite), or a factor that later blocks put on the whole stream. One forward
pass of every block, with the stream before it and the MLP's output put in, tells all of that; and it tells where a
block does something else, which is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ingest.errors import ModelError
from ingest.model.hooks import after, before
from ingest.process.memory import is_out_of_memory

_MIXERS = {"attn", "linear_attn", "mamba", "mixer", "ssm"}
"""The bridge's names of what moves information between positions."""
_POS = 3
_SIZE = 64.0  # Of what is put in: beside it no epsilon of a norm counts.
_SAME = 1e-3
"""Relative difference up to which what a block does is what we say it does."""


@dataclass(frozen=True)
class Behind:
    """What stands between an MLP's output projection and the final norm, up to a scale that differs by position.

    The stream receives `gain * y` of the projection's output y, or `gain * (y - mean of y)` if `centred`.
    """

    gain: Float[Tensor, " d_model"] | None
    """Float64: a norm's gain, and factors; None: one."""
    centred: bool
    """Whether a LayerNorm stands there."""


NOTHING = Behind(None, False)


def original(component: Any) -> nn.Module:
    """The Hugging Face module inside a component of the bridge."""
    while hasattr(component, "original_component"):
        component = component.original_component
    return component


@torch.inference_mode()
def norm_gain(norm: Any, d_model: int) -> Float[Tensor, " d_model"]:
    """A norm's gain, float64: its weight, one more than that (Gemma), or ones where it has none (OLMo 1).

    Raises:
        ModelError: it is neither LayerNorm nor RMSNorm with one of these.
    """
    module = original(norm)
    weight = getattr(module, "weight", None)
    one = torch.ones(d_model, dtype=torch.float64)
    gains = [one] if weight is None else [weight.detach().double(), one + weight.detach().double()]
    x = _SIZE * (torch.randn(2, d_model, generator=_generator()) + 0.5)
    x[0] = 0
    y = module(x).double()
    y, x = y[1] - y[0], x[1].double()
    for gain in gains:
        if _parallel(gain * x, y) or _parallel(gain * (x - x.mean()), y):
            return gain
    raise ModelError(
        f"The norm {type(module).__name__} is neither LayerNorm nor RMSNorm with the gain that it stores: models that "
        "normalise in another way are not supported."
    )


@torch.inference_mode()
def what_is_behind(name: str, bridge: Any) -> list[Behind]:
    """What stands behind the MLP of every layer, from one forward pass. The bridge must be whole.

    Raises:
        ModelError: a block does something else with its MLP's output, or with the stream.
    """
    try:
        outputs_of = _block_outputs(bridge)
    except Exception as error:  # Whatever a library says that it cannot do.
        if is_out_of_memory(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(f"The model {name!r} does not run on a few tokens ({said}): it is not supported.") from error
    behind: list[Behind] = []
    later = 1.0  # What the blocks that follow multiply the stream by.
    for layer, outputs in reversed(list(enumerate(outputs_of))):
        kept = None if outputs is None else _kept(outputs)
        own = None if outputs is None else _own(outputs)
        if kept is None or own is None:
            raise ModelError(
                f"Block {layer} of {name!r} does more than to add its MLP's output, normalised or multiplied, to the "
                "residual stream, so what its neurons do to tokens cannot be read from their weights: this "
                "architecture is not supported."
            )
        gain = None if own.gain is None and later == 1 else later * (1.0 if own.gain is None else own.gain)
        behind.append(Behind(gain, own.centred))
        later *= kept
    return behind[::-1]


def _put_in(d_model: int) -> tuple[Float[Tensor, "row pos d_model"], Float[Tensor, "row pos d_model"]]:
    """Streams before every block, and outputs of every MLP's projection. Rows 1 and 2, beside 0, say what becomes of
    the output: all its channels are alike, so that a gain shows plainly. Rows 3 and 4 try that on other numbers. Row 5,
    beside 3, says what becomes of the stream; so does row 7 beside 6, where attention gives nothing."""
    stream, output = torch.randn(2, _POS, d_model, generator=_generator())
    alike = _SIZE * (1 - 2.0 * (torch.arange(d_model) % 2)).expand(_POS, -1)
    stream, output, zero = _SIZE * stream, _SIZE * (output + 0.5), torch.zeros_like(alike)
    return (
        torch.stack([zero, zero, zero, stream, stream, 2 * stream, stream, 2 * stream]),
        torch.stack([zero, alike, 2 * alike, zero, output, zero, zero, zero]),
    )


def _own(outputs: Float[Tensor, "row pos d_model"]) -> Behind | None:
    """What a block does with its MLP's output; None: something else."""
    _, put = (rows.double() for rows in _put_in(outputs.shape[-1]))
    once, twice, other = outputs[1] - outputs[0], outputs[2] - outputs[0], outputs[4] - outputs[3]
    normed = _close(twice, once)
    if not (normed or _close(twice, 2 * once)):
        return None
    for centred in (False, True) if normed else (False,):
        alike, tried = (rows - centred * rows.mean(-1, keepdim=True) for rows in (put[1], put[4]))
        scale = [rows.pow(2).mean(-1, keepdim=True).sqrt() if normed else 1.0 for rows in (alike, tried)]
        gain = (once / alike * scale[0]).mean(0)
        if _close(gain * tried / scale[1], other):
            if not normed and (gain - gain.mean()).abs().max() <= 1e-5 * gain.abs().max():
                gain = torch.full_like(gain, float(gain.mean()))
            return Behind(None if _one(gain) else gain, centred)
    return None


def _kept(outputs: Float[Tensor, "row pos d_model"]) -> float | None:
    """What a block multiplies the stream by; None: it does something else with it.

    Attention is left out of it in one of two ways: it reads a norm, so that a stream twice as long changes nothing of
    what it gives (but where it reads the stream itself, in the first block of ModernBERT); or it gives nothing (but
    where the stream passes through the same module, in Bloom).
    """
    stream = _put_in(outputs.shape[-1])[0][3].double()
    for change in (outputs[5] - outputs[3], outputs[7] - outputs[6]):
        factor = float((change * stream).sum() / stream.pow(2).sum())
        if factor > 0 and _close(factor * stream, change):
            return 1.0 if abs(factor - 1) < 1e-4 else factor
    return None


def _block_outputs(bridge: Any) -> list[Float[Tensor, "row pos d_model"] | None]:
    """What every block gives for what is put in, float64; None: it gave no tensor."""
    blocks = [original(block) for block in bridge.blocks]
    projections = [original(block.mlp.out) for block in bridge.blocks]
    mixers = [original(part) for block in bridge.blocks for name, part in block.submodules.items() if name in _MIXERS]
    streams, outputs = _put_in(bridge.cfg.d_model)
    given: list[Tensor | None] = [None] * len(blocks)

    def silent(value: Any) -> Any:
        if isinstance(value, Tensor):
            value = value.clone()
            value.view(len(streams), -1)[6:] = 0
        return value

    with ExitStack() as stack, _bare(bridge.original_model) as module:
        for mixer in mixers:
            after(stack, mixer, silent)
        for layer, (block, projection) in enumerate(zip(blocks, projections, strict=True)):

            def keep(value: Any, layer: int = layer) -> Any:
                given[layer] = value.double() if isinstance(value, Tensor) else None
                return value

            before(stack, block, lambda value: streams.view(value.shape))
            after(stack, projection, lambda value: outputs.view(value.shape))
            after(stack, block, keep)
        module(input_ids=torch.zeros(streams.shape[:2], dtype=torch.int64), use_cache=False)
    return given


@contextmanager
def _bare(module: nn.Module) -> Iterator[nn.Module]:
    """The module without the bridge's components, for a while."""
    replaced: list[tuple[nn.Module, str, nn.Module]] = []

    def replace(parent: nn.Module) -> None:
        for name, child in list(parent.named_children()):
            bare = original(child)
            if bare is not child:
                replaced.append((parent, name, child))
                parent._modules[name] = bare
            replace(bare)

    replace(module)
    try:
        yield module
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


def _close(ours: Float[Tensor, "*row d_model"], theirs: Float[Tensor, "*row d_model"]) -> bool:
    return bool((ours - theirs).norm() <= _SAME * theirs.norm())


def _one(gain: Float[Tensor, " d_model"]) -> bool:
    return bool((gain - 1).abs().max() < 1e-5)


def _parallel(plain: Float[Tensor, " d_model"], y: Float[Tensor, " d_model"]) -> bool:
    scale = (plain @ y) / (plain @ plain)
    return bool(scale > 0 and (scale * plain - y).norm() <= _SAME * y.norm())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
