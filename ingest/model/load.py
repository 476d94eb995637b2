"""Load a language model: TransformerLens names its parts, the Hugging Face module underneath runs.

The bridge's own forward pass costs 1.3 to 1.5 times the module's (it forces eager attention and fires every hook), so
it is removed again once its modules are identified. A test checks that the activations of both are equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import xxhash
from jaxtyping import Float
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerFast

from atlas.core.errors import AtlasError
from ingest.errors import ModelError
from ingest.model.cache import read_cached
from ingest.model.checks import (
    check_causal,
    check_config,
    check_finite,
    check_mlp,
    check_shapes,
    first_line,
    unsupported_layout,
)
from ingest.model.pretrained import read_pretrained
from ingest.model.probe import NOTHING, Behind, norm_gain, what_is_behind
from ingest.model.saved_tokenizer import check_bos
from ingest.model.source import EXPECTED, find_source
from ingest.process.startup import quiet

_HASHED = 1 << 24
"""Numbers of a tensor that are float32 at a time for the fingerprint."""


@dataclass(frozen=True)
class RawLayer:
    """One MLP's weights as the checkpoint has them, in TransformerLens' orientation: views, not copies.

    `gain` is that of the norm the MLP reads through: ln2; ln1 where a parallel block shares it; None where a block
    normalises its output instead (post-norm).
    """

    w_in: Float[Tensor, "d_model d_mlp"]
    w_out: Float[Tensor, "d_mlp d_model"]
    w_gate: Float[Tensor, "d_model d_mlp"] | None
    gain: Float[Tensor, " d_model"] | None
    behind: Behind = NOTHING
    """The norms and factors between the output and the final norm."""


@dataclass(frozen=True)
class LoadedModel:
    """A model on the CPU, its weights in the dtype of its files, whose memory map they are. The bridge serves until
    `ingest.model.forward` takes it apart; the weights stay."""

    name: str
    revision: str | None
    fingerprint: str
    bridge: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    layers: list[RawLayer] = field(repr=False)
    embedding: Float[Tensor, "d_vocab d_model"] = field(repr=False)
    unembedding: Float[Tensor, "d_vocab d_model"] = field(repr=False)
    final_gain: Float[Tensor, " d_model"] = field(repr=False)

    @property
    def cfg(self) -> Any:
        """TransformerLens' configuration: d_model, d_mlp, act_fn, normalization_type, n_ctx, ..."""
        return self.bridge.cfg

    @property
    def d_mlp(self) -> int:
        """Neurons a layer, from the weights themselves (the configuration has it wrong for some families)."""
        return self.layers[0].w_out.shape[0]

    @property
    def gated(self) -> bool:
        """Whether the MLP is gated, so that activations are signed."""
        return self.layers[0].w_gate is not None

    @property
    def layer_norm(self) -> bool:
        """True for LayerNorm, False for RMSNorm."""
        return str(self.cfg.normalization_type).startswith("LN")


def load_model(name: str, revision: str | None = None) -> LoadedModel:
    """Load `smollm2-135m`, a GGUF file, a folder of either kind, a Hub id, or a TransformerLens name.

    A dequantised GGUF model is kept in the cache directory for the next run (`ingest.model.cache`).

    Raises:
        ModelError: the model cannot be found or read, its files are not the whole model, or it is one that an atlas
            cannot describe (not causal, attention-only, experts, an unknown layout).
        TokenizerError: its tokenizer is not the model's.
    """
    source = find_source(name)
    try:
        if source.gguf is None:
            net, tokenizer, commit = read_pretrained(source, revision)
            revision = commit or revision
        else:
            net, tokenizer = read_cached(source)
            revision = source.revision or revision
        return describe(source.label, revision, bridge_for(source.label, net), tokenizer)
    except AtlasError:
        raise
    except Exception as error:  # Libraries raise any exception on files from elsewhere.
        raise ModelError(
            f"The model {name!r} cannot be loaded: {first_line(error)} {EXPECTED[:-1]} (check the spelling, the "
            "network, the files, and for gated models your Hub login)."
        ) from error


def describe(name: str, revision: str | None, bridge: Any, tokenizer: Any) -> LoadedModel:
    """Check a bridge and take its weights.

    Raises:
        ModelError: it has no dense MLP neurons, they are not read and added as neurons are, or its weights are laid out
            in a way that is not known.
        TokenizerError: the model has no row for the tokenizer's BOS.
    """
    check_mlp(name, bridge)
    if getattr(getattr(bridge, "ln_final", None), "original_component", None) is None:
        raise unsupported_layout(name, bridge.original_model, "it has no final norm")
    behind = what_is_behind(name, bridge)
    try:
        model = LoadedModel(
            name=name,
            revision=revision,
            fingerprint=_fingerprint(bridge.original_model),
            bridge=bridge,
            tokenizer=tokenizer,
            layers=[_raw_layer(block, behind[i], bridge.cfg) for i, block in enumerate(bridge.blocks)],
            embedding=bridge.W_E.detach(),
            unembedding=bridge.W_U.detach().T,
            final_gain=norm_gain(bridge.ln_final, bridge.cfg.d_model),
        )
        check_shapes(model)
    except AtlasError:
        raise
    except Exception as error:
        raise unsupported_layout(name, bridge.original_model, first_line(error)) from error
    check_bos(name, tokenizer, min(len(model.embedding), len(model.unembedding)))
    return model


def _raw_layer(block: Any, behind: Behind, cfg: Any) -> RawLayer:
    mlp, norm = block.mlp, None
    w_in, w_out, w_gate = mlp.W_in.detach(), mlp.W_out.detach(), mlp.W_gate
    if "ln2" in block.submodules:
        norm = block.ln2
    elif cfg.parallel_attn_mlp and "ln1" in block.submodules:
        norm = block.ln1
    gain = None if norm is None else norm_gain(norm, cfg.d_model)
    return RawLayer(w_in, w_out, None if w_gate is None else w_gate.detach(), gain, behind)


def bridge_for(name: str, model: nn.Module, tokenizer: Any = None) -> Any:
    """Put a TransformerLens bridge around a Hugging Face model that is already loaded.

    The bridge runs no text, so it does not get the tokenizer, to which it would add tokens.

    Raises:
        ModelError: an atlas cannot describe the model, or its weights are not finite.
    """
    check_config(name, model.config)
    check_finite(name, model)
    check_causal(name, model)
    model.config.architectures = [type(model).__name__]
    try:
        with quiet():
            bridge = TransformerBridge.boot_transformers(
                model.name_or_path or name, hf_model=model, tokenizer=_no_tokenizer(), device="cpu", dtype=model.dtype
            )
    except Exception as error:
        raise unsupported_layout(name, model, first_line(error)) from error
    bridge.eval()
    return bridge


def _no_tokenizer() -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")))


def _fingerprint(model: nn.Module) -> str:
    """xxh3-128 over names, shapes and float32 bytes of the parameters, in order of name."""
    digest = xxhash.xxh3_128()
    seen: set[int] = set()
    for name, tensor in sorted(model.named_parameters(), key=lambda item: item[0]):
        if tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        digest.update(f"{name.replace('.original_component', '').replace('._original_component', '')}".encode())
        digest.update(str(tuple(tensor.shape)).encode())
        for part in tensor.detach().contiguous().view(-1).split(_HASHED):
            digest.update(part.to(torch.float32).numpy().data)
    return digest.hexdigest()
