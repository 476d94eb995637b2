"""What is loaded is what was saved, or it is refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ingest.errors import ModelError, TokenizerError
from ingest.model import pretrained
from ingest.model.forward import LeanModel
from ingest.model.load import load_model
from ingest.model.saved_tokenizer import bos_for
from ingest.model.source import find_source, label_of
from ingest.model.vocabulary import read_vocabulary
from ingest.model.weights import layer_weights, read_readout
from tests import tiny

Tensors = dict[str, torch.Tensor]
UP = "model.layers.1.mlp.up_proj.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of save_pretrained(): an untied gated model, and a tied one that is not."""
    folder = tmp_path_factory.mktemp("saved")
    return {"llama": tiny.save_llama(folder / "llama"), "gpt2": tiny.save_gpt2(folder / "gpt2")}


@pytest.fixture
def change(saved, tmp_path: Path):
    """A copy of one of them with other tensors or another configuration."""

    def make(name: str, tensors: Callable[[Tensors], Tensors] | None = None, **config: object) -> Path:
        folder = shutil.copytree(saved[name], tmp_path / "model")
        if tensors is not None:
            changed = {key: each.contiguous() for key, each in tensors(load_file(folder / "model.safetensors")).items()}
            save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        edit(folder / "config.json", **config)
        return folder

    return make


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + key: each for key, each in tensors.items()}


def less(*parts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: each for key, each in tensors.items() if not any(part in key for part in parts)}


def more(**extra: torch.Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, **{key.replace("__", "."): each for key, each in extra.items()}}


def without_prefix(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key.removeprefix(prefix): each for key, each in tensors.items()}


def masks(prefix: str) -> Tensors:
    return {f"{prefix}h.0.attn.bias": torch.ones(1, 1, 48, 48), f"{prefix}h.0.attn.masked_bias": torch.tensor(-1e4)}


INCOMPLETE = {
    "keys with a foreign prefix": ("llama", prefixed("module."), {}, r"lack 30 tensors \(lm_head\.weight, .*'module\."),
    "untied without its head": ("llama", less("lm_head"), {}, r"lack 1 tensor \(lm_head\.weight\)"),
    "fewer layers than config.json": ("llama", None, {"num_hidden_layers": 5}, r"lack 18 tensors \(model\.layers\.3"),
    "more layers than config.json": ("llama", None, {"num_hidden_layers": 2}, r"hold 9 tensors \(model\.layers\.2"),
    "more layers, not gated": ("gpt2", None, {"n_layer": 1}, r"hold 11 tensors \(transformer\.h\.1"),
    "one tensor missing": ("llama", less(UP), {}, rf"lack 1 tensor \({UP}\)"),
    "no final norm": ("llama", less("model.norm"), {}, r"lack 1 tensor \(model\.norm\.weight\)"),
    "a bias that is not in the file": ("llama", None, {"attention_bias": True}, r"lack 12 tensors .*k_proj\.bias"),
    "a bias that has no place": (
        "llama",
        more(model__layers__0__self_attn__q_proj__bias=torch.zeros(32)),
        {},
        r"hold 1 tensor .*no place for",
    ),
    "another width": ("llama", None, {"intermediate_size": 40}, r"cannot be loaded|other shapes"),
    "tied, without its embedding": ("gpt2", less("wte"), {}, r"lack \d tensors? \("),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_files_that_are_not_the_whole_model_are_refused(case: str, change) -> None:
    name, tensors, config, words = INCOMPLETE[case]
    with pytest.raises(ModelError, match=words):
        load_model(str(change(name, tensors, **config)))


WHOLE = {
    "as saved": ("llama", None),
    "without the prefix of the base model": ("llama", without_prefix("model.")),
    "tied, of the base model": ("gpt2", without_prefix("transformer.")),
    "masks of old files": ("gpt2", lambda tensors: {**tensors, **masks("transformer.")}),
    "masks of old files of the base model": (
        "gpt2",
        lambda tensors: {**without_prefix("transformer.")(tensors), **masks("")},
    ),
    "frequencies of old files": ("llama", more(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4))),
    "a value head beside it": ("gpt2", more(v_head__summary__weight=torch.ones(1, 24))),
}


@pytest.mark.parametrize("case", WHOLE)
def test_whole_models_load_with_the_same_weights(case: str, change, saved) -> None:
    name, tensors = WHOLE[case]
    loaded, plain = load_model(str(change(name, tensors))), load_model(str(saved[name]))
    assert loaded.fingerprint == plain.fingerprint
    key = "model.embed_tokens.weight" if name == "llama" else "transformer.wte.weight"
    assert torch.equal(loaded.embedding, load_file(saved[name] / "model.safetensors")[key])


