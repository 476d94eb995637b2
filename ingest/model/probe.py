"""The computations of a model's modules, measured by running them: names and stored gains do not matter.

A neuron's output weights give its contribution to the residual stream only together with the operation behind the MLP:
a norm (Gemma 2 and 3, OLMo 2, GLM-4), a factor (Granite), or a factor by which later blocks multiply the whole stream.
One forward pass of every block, with a chosen stream and MLP output put in, measures all of these. It also shows where
a block does something else; such a model is refused.
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
from ingest.model.precision import widened
from ingest.process.memory import is_out_of_memory

_MIXERS = {"attn", "linear_attn", "mamba", "mixer", "ssm"}
"""The bridge's names of the modules that move information between positions."""
_POS = 3
_SIZE = 64.0  # Magnitude of the inputs, beside which a norm's epsilon is negligible.
_SAME = 1e-3
"""Largest relative difference between a block's output and its description."""


@dataclass(frozen=True)
class Behind:
    """The operation between an MLP's output projection and the final norm, up to a scale that differs by position.

    The stream receives `gain * y` of the projection's output y, or `gain * (y - mean of y)` if `centred`.
    """

    gain: Float[Tensor, " d_model"] | None
    """Float64: a norm's gain, and factors; None: one."""
    centred: bool
    """Whether it is a LayerNorm."""


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
    with widened(module):
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
    """The operation behind the MLP of every layer, from one forward pass. The bridge must be intact.

    Raises:
        ModelError: a block does something else with its MLP's output, or with the stream.
    """
    try:
        outputs_of = _block_outputs(bridge)
    except Exception as error:  # Libraries raise any exception for unsupported operations.
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(f"The model {name!r} does not run on a few tokens ({reason}): it is not supported.") from error
    behind: list[Behind] = []
    later = 1.0  # The factor by which later blocks multiply the stream.
    for layer, outputs in reversed(list(enumerate(outputs_of))):
        stream_factor = None if outputs is None else _stream_factor(outputs)
        own = None if outputs is None else _own(outputs)
        if stream_factor is None or own is None:
            raise ModelError(
                f"Block {layer} of {name!r} does more than add its MLP's output, normalised or multiplied, to the "
                "residual stream, so what its neurons do to tokens cannot be read from their weights: this "
                "architecture is not supported."
            )
        gain = None if own.gain is None and later == 1 else later * (1.0 if own.gain is None else own.gain)
        behind.append(Behind(gain, own.centred))
        later *= stream_factor
    return behind[::-1]


def _put_in(d_model: int) -> tuple[Float[Tensor, "row pos d_model"], Float[Tensor, "row pos d_model"]]:
    """Streams before every block, and outputs of every MLP's projection. Rows 1 and 2, compared with row 0, measure the
    effect on the output: all channels are equal, so a gain is visible. Rows 3 and 4 check it on other numbers. Row 5,
    compared with row 3, measures the effect on the stream; so does row 7 compared with row 6, where attention gives
    zero."""
    stream, output = torch.randn(2, _POS, d_model, generator=_generator())
    alike = _SIZE * (1 - 2.0 * (torch.arange(d_model) % 2)).expand(_POS, -1)
    stream, output, zero = _SIZE * stream, _SIZE * (output + 0.5), torch.zeros_like(alike)
    return (
        torch.stack([zero, zero, zero, stream, stream, 2 * stream, stream, 2 * stream]),
        torch.stack([zero, alike, 2 * alike, zero, output, zero, zero, zero]),
    )


def _own(outputs: Float[Tensor, "row pos d_model"]) -> Behind | None:
    """The operation of a block on its MLP's output; None: an unknown one."""
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


def _stream_factor(outputs: Float[Tensor, "row pos d_model"]) -> float | None:
    """The factor by which a block multiplies the stream; None: it does something else with it.

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
    """The output of every block for the chosen inputs, float64; None: it is no tensor."""
    blocks = [original(block) for block in bridge.blocks]
    projections = [original(block.mlp.out) for block in bridge.blocks]
    mixers = [original(part) for block in bridge.blocks for name, part in block.submodules.items() if name in _MIXERS]
    streams, outputs = _put_in(bridge.cfg.d_model)
    results: list[Tensor | None] = [None] * len(blocks)

    def silent(value: Any) -> Any:
        if isinstance(value, Tensor):
            value = value.clone()
            value.view(len(streams), -1)[6:] = 0
        return value

    with ExitStack() as stack, _bare(bridge.original_model) as module, widened(module):
        for mixer in mixers:
            after(stack, mixer, silent)
        for layer, (block, projection) in enumerate(zip(blocks, projections, strict=True)):

            def keep(value: Any, layer: int = layer) -> Any:
                results[layer] = value.double() if isinstance(value, Tensor) else None
                return value

            before(stack, block, lambda value: streams.view(value.shape))
            after(stack, projection, lambda value: outputs.view(value.shape))
            after(stack, block, keep)
        module(input_ids=torch.zeros(streams.shape[:2], dtype=torch.int64), use_cache=False)
    return results


@contextmanager
def _bare(module: nn.Module) -> Iterator[nn.Module]:
    """The module without the bridge's components, for the length of a block."""
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
