"""The model of a study: runs that are recorded, and runs that resume at any block with values replaced.

Runs are the Hugging Face module's own forward pass, in float32, so that masks, positions and caches are the library's.
Blocks before the one a run begins at give their input as their output; the input of that block is then put in.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import psutil
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ingest.errors import ModelError
from ingest.model.forward import take_apart
from ingest.model.hooks import Change, after, before, instead, shaped, skip
from ingest.model.load import LoadedModel
from ingest.model.precision import aliased, move, widen
from ingest.model.probe import original
from ingest.model.weights import soft_capped
from ingest.process.product import linear, use_fastest
from ingest.study.blocks import Block, RecordedRun, Recorder, read_blocks, read_factors

_ROW_TILE = 512
"""Rows whose logits exist together."""


def _most(device: torch.device) -> int:
    return psutil.virtual_memory().available // 4 if device.type == "cpu" else 0


class _SharedLayer(DynamicLayer):
    """One layer's keys and values, [1, head, prefix, d_head]: put before every row's own, and never added to."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = len(key_states)
        keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2)
        values = torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2)
        return keys, values


def share(cache: DynamicCache) -> DynamicCache:
    """A cache that serves any number of runs of the following tokens, of any number of rows."""
    shared = DynamicCache()
    shared.layers = [_SharedLayer(layer.keys, layer.values) for layer in cache.layers]
    return shared


def first_tokens(cache: DynamicCache, n: int) -> DynamicCache:
    """The keys and values of a shared cache's first `n` tokens, as views."""
    first = DynamicCache()
    first.layers = [_SharedLayer(layer.keys[..., :n, :], layer.values[..., :n, :]) for layer in cache.layers]
    return first


Site = Literal["resid_pre", "attn_out", "mlp_out", "neuron"]
"""The residual stream before a block, what attention or the MLP adds to it, the activations of the neurons."""

Edits = Mapping[tuple[int, Site], Change]
"""Functions that change the value, [row, pos, width], at a layer's site."""


@dataclass(frozen=True)
class Tokens:
    """The positions of a resumed run."""

    token_ids: Int[Tensor, " pos"]
    """Tokens of the prompt, or of its part from some position on. Their embeddings are not used."""
    prefix: DynamicCache | None = None
    """Keys and values of the tokens before that position; None: there are none."""
    skip: bool = True
    """Whether the blocks before the start are left out; False: they are run, and their output is replaced."""


