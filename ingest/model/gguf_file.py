"""Read a GGUF file: transformers dequantises it, it is parsed once, and the model is compared with its list of
tensors."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ingest.errors import ModelError
from ingest.model.checks import check_config, first_line
from ingest.model.pretrained import refuse_incomplete, some
from ingest.model.saved_tokenizer import without
from ingest.model.source import Source, refuse_part
from ingest.process.startup import quiet


def read_gguf(source: Source) -> tuple[nn.Module, Any]:
    """Model (float32, on the CPU) and tokenizer of a GGUF file.

    Raises:
        ModelError: the file is damaged, in parts, of a kind that transformers does not read, or not a whole model.
    """
    try:
        with tempfile.TemporaryDirectory() as alone, _parsed_once(), quiet():
            # In a folder of its own: neighbouring files do not belong to it, and transformers needs a lower-case
            # suffix.
            where = {"pretrained_model_name_or_path": alone, "gguf_file": "model.gguf"}
            path = Path(alone, "model.gguf")
            path.symlink_to(source.gguf.resolve())
            reader = gguf.GGUFReader(str(path))
            if (n_parts := _field(reader, "split.count") or 1) > 1:
                refuse_part(source.gguf, n_parts)
            config = AutoConfig.from_pretrained(**where)
            check_config(source.label, config)
            net, report = AutoModelForCausalLM.from_pretrained(
                **where, config=config, dtype=torch.float32, output_loading_info=True
            )
            refuse_incomplete(source.label, net, report)
            _check_tensors(source, reader, net)
            tokenizer = AutoTokenizer.from_pretrained(**where)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"The GGUF file {str(source.gguf)!r} cannot be read: {first_line(error)} It may be damaged, or of a kind "
            "that transformers does not read; a folder of save_pretrained() of the same model would do."
        ) from error
    n_saved = len(_tokens(reader))
    added = {str(token) for token_id, token in tokenizer.added_tokens_decoder.items() if token_id >= n_saved}
    return _plain(net), without(tokenizer, added)


def _plain(net: nn.Module) -> nn.Module:
    """The model without the marks of its GGUF origin."""
    net.hf_quantizer = None
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(net.config, name):
            delattr(net.config, name)
    net.is_quantized = False
    return net


@contextlib.contextmanager
def _parsed_once() -> Iterator[None]:
    """Within it, `gguf` parses a file once, however often transformers asks (thrice, and for the names of tensors
    once a module): 5 s a time for a vocabulary of 49,152 tokens. If transformers reads in another way, only the time
    changes."""

    class Reader(gguf.GGUFReader):
        """Indexes plain memory: a `memmap` makes an object of 300 bytes for each number taken from it."""

        @property
        def data(self) -> np.ndarray:
            return self._data

        @data.setter
        def data(self, value: np.ndarray) -> None:
            self._data = value.view(np.ndarray)

    originals = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = functools.cache(Reader)
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = originals


def _field(reader: Any, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()


def _tokens(reader: Any) -> Any:
    field = reader.get_field("tokenizer.ggml.tokens")
    return () if field is None else field.data


def _check_tensors(source: Source, reader: Any, net: nn.Module) -> None:
    """Check that every number of the file is in the model: transformers skips unknown tensors."""
    sizes = {tensor.name: int(tensor.n_elements) for tensor in reader.tensors}
    by_name = {tensor.name: tensor for tensor in reader.tensors}
    factors = by_name.get("rope_freqs.weight")
    if factors is not None:
        sizes.pop("rope_freqs.weight")
        if not np.all(np.asarray(factors.data) == 1):
            raise ModelError(
                f"The GGUF file {str(source.gguf)!r} scales its rotary frequencies by a table (rope_freqs.weight), "
                "which transformers leaves out. Use the folder or Hub id it was made from: config.json has the scaling."
            )
    unique = {each.data_ptr(): each.numel() for each in net.parameters()}
    head, embedding = (by_name.get(f"{name}.weight") for name in ("output", "token_embd"))
    tied = net.get_output_embeddings().weight.data_ptr() == net.get_input_embeddings().weight.data_ptr()
    if tied and head is not None and np.array_equal(head.data, embedding.data):
        sizes.pop("output.weight")
    if sum(sizes.values()) != sum(unique.values()):
        raise ModelError(
            f"The GGUF file {str(source.gguf)!r} holds {sum(sizes.values()):,} numbers in {len(sizes)} tensors, and "
            f"the model made of it has {sum(unique.values()):,}{_left(sizes, net, reader)}: it is not the model that "
            "was saved. Use a folder of save_pretrained() of the same model."
        )


def _left(sizes: dict[str, int], net: nn.Module, reader: Any) -> str:
    """The tensors without a parameter, as far as `gguf` knows their names."""
    architecture = _field(reader, "general.architecture")
    kind = next((each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), None)
    if kind is None:
        return ""
    names = gguf.get_tensor_name_map(kind, net.config.get_text_config().num_hidden_layers)
    known = {names.get_name(name, try_suffixes=(".weight", ".bias")) for name, _ in net.named_parameters()}
    left = sorted(name for name in sizes if name not in known)
    return f", without {some(left)}" if left else ""
