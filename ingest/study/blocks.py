"""A transformer block's parts, and how what they compute adds up to its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ingest.errors import ModelError
from ingest.model.probe import norm_gain, original
from ingest.study.activation_record import RecordedRun


@dataclass(frozen=True)
class Block:
    """Modules of one block. In every architecture that is served,

        block output = block input + k_attn * attention output + k_mlp * MLP output,

    where an output is what its last module gives: the norm behind it where the block has one (post-norm), else the
    output projection. Both factors are 1 but in few models (Granite).
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
    """Find the parts by the bridge's names; call before it is taken apart.

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
    """What a block multiplies the outputs of attention and MLP by before adding them."""

    attn: float
    mlp: float


def read_factors(name: str, layer: int, block: Block, run: RecordedRun) -> Factors:
    """Find a block's factors from a run, and hold its sum to be what `Block` says.

    Raises:
        ModelError: it is not.
    """
    before, after = run.residual[layer].double(), run.residual[layer + 1].double()
    attn, mlp = run.attn_out[layer].double(), run.mlp_out[layer].double()
    parts = torch.stack([attn.flatten(), mlp.flatten()], dim=1)
    # Not `lstsq`, which answers zeros where a part (attention cut out of a model, say) is nothing but zeros.
    found = torch.linalg.pinv(parts) @ (after - before).flatten()
    # A factor of one is exactly that: rounding of the runs must not enter; and that of nothing is as good.
    found = torch.where(((found - 1).abs() < 1e-3) | ~parts.any(0), torch.ones_like(found), found)
    sums = [(before + found[0] * attn + found[1] * mlp, after, after - before)]
    if run.mid is not None:
        sums.append((before + found[0] * attn, run.mid[layer].double(), attn))
    for ours, theirs, change in sums:
        error = (ours - theirs).norm()
        if not error <= 1e-5 * theirs.norm() + 1e-3 * change.norm():
            raise ModelError(
                f"Block {layer} of {name!r} is more than its input plus attention plus MLP (off by {error:.2g} of "
                f"{theirs.norm():.2g}): studies of this architecture are not supported."
            )
    return Factors(float(found[0]), float(found[1]))