class StudyModel:
    """Runs prompts, records every site, and resumes.

    Args:
        model: its bridge is taken apart (its weights can still be read), so it serves one StudyModel only.
        device: where it runs, in float32. A device other than the CPU gets a copy of the weights, in their own dtype.
        most: bytes of weights that are converted to float32 once; where they take more, they are converted at each use.
            None: a quarter of the memory that is free, on a CPU.

    Raises:
        ModelError: the architecture is not one whose blocks add attention and MLP to the residual stream, and whose
            logits are final norm and unembedding (times a constant, or soft-capped); or its bridge was taken apart.
    """

    def __init__(self, model: LoadedModel, device: torch.device, most: int | None = None) -> None:
        self.model, self.device = model, device
        self._exact: StudyModel | None = None
        bridge = model.bridge
        if not hasattr(bridge.blocks[0], "submodules"):
            raise ModelError(f"The bridge of {model.name!r} was taken apart before: load the model again to study it.")
        blocks, norm, unembed = read_blocks(bridge), original(bridge.ln_final), original(bridge.unembed)
        module = take_apart(bridge.original_model).eval().requires_grad_(False)
        self._stored = aliased((module, blocks, norm, unembed), module)
        use_fastest(self._stored[0])
        move(self._stored[0], device)
        module, blocks, norm, unembed = aliased(self._stored, self._stored[0])
        self._weight = unembed.weight.detach().to(torch.float32)
        widen(module, most=_most(device) if most is None else most)
        self._module = module
        # transformers renamed this argument in 5.x and drops the old name in 5.40; models in remote code keep it.
        self._cache_argument = "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"
        self.blocks: list[Block] = blocks
        self.norm, self._unembed = norm, unembed
        bias = getattr(unembed, "bias", None)
        self._bias = self._weight.new_zeros(len(self._weight)) if bias is None else bias.detach().to(torch.float32)
        self._soft_cap = model.cfg.output_logits_soft_cap if soft_capped(model.cfg) else None
        self.scale, self._tuples = 1.0, [None] * len(blocks)
        probe = (torch.arange(12) * 7919 % len(self._weight)).to(device)
        self._read_outputs(probe)
        run = self.record(probe)
        self.factors = [read_factors(model.name, layer, block, run) for layer, block in enumerate(blocks)]

    @property
    def exact(self) -> StudyModel:
        """This model in float32."""
        return self._exact or self

    def rounded(self, dtype: torch.dtype) -> StudyModel:
        """A copy whose blocks compute in another precision; the norms behind MLPs are read, and the final norm and the
        unembedding computed, in float32."""
        other = copy.copy(self)
        other._exact = self.exact
        other._module, blocks, other.norm, other._unembed = aliased(self._stored, self._stored[0])
        move(other._module, self.device, dtype)
        for parameter, own in zip(other.norm.parameters(), self._stored[2].parameters(), strict=True):
            parameter.data = own.data.to(torch.float32)
        other.blocks = [replace(block, post_norm=own.post_norm) for block, own in zip(blocks, self.blocks, strict=True)]
        return other

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @torch.inference_mode()
    def record(self, token_ids: Int[Tensor, " pos"], cache: DynamicCache | None = None) -> RecordedRun:
        """Run one whole prompt and record every site; an empty `cache` receives keys and values."""
        recorder = Recorder(self.blocks)
        final = self._run(token_ids[None], recorder.attach, cache)
        return recorder.result(self.logits(final)[0])

    @torch.inference_mode()
    def resume(
        self, layer: int, residual: Float[Tensor, "row pos d_model"], tokens: Tokens, edits: Edits | None = None
    ) -> Float[Tensor, "row d_model"]:
        """Run from block `layer` on, with `residual` as its input; the final residual stream at the last position."""
        if layer == self.n_layers:
            return residual[:, -1]
        rows, pos, _ = residual.shape
        residual = residual.contiguous()  # Any other layout makes one matrix product per row, at half the speed.

        def attach(stack: ExitStack) -> None:
            for block, length in zip(self.blocks[: layer if tokens.skip else 0], self._tuples, strict=False):
                skip(stack, block.block, length)
            before(stack, self.blocks[layer].block, lambda _: residual)
            for (at, site), change in (edits or {}).items():
                block, change = self.blocks[at], shaped(change, rows, pos)
                if site in ("resid_pre", "neuron"):
                    before(stack, block.block if site == "resid_pre" else block.projection, change)
                else:
                    after(stack, block.attn_out if site == "attn_out" else block.mlp_out, change)

        return self._run(tokens.token_ids.expand(rows, -1), attach, tokens.prefix)

    @torch.inference_mode()
    def prefix(self, token_ids: Int[Tensor, " pos"]) -> DynamicCache:
        """Keys and values of the tokens that both prompts begin with."""
        cache = DynamicCache()
        self._run(token_ids[None], lambda _: None, cache)
        return share(cache)

    @torch.inference_mode()
    def logits(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        """The model's own logits: final norm, unembedding with its bias, scale or soft cap where it has one."""
        return self._logits(final)

    def _logits(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        return self.capped(linear(self.norm(final), self._weight, self._bias) * self.scale)

    @torch.no_grad()
    def predict(self, final: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        """The model's top prediction at each row; equal scores go to the lower token id."""
        return torch.cat([self._logits(tile).max(-1).indices for tile in final.split(_ROW_TILE)])

    def score(self, final: Float[Tensor, "row d_model"], token: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """logit(token) minus the mean logit of the vocabulary, of each row; a gradient goes through it."""
        if self._soft_cap is None:
            weight, bias = self._mean_logit
            directions = (self._weight[token] - weight.to(self._weight.dtype)) * self.scale
            return (self.norm(final) * directions).sum(-1) + (
                self._bias[token] - bias.to(self._bias.dtype)
            ) * self.scale
        parts = []
        for rows, tokens in zip(final.split(_ROW_TILE), token.split(_ROW_TILE), strict=True):
            logits = self._logits(rows)
            parts.append(logits.gather(1, tokens[:, None])[:, 0] - logits.mean(-1))
        return torch.cat(parts)

    def difference(self, final: Float[Tensor, "row d_model"], answer: int, other: int) -> Float[Tensor, " row"]:
        """logit(answer) - logit(other), the model's own, of each row; a gradient goes through it."""
        both = [answer, other]
        logits = self.capped((self.norm(final) @ self._weight[both].T + self._bias[both]) * self.scale)
        return logits[:, 0] - logits[:, 1]

    def direction(self, answer: int, other: int | None) -> tuple[Float[Tensor, " d_model"], float]:
        """The direction whose product with the final norm's output is logit(answer) - logit(other) before any soft cap,
        and the contribution of the unembedding's bias; float64. Without `other`: relative to the mean logit of the
        vocabulary."""
        weight, bias = self._weight[answer].double(), self._bias[answer].double()
        less, off = self._mean_logit if other is None else (self._weight[other].double(), self._bias[other].double())
        return (weight - less) * self.scale, float(bias - off) * self.scale

    @cached_property
    def _mean_logit(self) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""]]:
        """Means over the vocabulary of the unembedding and its bias."""
        return self._weight.mean(0, dtype=torch.float64), self._bias.mean(dtype=torch.float64)

    def unembedding(self, tokens: slice) -> tuple[Float[Tensor, "token d_model"], Float[Tensor, " token"]]:
        """Rows of the unembedding and of its bias, times the scale of the logits."""
        return self._weight[tokens] * self.scale, self._bias[tokens] * self.scale

    def capped(self, logits: Tensor) -> Tensor:
        """Logits with the model's soft cap, where it has one."""
        return logits if self._soft_cap is None else self._soft_cap * torch.tanh(logits / self._soft_cap)

    def _run(
        self, token_ids: Tensor, attach: Callable[[ExitStack], None], cache: DynamicCache | None = None
    ) -> Float[Tensor, "row d_model"]:
        """One forward pass without final norm and unembedding: the norm's input at the last position."""
        last_hidden: list[Tensor] = []

        def keep(hidden: Tensor) -> Tensor:
            last_hidden.append(hidden[:, -1])
            return hidden

        with ExitStack() as stack:
            instead(stack, self.norm, keep)
            attach(stack)
            self.run_headless(stack, token_ids, cache)
        return last_hidden[0]

    def run_headless(self, stack: ExitStack, token_ids: Int[Tensor, "row pos"], cache: DynamicCache | None) -> None:
        """One forward pass without the unembedding, with the hooks that `stack` has attached."""
        instead(stack, self._unembed, lambda hidden: hidden[..., :1])
        self._module(input_ids=token_ids, use_cache=cache is not None, **{self._cache_argument: cache})

    @torch.inference_mode()
    def _read_outputs(self, probe: Int[Tensor, " pos"]) -> None:
        """Find the blocks' factors and the scale of the logits from a plain run."""
        with ExitStack() as stack:
            for layer, block in enumerate(self.blocks):

                def hook(_: object, __: object, output: object, layer: int = layer) -> None:
                    self._tuples[layer] = len(output) if isinstance(output, tuple) else None

                stack.callback(block.block.register_forward_hook(hook).remove)
            expected = self._module(input_ids=probe[None], use_cache=False).logits[0, -1].to(torch.float32)
        logits = self.record(probe).logits
        scale = float((logits * expected).sum() / (logits * logits).sum())
        if self._soft_cap is None and abs(scale - 1) > 1e-3:
            self.scale = scale
        error = float((self.scale * logits - expected).norm() / expected.norm())
        if not error < 1e-3:
            raise ModelError(
                f"The logits of {self.model.name!r} are not its final norm followed by its unembedding (relative "
                f"difference {error:.2g}): studies of this architecture are not supported."
            )