def test_a_head_of_its_own_stays_its_own_whatever_the_configuration_says(change, saved) -> None:
    loaded = load_model(str(change("llama", tie_word_embeddings=True)))
    assert torch.equal(loaded.unembedding, load_file(saved["llama"] / "model.safetensors")["lm_head.weight"])


def test_a_library_that_changes_what_it_loads_is_not_believed(change, monkeypatch: pytest.MonkeyPatch) -> None:
    read = pretrained.AutoModelForCausalLM.from_pretrained

    def spoilt(*args: object, **options: object):
        net, report = read(*args, **options)
        with torch.no_grad():
            net.model.layers[1].mlp.up_proj.weight[0] = 0
        return net, report

    monkeypatch.setattr(pretrained.AutoModelForCausalLM, "from_pretrained", spoilt)
    with pytest.raises(ModelError, match=f"not loaded as it was saved: transformers made {UP} differ"):
        load_model(str(change("llama")))


def test_hub_names_are_asked_for_with_their_revision(saved, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for kind in (pretrained.AutoConfig, pretrained.AutoModelForCausalLM, pretrained.AutoTokenizer):
        read = kind.from_pretrained

        def local(pretrained_model_name_or_path: str, revision: str, trust_remote_code: bool, read=read, **options):
            if pretrained_model_name_or_path != saved["gpt2"]:  # The tokenizer asks for the configuration again.
                asked.append((pretrained_model_name_or_path, revision, trust_remote_code))
            found = read(saved["gpt2"], **options)
            if isinstance(found, tuple):
                found[0].config._commit_hash = "abc123"
            return found

        monkeypatch.setattr(kind, "from_pretrained", local)
    loaded = load_model("pythia-70m", revision="step1000")
    assert asked == [("EleutherAI/pythia-70m", "step1000", False)] * 3
    assert (loaded.name, loaded.revision) == ("pythia-70m", "abc123")


def test_pickles_and_parts_load_and_are_looked_at(change, tmp_path: Path, saved) -> None:
    tensors = load_file(saved["llama"] / "model.safetensors")
    folder = change("llama")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert load_model(str(folder)).fingerprint == load_model(str(saved["llama"])).fingerprint
    torch.save(less(UP)(tensors), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=f"lack 1 tensor .{UP}"):
        load_model(str(folder))
    (folder / "pytorch_model.bin").unlink()
    hf.AutoModelForCausalLM.from_pretrained(saved["llama"]).save_pretrained(folder, max_shard_size="30KB")
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert load_model(str(folder)).fingerprint == load_model(str(saved["llama"])).fingerprint
    parts[1].unlink()
    with pytest.raises(ModelError, match=rf"1 of the {len(parts)} files .* are missing, '{parts[1].name}' first"):
        load_model(str(folder))


@pytest.mark.parametrize(
    "key",
    [
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.norm.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.2.mlp.down_proj.weight",
        "model.layers.1.post_attention_layernorm.weight",
    ],
)
@pytest.mark.parametrize(("value", "dtype"), [("nan", torch.float32), ("-inf", torch.float16), ("1e39", torch.float64)])
def test_weights_that_are_not_finite_are_refused_by_name(key: str, value: str, dtype: torch.dtype, change) -> None:
    def spoil(tensors: Tensors) -> Tensors:
        tensors[key] = tensors[key].to(dtype)
        tensors[key].view(-1)[5] = float(value)
        return tensors

    with pytest.raises(ModelError, match=rf"not all finite: {key} is (nan|-?inf) at \[.*5\] \(1 of "):
        load_model(str(change("llama", spoil)))


NOT_CAUSAL = {
    "encoder": (hf.BertConfig(), {"architectures": ["BertForMaskedLM"]}, r"\(BertForMaskedLM\) predicts masked tokens"),
    "encoder called causal": (hf.RobertaConfig(), {"architectures": ["RobertaForCausalLM"]}, "TransformerLens cannot"),
    "encoder and decoder": (hf.T5Config(), {"architectures": ["T5ForConditionalGeneration"]}, "encoder and a decoder"),
    "vision": (hf.ViTConfig(), {"architectures": ["ViTModel"]}, "no causal language model"),
    "experts": (hf.MixtralConfig(), {}, "mixture of experts"),
    "quantised": (hf.LlamaConfig(), {"quantization_config": {"quant_method": "gptq"}}, r"quantised \(gptq\)"),
    "unknown to TransformerLens": (hf.PersimmonConfig(), {}, "PersimmonForCausalLM, which TransformerLens"),
    "unknown to transformers": (hf.LlamaConfig(), {"model_type": "dream"}, "cannot be loaded: .*dream"),
    "code of its own": (
        hf.LlamaConfig(),
        {"model_type": "llada", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}},
        "cannot be loaded: .*(llada|trust_remote_code|code)",
    ),
}


