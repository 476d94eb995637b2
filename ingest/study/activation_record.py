"""One prompt's run with what every site held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.model.hooks import after, before

if TYPE_CHECKING:
    from ingest.study.blocks import Block


@dataclass(frozen=True)
class RecordedRun:
    """A run, float32, on the model's device."""

    residual: Float[Tensor, "block pos d_model"]
    """The residual stream before every block, and after the last: one more than there are layers."""
    mid: Float[Tensor, "layer pos d_model"] | None
    """The same between attention and MLP; None: the blocks are parallel."""
    attn_out: Float[Tensor, "layer pos d_model"]
    """What attention adds to it (before a block's factor, see `Factors`)."""
    mlp_out: Float[Tensor, "layer pos d_model"]
    """What the MLP adds to it (likewise)."""
    projected: Float[Tensor, "layer pos d_model"]
    """What the MLP's output projection gives: `mlp_out`, unless a norm follows it."""
    activations: Float[Tensor, "layer pos d_mlp"]
    """Activations of the neurons."""
    logits: Float[Tensor, " d_vocab"]
    """Logits at the last position."""


@dataclass
class Recorder:
    """Keeps what passes through the blocks' sites."""

    blocks: Sequence[Block]
    kept: dict[str, list[Tensor]] = field(default_factory=dict)

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
        sites = {name: torch.stack(values) for name, values in self.kept.items()}
        mid = None
        if not self.blocks[0].parallel:
            # Without a norm before the MLP (post-norm blocks) nothing reads the stream there: it is the sum.
            mid = sites["mid"] if "mid" in sites else sites["residual"] + sites["attn_out"]
        residual = torch.cat([sites["residual"], sites["output"][-1:]])
        names = ("attn_out", "mlp_out", "projected", "activations")
        return RecordedRun(residual=residual, mid=mid, logits=logits, **{name: sites[name] for name in names})

    def _keep(self, name: str) -> Callable[[Tensor], Tensor]:
        def keep(tensor: Tensor) -> Tensor:
            self.kept.setdefault(name, []).append(tensor.detach().reshape(-1, tensor.shape[-1]).clone())
            return tensor

        return keep
