"""The forward pass without the bridge: the Hugging Face module, SDPA attention, and one hook a layer.

The hook reads the input of the MLP's output projection, which is TransformerLens' `blocks.{l}.mlp.hook_post`. The
unembedding is done apart, in tiles, so float32 logits never exist.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ingest.errors import ModelError
from ingest.model.load import LoadedModel
from ingest.model.placement import Room, divide
from ingest.model.precision import aliased, move, widened
from ingest.model.probe import original
from ingest.model.unembedding import TopToken
from ingest.model.weights import Readout
from ingest.process.product import use_fastest

OnLayer = Callable[[int, Float[Tensor, "batch pos d_mlp"]], None]
OnSides = Callable[[int, *[Float[Tensor, "batch pos d_mlp"]] * 3], None]


class _Keep(nn.Module):
    """Replaces the final norm and keeps its input."""

    def forward(self, residual: Tensor) -> Tensor:
        self.residual = residual
        return residual


class _NoLogits(nn.Module):
    """Replaces the unembedding, whose [batch, pos, d_vocab] output never exists whole."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[..., :1]


class LeanModel:
    """Runs texts and predicts tokens.

    Args:
        model: its bridge is taken apart (its weights can still be read).
        device: of the final norm, the unembedding and all that `run` gives; dtype: of the blocks.
        readout: for kind 'embed', the matrix whose argmax is the top prediction (the original post's convention);
            None or kind 'unembed' predicts by the model's own logits.
        room: the devices that the blocks are divided over, the first being `device`; None: all are on one.
        blocks_on: this one; None: `device`.
    """

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        dtype: torch.dtype,
        readout: Readout | None = None,
        room: Room | None = None,
        blocks_on: torch.device | None = None,
    ) -> None:
        self._blocks_on = torch.device("cpu")  # So far.
        self.model, self.device, self.dtype, self.d_model = model, device, dtype, model.embedding.shape[1]
        bridge = model.bridge
        self.n_layers, self.d_mlp = len(bridge.blocks), model.d_mlp
        blocks = [original(block) for block in bridge.blocks]
        outputs = [original(block.mlp.out) for block in bridge.blocks]
        sides = [[block.mlp.gate, getattr(block.mlp, "in")] for block in bridge.blocks if hasattr(block.mlp, "gate")]
        norm, unembed = original(bridge.ln_final), original(bridge.unembed)
        module = take_apart(bridge.original_model)
        with widened(module):
            expected = _logits_of(module)
        paths = {id(part): path for path, part in module.named_modules()}
        module = aliased(module, module)  # The bridge keeps its weights.
        self._module = module
        self._outputs = [module.get_submodule(paths[id(part)]) for part in outputs]
        # A model that has gate and input in one projection has none.
        side_paths = [[paths.get(id(original(part))) for part in both] for both in sides]
        self._sides = [[module.get_submodule(path) for path in both] for both in side_paths if None not in both]
        self._norm = copy.deepcopy(norm).to(torch.float32)
        self._weight = unembed.weight.detach()
        bias = getattr(unembed, "bias", None)
        self._bias = None if bias is None else bias.detach().to(torch.float32)
        self._keep = _Keep()
        module.set_submodule(paths[id(norm)], self._keep)
        module.set_submodule(paths[id(unembed)], _NoLogits())
        module.eval().requires_grad_(False)
        use_fastest(module)
        with widened(module):
            self._check_logits(expected)  # Checked in float32 on the CPU, before any rounding.
        self._blocks_on = blocks_on or device
        if room is None:
            move(module, self._blocks_on, dtype)
        else:
            divide(module, [module.get_submodule(paths[id(block)]) for block in blocks], dtype, room)
        self._norm = self._norm.to(device)
        self._by_embedding = readout is not None and readout.kind != "unembed"
        self.unembed = (
            TopToken(readout.columns.to(device))
            if readout is not None and self._by_embedding
            else TopToken(self._weight.to(device), None if self._bias is None else self._bias.to(device))
        )

    @property
    def has_sides(self) -> bool:
        """Whether `run` can report gate and input: both are projections of their own in every layer."""
        return len(self._sides) == self.n_layers

    @torch.inference_mode()
    def run(
        self, input_ids: Int[Tensor, "batch pos"], on_layer: OnLayer | None = None, on_sides: OnSides | None = None
    ) -> Float[Tensor, "batch pos d"]:
        """Run texts padded on the right; `on_layer(layer, activations)` is called as each layer produces them.

        `on_sides(layer, activations, gate, in)` is called too, with the pre-activations of a gated MLP's two sides.
        Padding needs no mask: attention is causal, so it reaches no earlier position. Returns the final residual.
        Tensors are on `device`, wherever their layer is.
        """
        batch, pos = input_ids.shape
        handles = []
        if on_layer is not None:
            for layer, part in enumerate(self._outputs):

                def hook(_: nn.Module, args: tuple[Any, ...], layer: int = layer) -> None:
                    on_layer(layer, args[0].view(batch, pos, -1).to(self.device))

                handles.append(part.register_forward_pre_hook(hook))
        if on_sides is not None:
            for layer, (part, both) in enumerate(zip(self._outputs, self._sides, strict=True)):
                handles += _watch(part, both, partial(self._tell, on_sides, layer))
        try:
            self._module(input_ids=input_ids.to(self._blocks_on), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return self._keep.residual.to(self.device)

    def _tell(self, on_sides: OnSides, layer: int, *sides: Float[Tensor, "batch pos d_mlp"]) -> None:
        on_sides(layer, *(side.to(self.device) for side in sides))

    @torch.inference_mode()
    def predict(self, residual: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        """Top prediction at each row of the final residual; equal logits go to the lower token id."""
        return self.unembed(self.normalised(residual) if self._by_embedding else self._norm(residual.to(torch.float32)))

    def normalised(self, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The final norm's output before gain and bias (TransformerLens' `ln_final.hook_normalized`), float32."""
        x = residual.to(torch.float32)
        if self.model.layer_norm:
            x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + self.model.cfg.eps).sqrt()

    @torch.inference_mode()
    def _check_logits(self, expected: Float[Tensor, "row d_vocab"]) -> None:
        """Refuse a model whose logits are more than norm and unembedding (up to scale and soft cap)."""
        if not torch.isfinite(expected).all():
            return  # The activation phase reports where the model overflows.
        residual = self.run(_probe(len(self._weight))).flatten(0, 1)
        logits = self._norm(residual.to(torch.float32)) @ self._weight.to(torch.float32).T
        if self._bias is not None:
            logits = logits + self._bias
        cap = getattr(self.model.cfg, "output_logits_soft_cap", -1.0) or -1.0
        if cap > 0:
            logits = cap * torch.tanh(logits / cap)
        scale = (logits * expected).sum() / (logits * logits).sum()
        error = (scale * logits - expected).norm() / expected.norm()
        if not scale > 0 or error > 0.01:
            raise ModelError(
                f"The logits of {self.model.name!r} are not its final norm followed by its unembedding (relative "
                f"difference {error:.2g}): this architecture is not supported."
            )


def _watch(part: nn.Module, both: list[nn.Module], tell: Callable[[Tensor, Tensor, Tensor], None]) -> list[Any]:
    """Hooks that report the input of `part` together with the outputs of two modules that run before it."""
    seen: list[Tensor | None] = [None, None]

    def keep(side: int, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen[side] = output

    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        outputs, seen[:] = tuple(seen), (None, None)
        tell(args[0].view_as(outputs[0]), *outputs)

    watched = [module.register_forward_hook(partial(keep, side)) for side, module in enumerate(both)]
    return [*watched, part.register_forward_pre_hook(hook)]


def take_apart(module: nn.Module) -> nn.Module:
    """Put a bridge's original modules back in place, with PyTorch's own attention where the model allows it."""
    for name, child in module.named_children():
        bare = original(child)
        vars(bare).pop("forward", None)  # A replacement (Falcon's) that would read this module's weights in a copy too.
        if bare is not child:
            module._modules[name] = bare
        take_apart(bare)
    if hasattr(module, "set_attn_implementation"):
        try:
            module.set_attn_implementation("sdpa")
        except ValueError:  # Soft-capped attention scores (Gemma 2) exist in eager form only.
            module.set_attn_implementation("eager")
    return module


def _probe(d_vocab: int) -> Int[Tensor, "batch pos"]:
    return (torch.arange(12) * 7919 % d_vocab).view(1, -1)


@torch.inference_mode()
def _logits_of(module: nn.Module) -> Float[Tensor, "row d_vocab"]:
    d_vocab = module.get_output_embeddings().weight.shape[0]
    return module(input_ids=_probe(d_vocab), use_cache=False).logits[0].to(torch.float32)


def bytes_per_token(n_layers: int, d_mlp: int, d_model: int, dtype: torch.dtype) -> int:
    """Scratch bytes of one position of a batch, padding included; nothing else grows with the batch.

    One byte of bin an activation, in every layer; one layer's MLP (gate, input, product and a spare) and residual
    and attention (a dozen of d_model) in the blocks' dtype; the keys that a text of a few tokens adds.
    """
    return n_layers * d_mlp + dtype.itemsize * (4 * d_mlp + 12 * d_model) + 8 * d_mlp