@pytest.mark.parametrize("case", NOT_CAUSAL)
def test_other_kinds_of_model_are_refused_by_their_configuration(case: str, tmp_path: Path) -> None:
    config, changes, words = NOT_CAUSAL[case]
    config.save_pretrained(tmp_path)
    edit(tmp_path / "config.json", **changes)
    (tmp_path / "model.safetensors").write_bytes(b"not read")
    with pytest.raises(ModelError, match=words) as caught:
        load_model(str(tmp_path))
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


def test_a_model_that_sees_what_comes_later_is_refused(tmp_path: Path) -> None:
    """A class for causal models does not make one: BERT under its LM head attends both ways unless told not to."""
    tokenizer = tiny.make_tokenizer()
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = hf.BertConfig(**size, vocab_size=len(tokenizer))
    hf.BertLMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is not causal: what it predicts at a position changes when later tokens do"):
        load_model(str(tmp_path))


_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 320}
_IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_OPT = {**_SIZE, **_IDS, "ffn_dim": 48, "max_position_embeddings": 64}
_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
LAYOUTS = {
    "OPT-350m": (hf.OPTConfig(**_OPT, word_embed_proj_dim=16, do_layer_norm_before=False), "no final norm"),
    "OPT, post-norm": (hf.OPTConfig(**_OPT, word_embed_proj_dim=32, do_layer_norm_before=False), "no final norm"),
    "Falcon's new decoder": (
        hf.FalconConfig(**_SIZE, **_IDS, new_decoder_architecture=True, num_kv_heads=2),
        "laid out in a way",
    ),
    "GPT": (hf.OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=4, vocab_size=320), "no final norm"),
    "gate and input in one": (
        hf.ModernBertDecoderConfig(**_SIZE, **_IDS, intermediate_size=48),
        r"w_in of layer 0 .*\(32, 96\)",
    ),
    "recurrent": (hf.RwkvConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2), "no dense MLP"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_that_cannot_be_read_are_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    config, words = LAYOUTS[case]
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(str(tmp_path))
    assert "Use a model" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_that_read_images_are_refused_before_anything_is_installed(tmp_path: Path) -> None:
    """TransformerLens runs pip for torchvision, which brings a torch of its own choice."""
    text = {**_SIZE, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
    hf.Gemma3Config(text_config=text, vision_config=_VISION).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="reads more than text"):
        load_model(str(tmp_path))


def test_a_norm_without_parameters_has_a_gain_of_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = hf.OlmoForCausalLM(hf.OlmoConfig(**_SIZE, **_IDS, intermediate_size=48))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    net.eval().save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    assert torch.equal(model.final_gain, torch.ones(32, dtype=torch.float64))
    head, layer = net.lm_head.weight.detach().double(), net.model.layers[1].mlp
    head = head - head.mean(1, keepdim=True)
    torch.testing.assert_close(read_readout(model, "unembed").columns.double(), head - head.mean(0), atol=2e-6, rtol=0)
    w_in = layer.up_proj.weight.detach().double()
    ours = layer_weights(model, 1)
    torch.testing.assert_close(ours.w_in.double(), w_in - w_in.mean(1, keepdim=True), atol=2e-6, rtol=0)
    ids = torch.arange(3, 20)[None]
    lean = LeanModel(model, torch.device("cpu"), torch.float32)
    assert lean.predict(lean.run(ids)[0]).tolist() == net(input_ids=ids).logits[0].argmax(-1).tolist()


