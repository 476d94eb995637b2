"""The gradient of what a model predicts with respect to every neuron: one forward and one backward pass a batch.

With attention's keys and values held constant a position's score depends on that position's own residual stream alone,
and one backward pass of the sum over positions gives every position its own gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from ingest.model.hooks import Change, after, before, instead
from ingest.model.precision import recomputed
from ingest.study.norms import norm_scales
from ingest.study.study_model import StudyModel

OnGradient = Callable[[int, Float[Tensor, "row d_mlp"], Float[Tensor, "row d_mlp"]], None]
"""Called with a layer, its activations and the gradient with respect to them; the last layer comes first."""

Score = Callable[[Float[Tensor, "row d_model"]], Float[Tensor, " row"]]
"""From the final residual stream of rows to the numbers whose sum is differentiated."""


class _HeldCache(DynamicCache):
    """An empty cache that keeps nothing, and makes keys and values constants to the backward pass.

    Every architecture passes its keys and values through its cache, whatever its attention looks like.
    """

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return key_states.detach(), value_states.detach()


class GradientRun:
    """A forward pass of texts, padded on the right, ready for one `backward`. Rows are the counted positions, text by
    text.

    Args:
        token: the token of each row; None: the model's top prediction there (ties: the lower id).
        held: whether attention's keys and values are constants. False: what a position writes reaches later ones.
    """

    def __init__(
        self,
        model: StudyModel,
        token_ids: Int[Tensor, "batch pos"],
        counted: Bool[Tensor, "batch pos"],
        token: Int[Tensor, " row"] | None = None,
        *,
        held: bool = True,
    ) -> None:
        self.model, self._token = model, token
        self._rows = counted.flatten().nonzero()[:, 0]
        self.activations: list[Float[Tensor, "*position d_mlp"]] = []
        """Each layer's activations at all positions, in the graph, until `backward` drops them."""
        final: list[Tensor] = []
        self.projected: list[Float[Tensor, "row d_model"]] = []
        """What each layer's output projection gives, where a norm follows it."""
        with torch.enable_grad(), recomputed(), ExitStack() as stack:
            # The backward pass goes down to the stream before the first block, and no further.
            before(stack, model.blocks[0].block, lambda hidden: hidden.detach().requires_grad_())
            for block in model.blocks:
                before(stack, block.projection, _keep(self.activations, lambda tensor: tensor))
                if block.post_norm is not None:
                    after(stack, block.projection, _keep(self.projected, self._of_rows))
            instead(stack, model.norm, _keep(final, lambda hidden: hidden))
            model.run_headless(stack, token_ids, _HeldCache() if held else None)
            self.final: Float[Tensor, "row d_model"] = final[0].reshape(counted.numel(), -1)[self._rows].float()
            """The final residual stream of the rows, in the graph."""

    @cached_property
    def token(self) -> Int[Tensor, " row"]:
        """The token of each row."""
        return self.model.predict(self.final.detach()) if self._token is None else self._token

    def backward(self, on_gradient: OnGradient, score: Score | None = None) -> None:
        """Report each layer's activations and their gradients, float32, one layer after another.

        Args:
            score: None: logit(token) minus the mean logit of the vocabulary.
        """
        for layer, activations in enumerate(self.activations):
            activations.register_hook(self._reporter(layer, activations.detach(), on_gradient))
        self.activations = []
        with torch.enable_grad():
            scores = self.model.score(self.final, self.token) if score is None else score(self.final)
            scores.sum().backward()

    def direct_scale(self, layer: int) -> Float[Tensor, " row"]:
        """The factor of the norms between a layer's neurons and the logits, without their gains: the final norm's, that
        of a norm behind the MLP, and that of the logits."""
        norms = self.model.model
        scale = norm_scales(self.model.norm, norms.final_gain, self.final.detach(), norms.layer_norm)[0]
        block = self.model.blocks[layer]
        if block.post_norm is not None and block.post_gain is not None:
            projected = self.projected[layer].float()
            scale = scale * norm_scales(block.post_norm, block.post_gain, projected, norms.layer_norm)[0]
        return scale * self.model.scale

    def _reporter(self, layer: int, activations: Tensor, on_gradient: OnGradient) -> Callable[[Tensor], None]:
        def report(gradient: Tensor) -> None:
            on_gradient(layer, self._of_rows(activations).float(), self._of_rows(gradient).float())

        return report

    def _of_rows(self, tensor: Tensor) -> Tensor:
        return tensor.detach().reshape(-1, tensor.shape[-1])[self._rows]


def _keep(kept: list[Tensor], read: Change) -> Change:
    def keep(tensor: Tensor) -> Tensor:
        kept.append(read(tensor))
        return tensor

    return keep
