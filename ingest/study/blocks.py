"""The parts of a transformer block, the factors with which they add up to its output, and the recorder of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ingest.errors import ModelError
from ingest.model.hooks import after, before
from ingest.model.probe import norm_gain, original


@dataclass(frozen=True)
class Block:
    """Modules of one block. In every architecture that is served,

        block output = block input + k_attn * attention output + k_mlp * MLP output,

    where an output is that of the last module: the norm behind it where the block has one (post-norm), else the
    output projection. Both factors are 1 except in few models (Granite).
    """

    block: nn.Module
    attn_out: nn.Module
    """Gives the attention output."""
    mlp_out: nn.Module
    """Gives the MLP output."""
    projection: nn.Module
    """The MLP's output projection: its input is the neurons' activations."""
    mlp_norm: nn.Module | None
    """The norm before the MLP: its input is the residual stream after attention, unless the block is parallel."""
    post_norm: nn.Module | None
    """The norm behind the MLP; None: there is none."""
    post_gain: Tensor | None
    """Gain of that norm, float64 [d_model]."""
    parallel: bool
    """Whether attention and MLP read the same residual stream, so that there is none between them."""


def read_blocks(bridge: Any) -> list[Block]:
    """Find the parts by the bridge's names, before the bridge is taken apart.

    Raises:
        ModelError: a block has no attention of its own (hybrids with recurrent blocks).
    """
    for layer, block in enumerate(bridge.blocks):
        if not hasattr(block, "attn"):
            raise ModelError(
                f"Block {layer} of this {type(bridge.original_model).__name__} has no attention: studies of this "
                "architecture are not supported."
            )
    return [_read_block(block, bridge.cfg) for block in bridge.blocks]


def _read_block(block: Any, cfg: Any) -> Block:
    has = block.submodules
    projection = original(block.mlp.out)
    post_norm = original(block.ln2_post) if "ln2_post" in has else None
    attn_projection = getattr(block.attn, "o", None)
    attn = original(block.attn if attn_projection is None else attn_projection)
    return Block(
        block=original(block),
        attn_out=original(block.ln1_post) if "ln1_post" in has else attn,
        mlp_out=projection if post_norm is None else post_norm,
        projection=projection,
        mlp_norm=original(block.ln2) if "ln2" in has else None,
        post_norm=post_norm,
        post_gain=None if post_norm is None else norm_gain(block.ln2_post, cfg.d_model),
        parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
    )


@dataclass(frozen=True)
class Factors:
    """The factors by which a block multiplies the outputs of attention and MLP before adding them."""

    attn: float
    mlp: float


def read_factors(name: str, layer: int, block: Block, run: RecordedRun) -> Factors:
    """Find a block's factors from a run, and check the sum in `Block`.

    Raises:
        ModelError: the sum does not hold.
    """
    before, after = run.residual[layer].double(), run.residual[layer + 1].double()
    attn, mlp = run.attn_out[layer].double(), run.mlp_out[layer].double()
    parts = torch.stack([attn.flatten(), mlp.flatten()], dim=1)
    # Not `lstsq`, which gives zeros where a part (attention removed from a model, say) is all zeros.
    factors = torch.linalg.pinv(parts) @ (after - before).flatten()
    # A factor near one is exactly one, without the runs' rounding; the factor of an all-zero part is arbitrary.
    factors = torch.where(((factors - 1).abs() < 1e-3) | ~parts.any(0), torch.ones_like(factors), factors)
    sums = [(before + factors[0] * attn + factors[1] * mlp, after, after - before)]
    if run.mid is not None:
        sums.append((before + factors[0] * attn, run.mid[layer].double(), attn))
    for ours, theirs, change in sums:
        error = (ours - theirs).norm()
        if not error <= 1e-5 * theirs.norm() + 1e-3 * change.norm():
            raise ModelError(
                f"Block {layer} of {name!r} is more than its input plus attention plus MLP (off by {error:.2g} of "
                f"{theirs.norm():.2g}): studies of this architecture are not supported."
            )
    return Factors(float(factors[0]), float(factors[1]))


@dataclass(frozen=True)
class RecordedRun:
    """A run, float32, on the model's device."""

    residual: Float[Tensor, "block pos d_model"]
    """The residual stream before every block, and after the last: one more than there are layers."""
    mid: Float[Tensor, "layer pos d_model"] | None
    """The same between attention and MLP; None: the blocks are parallel."""
    attn_out: Float[Tensor, "layer pos d_model"]
    """Output of attention (before a block's factor, see `Factors`)."""
    mlp_out: Float[Tensor, "layer pos d_model"]
    """Output of the MLP (likewise)."""
    projected: Float[Tensor, "layer pos d_model"]
    """Output of the MLP's output projection: `mlp_out`, unless a norm follows it."""
    activations: Float[Tensor, "layer pos d_mlp"]
    """Activations of the neurons."""
    logits: Float[Tensor, " d_vocab"]
    """Logits at the last position."""


@dataclass
class Recorder:
    """Records the tensors at the blocks' sites."""

    blocks: Sequence[Block]
    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def attach(self, stack: ExitStack) -> None:
        """Hook every site for the time of one run of one prompt."""
        for block in self.blocks:
            before(stack, block.block, self._keep("residual"))
            after(stack, block.block, self._keep("output"))
            after(stack, block.attn_out, self._keep("attn_out"))
            after(stack, block.mlp_out, self._keep("mlp_out"))
            after(stack, block.projection, self._keep("projected"))
            before(stack, block.projection, self._keep("activations"))
            if block.mlp_norm is not None:
                before(stack, block.mlp_norm, self._keep("mid"))

    def result(self, logits: Float[Tensor, " d_vocab"]) -> RecordedRun:
        """The run."""
        sites = {name: torch.stack(values) for name, values in self.values.items()}
        mid = None
        if not self.blocks[0].parallel:
            # Without a norm before the MLP (post-norm blocks) no module reads the stream there: compute the sum.
            mid = sites["mid"] if "mid" in sites else sites["residual"] + sites["attn_out"]
        residual = torch.cat([sites["residual"], sites["output"][-1:]])
        names = ("attn_out", "mlp_out", "projected", "activations")
        return RecordedRun(residual=residual, mid=mid, logits=logits, **{name: sites[name] for name in names})

    def _keep(self, name: str) -> Callable[[Tensor], Tensor]:
        def keep(tensor: Tensor) -> Tensor:
            self.values.setdefault(name, []).append(tensor.detach().reshape(-1, tensor.shape[-1]).clone())
            return tensor

        return keep