class TestFolders:
    def test_files_that_hold_no_model(self, change, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(ModelError, match="holds no files"):
            find_source(str(empty))
        folder = change("llama")
        weights = folder / "model.safetensors"
        weights.write_text(POINTER)
        with pytest.raises(ModelError, match=r"model\.safetensors' is a Git LFS pointer.*git lfs pull"):
            find_source(str(folder))
        weights.write_bytes(b"\x10\0\0\0\0\0\0\0garbage")
        with pytest.raises(ModelError, match="cannot be loaded: "):
            load_model(str(folder))
        weights.unlink()
        with pytest.raises(ModelError, match=r"config\.json but no weights: expected"):
            find_source(str(folder))
        (folder / "consolidated.00.pth").touch()
        with pytest.raises(ModelError, match=r"no weights; what it holds \(consolidated.00.pth\) is not read"):
            find_source(str(folder))
        (folder / "adapter_config.json").write_text("{}")
        with pytest.raises(ModelError, match=r"holds an adapter.*merge_and_unload"):
            find_source(str(folder))
        for name in ("a/b/c", "./nothing", "~/nothing/here"):
            with pytest.raises(ModelError, match="no file or folder"):
                find_source(name)
        with pytest.raises(ModelError, match="not a GGUF file"):
            find_source(str(folder / "config.json"))

    def test_folders_of_gguf_files(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").touch()
        (tmp_path / "a.GGUF").write_bytes(b"GGUF")
        assert find_source(str(tmp_path)).gguf == tmp_path / "a.GGUF"
        assert find_source(str(tmp_path / "a.GGUF")).label == "a.GGUF"
        (tmp_path / "b.gguf").write_bytes(b"GGUF")
        with pytest.raises(ModelError, match=r"holds 2 GGUF files. Name one of them: a.GGUF, b.gguf"):
            find_source(str(tmp_path))
        (tmp_path / "c-00001-of-00003.gguf").write_bytes(b"GGUF")
        with pytest.raises(ModelError, match=r"one of 3 parts.*--merge"):
            find_source(str(tmp_path / "c-00001-of-00003.gguf"))
        (tmp_path / "p.gguf").write_text(POINTER)
        with pytest.raises(ModelError, match="Git LFS pointer"):
            find_source(str(tmp_path / "p.gguf"))

    def test_the_name_of_here_and_above(self, change, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = change("gpt2")
        (folder / "inner").mkdir()
        monkeypatch.setenv("HOME", str(folder))
        for here, name in ((folder, "."), (folder / "inner", ".."), (folder.parent, "model/"), (folder, "~")):
            monkeypatch.chdir(here)
            assert label_of(name) == find_source(name).label == "model"
        monkeypatch.chdir(folder)
        assert load_model(".").name == "model"


def letters(special: dict[str, str] | None = None) -> hf.PreTrainedTokenizerFast:
    """Bytes only, no special tokens unless they are given."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **(special or {}))


class TestTokenizers:
    @pytest.fixture
    def with_tokenizer(self, tmp_path: Path):
        """A model of `rows` tokens beside a tokenizer of a class, its files changed."""

        def make(tokenizer: hf.PreTrainedTokenizerFast, class_name: str | None, rows: int) -> Path:
            size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0}
            hf.GPT2LMHeadModel(hf.GPT2Config(**size, vocab_size=rows)).save_pretrained(tmp_path)
            tokenizer.save_pretrained(tmp_path)
            if class_name is not None:
                edit(tmp_path / "tokenizer_config.json", tokenizer_class=class_name)
            else:
                (tmp_path / "tokenizer_config.json").unlink()
            return tmp_path

        return make

    @pytest.mark.parametrize("class_name", ["PreTrainedTokenizerFast", "GPT2Tokenizer", "GPTNeoXTokenizerFast", None])
    @pytest.mark.parametrize("rows", [256, 260])
    def test_none_is_invented(self, class_name: str | None, rows: int, with_tokenizer) -> None:
        model = load_model(str(with_tokenizer(letters(), class_name, rows)))
        assert bos_for(model.tokenizer) is None
        assert len(model.tokenizer) == 256
        vocabulary = read_vocabulary(model.tokenizer, rows)
        assert vocabulary.in_tokenizer == [True] * 256 + [False] * (rows - 256)
        assert not any(vocabulary.special)
        assert model.tokenizer("<|endoftext|>", add_special_tokens=False)["input_ids"] == [
            model.tokenizer.convert_tokens_to_ids(char) for char in "<|endoftext|>"
        ]

    @pytest.mark.parametrize("class_name", ["PreTrainedTokenizerFast", "GPT2Tokenizer"])
    def test_what_was_saved_stays(self, class_name: str, with_tokenizer) -> None:
        folder = with_tokenizer(letters({"eos_token": "<end>", "additional_special_tokens": ["<x>"]}), class_name, 300)
        tokenizer = load_model(str(folder)).tokenizer
        assert (tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<x>")) == (256, 257)
        assert bos_for(tokenizer) == 256
        assert len(tokenizer) == 258

    def test_a_bos_that_the_model_has_no_row_for(self, with_tokenizer) -> None:
        folder = with_tokenizer(letters({"bos_token": "<s>"}), "PreTrainedTokenizerFast", 256)
        with pytest.raises(TokenizerError, match=r"BOS .* '<s>', has id 256, but the model's vocabulary ends at 255"):
            load_model(str(folder))

    def test_a_folder_without_a_tokenizer(self, change) -> None:
        folder = change("gpt2")
        for path in folder.glob("tokenizer*"):
            path.unlink()
        with pytest.raises(ModelError, match=r"comes without a tokenizer: expected tokenizer\.json"):
            load_model(str(folder))
