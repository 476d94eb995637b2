"""What each token adds to a text, for every family of tokenizer."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_python import PythonBackend

from ingest.errors import TokenizerError
from ingest.model.vocabulary import Vocabulary, byte_alphabet, read_vocabulary

LINES = ["the cat sat on the mat", "another day, another doughnut", "élan, naïve café", "漢字 and kana カナ"] * 3
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def bytes_of(vocabulary: Vocabulary, token_ids: list[int]) -> bytes:
    return b"".join(vocabulary.bytes[token_id] for token_id in token_ids)


@pytest.fixture(scope="module")
def byte_level() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    backend.add_tokens([AddedToken("¡olé!", normalized=False), AddedToken("  ", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


@pytest.fixture(scope="module")
def metaspace() -> PreTrainedTokenizerFast:
    pieces = [("<unk>", 0.0), ("<s>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    pieces += [("▁", -3.0), ("▁the", -4.0), ("▁cat", -4.0), ("s", -5.0), ("▁▁", -3.5), ("é", -5.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


class TestByteLevel:
    def test_alphabet_is_the_library_s(self):
        alphabet = byte_alphabet()
        assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
        assert sorted(alphabet.values()) == list(range(256))
        step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        text = "".join(map(chr, range(0x250)))
        spelt = step.pre_tokenize_str(text)[0][0]
        assert bytes(alphabet[char] for char in spelt) == text.encode()

    @given(TEXT)
    def test_bytes_of_the_tokens_are_the_text(self, byte_level, text):
        vocabulary = read_vocabulary(byte_level, len(byte_level))
        text += " ¡olé!   <|end|>漢"
        assert bytes_of(vocabulary, byte_level(text, add_special_tokens=False)["input_ids"]) == text.encode()

    def test_spelling_text_and_bytes(self, byte_level):
        vocabulary = read_vocabulary(byte_level, len(byte_level))
        the = vocabulary.piece.index("Ġthe")
        assert (vocabulary.text[the], vocabulary.bytes[the]) == (" the", b" the")
        part = vocabulary.piece.index("Ã")  # the first byte of é
        assert (vocabulary.text[part], vocabulary.bytes[part]) == ("\ufffd", b"\xc3")
        added = vocabulary.piece.index("¡olé!")
        assert (vocabulary.text[added], vocabulary.special[added]) == ("¡olé!", False)
        assert [i for i, special in enumerate(vocabulary.special) if special] == [byte_level.eos_token_id]
        assert vocabulary.text[byte_level.eos_token_id] == "<|end|>"

    def test_padded_rows_and_gaps(self, byte_level):
        n_tokens = len(byte_level)
        vocabulary = read_vocabulary(byte_level, n_tokens + 3)
        assert len(vocabulary) == n_tokens + 3
        for column in (vocabulary.piece, vocabulary.text, vocabulary.bytes):
            assert column[-3:] == [None] * 3
            assert None not in column[:-3]
        assert vocabulary.in_tokenizer == [True] * n_tokens + [False] * 3
        assert vocabulary.special[-3:] == [False] * 3
        assert vocabulary.n_beyond == 0

    def test_tokens_beyond_the_model(self, byte_level):
        vocabulary = read_vocabulary(byte_level, 300)
        assert len(vocabulary) == 300
        assert vocabulary.n_beyond == len(byte_level) - 300
        with pytest.raises(TokenizerError, match=r"has none of the model's 0 tokens. Check that they belong together"):
            read_vocabulary(byte_level, 0)

    def test_a_gap_in_the_ids(self):
        backend = Tokenizer(models.WordLevel({"a": 0, "b": 3}, unk_token="a"))
        vocabulary = read_vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend), 5)
        assert vocabulary.piece == ["a", None, None, "b", None]
        assert vocabulary.text == [" a", None, None, " b", None]  # no decoder: tokens are words, with spaces between
        assert vocabulary.in_tokenizer == [True, False, False, True, False]


class TestSentencePiece:
    @given(TEXT.filter(lambda text: "▁" not in text))
    def test_bytes_of_the_tokens_are_the_text_behind_a_space(self, metaspace, text):
        vocabulary = read_vocabulary(metaspace, len(metaspace))
        text = f" the cats {text}"
        assert bytes_of(vocabulary, metaspace(text, add_special_tokens=False)["input_ids"]) == text.encode()

    def test_spelling(self, metaspace):
        vocabulary = read_vocabulary(metaspace, len(metaspace))
        by_piece = dict(zip(vocabulary.piece, zip(vocabulary.text, vocabulary.bytes, strict=True), strict=True))
        assert by_piece["▁the"] == (" the", b" the")
        assert by_piece["▁▁"] == ("  ", b"  ")
        assert by_piece["<0x0A>"] == ("\n", b"\n")
        assert by_piece["<0xE6>"] == ("\ufffd", b"\xe6")
        assert by_piece["<s>"] == ("<s>", b"<s>")
        assert [piece for piece, special in zip(vocabulary.piece, vocabulary.special, strict=True) if special] == [
            "<unk>",
            "<s>",
        ]

    def test_llama_style_with_runs_of_spaces_among_the_added_tokens(self):
        vocab = {"<unk>": 0, "▁": 1, "▁▁": 2, "a": 3, "<0xFF>": 4, "<mask>": 5}
        backend = Tokenizer(models.BPE(vocab, [("▁", "▁")], unk_token="<unk>", byte_fallback=True))
        backend.normalizer = normalizers.Replace(" ", "▁")
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        backend.add_tokens([AddedToken("▁▁", normalized=False), AddedToken("<mask>", normalized=False)])
        vocabulary = read_vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"), 6)
        assert vocabulary.bytes == [b"<unk>", b" ", b"  ", b"a", b"\xff", b"<mask>"]
        assert vocabulary.special == [True] + [False] * 5

    def test_without_byte_fallback_it_is_just_text(self):
        backend = Tokenizer(models.Unigram([("<0x0A>", 0.0), ("▁a", -1.0)], unk_id=0, byte_fallback=False))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        vocabulary = read_vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend), 2)
        assert vocabulary.text == ["<0x0A>", " a"]


class TestOtherFamilies:
    def test_word_piece(self, tmp_path):
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", ".", "é"]
        (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
        vocabulary = read_vocabulary(tokenizer, 10)
        assert vocabulary.piece == [*pieces, None]
        assert vocabulary.text == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", " play", "ing", ".", " é", None]
        assert vocabulary.bytes[8] == " é".encode()
        assert vocabulary.special == [True] * 5 + [False] * 5

    def test_end_of_word_suffix(self):
        backend = Tokenizer(models.BPE({"a": 0, "a</w>": 1}, [], end_of_word_suffix="</w>"))
        backend.decoder = decoders.BPEDecoder(suffix="</w>")
        assert read_vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend), 2).text == ["a", "a "]

    def test_python_tokenizer(self):
        class Letters(PythonBackend):
            """Its spelling of a space is '_', which only its own decoding knows."""

            def __init__(self, **options):
                self.vocab = {"<unk>": 0, "a": 1, "b": 2, "_": 3}
                super().__init__(unk_token="<unk>", **options)

            @property
            def vocab_size(self):
                return len(self.vocab)

            def get_vocab(self):
                return dict(self.vocab)

            def _tokenize(self, text, **options):
                return [char.replace(" ", "_") for char in text]

            def _convert_token_to_id(self, token):
                return self.vocab.get(token, 0)

            def _convert_id_to_token(self, index):
                return list(self.vocab)[index]

            def convert_tokens_to_string(self, tokens):
                return "".join(tokens).replace("_", " ")

        vocabulary = read_vocabulary(Letters(), 5)
        assert vocabulary.text == ["<unk>", "a", "b", " ", None]
        assert vocabulary.special == [True, False, False, False, False]

    @pytest.mark.parametrize(
        ("attribute", "pieces", "want"),
        [
            ("byte_decoder", ["Ġa", "Ã", "漢"], [b" a", b"\xc3", "漢".encode()]),
            ("sp_model", ["▁a", "<0xC3>", "漢"], [b" a", b"\xc3", "漢".encode()]),
        ],
    )
    def test_python_tokenizers_of_known_families(self, attribute, pieces, want):
        class Slow:
            is_fast = False
            added_tokens_decoder = MappingProxyType({})
            all_special_ids = ()

            def get_vocab(self):
                return {piece: token_id for token_id, piece in enumerate(pieces)}

        setattr(Slow, attribute, object())
        assert read_vocabulary(Slow(), 3).bytes == want
