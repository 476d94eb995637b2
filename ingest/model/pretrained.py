"""Read a model in Hugging Face's layout, from a folder or the Hub, and check it against its files.

`from_pretrained` draws missing tensors at random and leaves out those it has no place for; only its report mentions
either. Both are refused here, and the loaded tensors are compared with those in the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ingest.errors import ModelError
from ingest.model.checks import check_config
from ingest.model.saved_tokenizer import invented_tokens, without
from ingest.model.source import Source
from ingest.process.startup import quiet

_BUFFERS = re.compile(r"(^|\.)(inv_freq|masked_bias|(attn|attention)\.bias|position_ids|embed_positions\.weights)$")
"""Tensors that old files may hold or lack: masks and frequencies that follow from the configuration."""


def read_pretrained(source: Source, revision: str | None) -> tuple[nn.Module, Any, str | None]:
    """Model, tokenizer as saved, and the commit where they come from the Hub.

    Parameters that safetensors files hold under the model's own names are the memory map of those files, in their own
    dtype; all else is in float32, on the CPU.

    Raises:
        ModelError: the model is not supported, or its files lack what its configuration says, or hold more.
    """
    where = {"pretrained_model_name_or_path": _official(source.where), "revision": revision, "trust_remote_code": False}
    with quiet():
        # The configuration first: an unsupported model is refused before its weights are downloaded.
        config = AutoConfig.from_pretrained(**where)
        check_config(source.label, config)

        def folder_of() -> Path | None:
            return source.folder or _hub_folder(where["pretrained_model_name_or_path"], revision)

        with _in_own_dtypes(folder_of):
            net, report = AutoModelForCausalLM.from_pretrained(
                **where, config=config, dtype=torch.float32, output_loading_info=True
            )
        tokenizer = AutoTokenizer.from_pretrained(**where)
    folder = folder_of()
    refuse_incomplete(source.label, net, report)
    if folder is not None:
        check_against_files(source.label, net, folder)
        tokenizer = without(tokenizer, invented_tokens(tokenizer, folder))
    if not tokenizer.get_vocab():
        raise ModelError(
            f"The model {source.label!r} comes without a tokenizer: expected tokenizer.json, or the vocabulary files "
            "of its tokenizer's class, beside config.json."
        )
    return net, tokenizer, getattr(net.config, "_commit_hash", None)


@contextmanager
def _in_own_dtypes(folder_of: Callable[[], Path | None]) -> Iterator[None]:
    """Within it, the parameters of new models begin in the dtypes that the files have them in, to which transformers
    loads them (without a copy where nothing changes). Buffers stay in float32: rounded constants would not be exact.

    Args:
        folder_of: where the files are, once transformers has fetched them: it makes the model afterwards.
    """
    finish = PreTrainedModel.post_init

    def begin(model: PreTrainedModel) -> None:
        finish(model)
        folder = folder_of()
        dtypes = {} if folder is None else _dtypes_in(folder)
        for name, parameter in model.named_parameters():
            saved = next((dtypes[key] for key in _names(name, model.base_model_prefix) if key in dtypes), None)
            if saved is not None:
                parameter.data = parameter.data.to(saved)

    PreTrainedModel.post_init = begin
    try:
        yield
    finally:
        PreTrainedModel.post_init = finish


_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}
"""Names of the dtypes in safetensors files that float32 holds exactly."""


def _dtypes_in(folder: Path) -> dict[str, torch.dtype]:
    """The dtype of each tensor in a folder's safetensors files that is narrower than float32."""
    dtypes = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        dtypes |= {key: _DTYPES[kind] for key, kind in kinds.items() if kind in _DTYPES}
    return dtypes


def _names(key: str, prefix: str) -> tuple[str, str, str]:
    """The names that a tensor may have in a file and in a model: with and without the prefix of the base model."""
    return key, f"{prefix}.{key}", key.removeprefix(f"{prefix}.")


def _official(name: str) -> str:
    """The Hub's name where TransformerLens has a shorter one ('pythia-70m')."""
    from transformer_lens.tools.model_registry.registry_io import resolve_model_alias

    return resolve_model_alias(name) or name


