"""Requirements on a model: an atlas describes models that are causal, dense, finite and of a known layout."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ingest.errors import ModelError
from ingest.model.precision import widened

_MOE_FIELDS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_JUDGES = ("Classification", "QuestionAnswering", "MultipleChoice", "RewardModel")
_LARGEST = float(torch.finfo(torch.bfloat16).max)
"""Largest number that the blocks hold in either dtype; a little below float32's largest."""


def check_config(name: str, config: Any) -> None:
    """Refuse a model that no atlas can describe, by its configuration, before any weight is read or downloaded.

    Raises:
        ModelError: it is not causal, a mixture of experts, quantised, or of an unknown architecture.
    """
    import transformers
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    architectures = list(getattr(config, "architectures", None) or [])
    mapping = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    causal_class = mapping.get(type(config), None)
    if (why := _not_causal(config, architectures, causal_class is not None)) is not None:
        raise ModelError(f"The model {name!r} ({', '.join(architectures) or config.model_type}) {why}; {_CAUSAL}")
    text_config = config.get_text_config()
    if text_config is not config:
        # TransformerLens would install packages to read their images, the environment's torch among them.
        raise ModelError(
            f"The model {name!r} ({', '.join(architectures) or config.model_type}) reads more than text (images or "
            f"sound), which is not supported. Use a text model of its family, or save the text part alone "
            "(model.language_model with its head) as one."
        )
    for attribute in _MOE_FIELDS:
        experts = getattr(text_config, attribute, None)
        if isinstance(experts, int) and experts > 1:
            raise ModelError(
                f"The model {name!r} is a mixture of experts ({attribute} = {experts}): its neurons sit in experts "
                "that only some tokens reach, which an atlas cannot describe yet. Use a model with dense MLPs."
            )
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None and not _is_gguf(quantised):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised.quant_method
        raise ModelError(
            f"The weights of {name!r} are quantised ({getattr(method, 'value', method)}), which is not read. Use the "
            "model they were made from, or a GGUF file of it."
        )
    classes = causal_class if isinstance(causal_class, tuple) else (causal_class,)
    if not any(each.__name__ in SUPPORTED_ARCHITECTURES for each in classes):
        raise ModelError(
            f"The model {name!r} is of the architecture {classes[0].__name__}, which TransformerLens cannot take "
            "apart, so its neurons cannot be read. Use a model of another family: Llama, Qwen, Gemma, GPT-2, Pythia, "
            "and many more."
        )


def _not_causal(config: Any, architectures: list[str], has_causal_class: bool) -> str | None:
    if getattr(config, "is_encoder_decoder", False):
        return "has an encoder and a decoder"
    if any(architecture.endswith("MaskedLM") for architecture in architectures):
        return "predicts masked tokens from both sides"
    if any(architecture.endswith(_JUDGES) for architecture in architectures):
        return "judges texts and predicts no tokens"
    return None if has_causal_class else "has no causal language model in transformers"


_CAUSAL = (
    "an atlas describes causal language models, which predict every token from those before it. Use a model with a "
    "...ForCausalLM architecture."
)


def _is_gguf(quantised: Any) -> bool:
    method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised.quant_method
    return str(getattr(method, "value", method)).lower() == "gguf"


def check_finite(name: str, net: nn.Module) -> None:
    """Refuse weights that are NaN, infinite, or too large for bfloat16 (which ends just below float32).

    Raises:
        ModelError: names the tensor and the place in it.
    """
    for tensor_name, parameter in net.named_parameters():
        tensor = parameter.detach()
        if not tensor.numel():
            continue
        low, high = (float(end) for end in torch.aminmax(tensor))
        if low >= -_LARGEST and high <= _LARGEST:  # False for NaN, which aminmax hands on.
            continue
        bad = ~(tensor.float().abs() <= _LARGEST)
        place = bad.nonzero()[0].tolist()
        raise ModelError(
            f"The weights of {name!r} are not all finite: {tensor_name} is {float(tensor[tuple(place)])} at {place} "
            f"({int(bad.sum())} of {bad.numel()} values). The file is damaged, or was saved from a run that diverged."
        )


@torch.inference_mode()
def check_causal(name: str, net: nn.Module) -> None:
    """Refuse a model whose predictions change when later tokens do.

    Two texts that differ in their last tokens only are run side by side: what is predicted before them must be equal.

    Raises:
        ModelError: it is not, or the model cannot be run.
    """
    ids = _probe(net)
    try:
        with widened(net):
            logits = net(input_ids=ids, use_cache=False).logits.float()
    except Exception as error:
        raise ModelError(f"The model {name!r} cannot be run: {first_line(error)}") from error
    if not torch.isfinite(logits).all():
        return  # The activation phase reports where the model overflows.
    change = (logits[0] - logits[1]).abs().amax(-1)
    same = int((ids[0] == ids[1]).sum())
    if change[:same].max() > 1e-4 * max(float(change[same:].max()), float(logits.abs().max()) * 1e-2):
        raise ModelError(
            f"The model {name!r} is not causal: what it predicts at a position changes when later tokens do; {_CAUSAL}"
        )


def _probe(net: nn.Module) -> Int[Tensor, "2 pos"]:
    d_vocab = net.get_input_embeddings().weight.shape[0]
    length = min(12, int(getattr(net.config.get_text_config(), "max_position_embeddings", None) or 12))
    ids = (torch.arange(length) * 7919 % d_vocab).repeat(2, 1)
    ids[1, -3:] = (ids[1, -3:] + 1 + d_vocab // 3) % d_vocab
    return ids


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


def check_shapes(model: Any) -> None:
    """Refuse a `LoadedModel` whose weights are not laid out as matrices from and to the residual stream.

    Raises:
        ModelError: names the weights, their shape and the one expected.
    """
    d_model, width = model.cfg.d_model, model.d_mlp
    tensors = {"embedding": (model.embedding, (len(model.embedding), d_model))}
    tensors["unembedding"] = (model.unembedding, (len(model.unembedding), d_model))
    tensors["gain of the final norm"] = (model.final_gain, (d_model,))
    for layer, raw in enumerate(model.layers):
        shapes = {"w_in": (d_model, width), "w_gate": (d_model, width), "w_out": (width, d_model), "gain": (d_model,)}
        tensors |= {f"{part} of layer {layer}": (getattr(raw, part), shape) for part, shape in shapes.items()}
    for part, (tensor, shape) in tensors.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ModelError(
                f"The {part} of {model.name!r} has shape {tuple(tensor.shape)}, expected {shape} for a residual stream "
                f"of width {d_model}: models laid out in this way (with projections between the two, say) are not "
                "supported. Use a model of another family."
            )


def unsupported_layout(name: str, net: nn.Module, why: str) -> ModelError:
    """The error for a model whose parts cannot be told apart."""
    return ModelError(
        f"The model {name!r} ({type(net).__name__}) is laid out in a way that is not supported: an atlas needs an "
        "embedding, blocks with one dense MLP each, a final norm and an unembedding. Use a model of another family. "
        f"({why.rstrip('.')}.)"
    )


def first_line(error: Exception) -> str:
    """The message of a library's exception as one sentence of at most 300 characters."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return (line if len(line) <= 300 else line[:297] + "...").rstrip(".:") + "."