def _hub_folder(name: str, revision: str | None) -> Path | None:
    """The folder of the Hub's client that holds the fetched files."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(cached).parent if isinstance(cached, str) else None


def refuse_incomplete(name: str, net: nn.Module, report: dict[str, Collection[Any]]) -> None:
    """Refuse a model whose files lack some of its tensors, or hold tensors that it has no place for.

    Args:
        report: the loading info of `from_pretrained(..., output_loading_info=True)`: missing, unexpected and mismatched
            keys.

    Raises:
        ModelError: names some of the keys.
    """
    parameters = {key for key, _ in net.named_parameters(remove_duplicate=False)}
    missing = sorted(key for key in report["missing_keys"] if key in parameters or not _BUFFERS.search(key))
    if missing:
        own = sorted(key for key in report["unexpected_keys"] if key.endswith(tuple(f".{key}" for key in missing)))
        hint = f" It has {own[0]!r} where {missing[0]!r} was expected." if own else ""
        raise ModelError(
            f"The files of {name!r} lack {some(missing)} of the model that config.json describes, and what they lack "
            f"would be drawn at random.{hint} Save the model again, or correct its config.json."
        )
    places = {child for part in (net, net.base_model) for child, _ in part.named_children()}
    beyond = sorted(
        key
        for key in report["unexpected_keys"]
        if key.split(".")[0] in places and not (_BUFFERS.search(key) and key not in parameters)
    )
    if beyond:
        raise ModelError(
            f"The files of {name!r} hold {some(beyond)} that the model of its config.json has no place for: it would "
            "run without them. Correct config.json (number of layers, biases, ...) to be that of the model saved."
        )
    wrong = sorted(str(each[0] if isinstance(each, tuple) else each) for each in report.get("mismatched_keys") or ())
    if wrong:
        raise ModelError(
            f"The files of {name!r} hold {some(wrong)} in other shapes than config.json says. Correct config.json to "
            "be that of the model saved."
        )


def check_against_files(name: str, net: nn.Module, folder: Path) -> None:
    """Compare some numbers of every tensor in a folder's safetensors with the model's tensor of the same name.

    Raises:
        ModelError: they differ, or the model has more parameters than the files have numbers.
    """
    state, prefix = net.state_dict(keep_vars=True), net.base_model_prefix
    data_pointers: set[int] = set()
    unnamed = 0
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (not a dictionary)
                ours = next((state[each] for each in _names(key, prefix) if each in state), None)
                saved = file.get_slice(key)
                if ours is None:
                    unnamed += _numel(saved.get_shape())
                    continue
                data_pointers.add(ours.data_ptr())
                if not _same(ours, saved):
                    raise ModelError(
                        f"The model {name!r} was not loaded as it was saved: transformers made {key} differ from what "
                        f"{path.name} holds. Another version of transformers may read it rightly."
                    )
    lost = {key: each for key, each in net.named_parameters() if each.numel() and each.data_ptr() not in data_pointers}
    if data_pointers and sum(each.numel() for each in lost.values()) > unnamed:
        raise ModelError(f"The files of {name!r} lack {some(sorted(lost))} of the model that config.json describes.")


def _same(ours: Tensor, saved: Any) -> bool:
    shape = list(saved.get_shape())
    if shape != list(ours.shape):
        return False
    if not shape:
        return True
    for row in {0, shape[0] - 1} if shape[0] else ():
        theirs = saved[row : row + 1]
        if not theirs.is_floating_point() or theirs.dtype.itemsize == 1:
            return True
        if not torch.equal(theirs.to(torch.float32).nan_to_num(), ours.detach()[row : row + 1].float().nan_to_num()):
            return False
    return True


def _numel(shape: list[int]) -> int:
    return int(torch.tensor(shape).prod()) if shape else 1


def some(keys: list[str]) -> str:
    """The number of keys, and the first three."""
    first_keys = ", ".join(keys[:3])
    return f"{len(keys)} tensor{'s'[: len(keys) != 1]} ({first_keys}{', ...' if len(keys) > 3 else ''})"
