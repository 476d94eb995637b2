"""The vocabulary as text: the spelling of every token, and the exact bytes it adds to a text.

A tokenizer keeps its tokens in a spelling of its own: byte-level BPE writes each byte as one printable character
('Ġan' for ' an'), SentencePiece writes a space as '▁' and a lone byte as '<0x0A>', WordPiece marks the inside of a
word with '##'. `tokenizer.decode` of one id gets most of these wrong (it drops leading spaces, and bytes that are not
UTF-8 by themselves are lost), so the spelling is undone here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingest.errors import TokenizerError

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "▁"

Spelling = Callable[[str], bytes]
"""A function from a piece to the bytes it adds to a text."""


@dataclass(frozen=True)
class Vocabulary:
    """Columns of the `token` table, indexed by token id, each of length d_vocab.

    `piece`, `text` and `bytes` are None where the tokenizer has no such id (`in_tokenizer` is False there). `text` is
    `bytes` as UTF-8, with U+FFFD for what is not a whole character. `n_beyond`: tokens of the tokenizer that the
    model has no row for; they are left out.
    """

    piece: list[str | None]
    text: list[str | None]
    bytes: list[bytes | None]
    special: list[bool]
    in_tokenizer: list[bool]
    n_beyond: int

    def __len__(self) -> int:
        return len(self.piece)


def read_vocabulary(tokenizer: Any, d_vocab: int) -> Vocabulary:
    """Read a Hugging Face tokenizer, fast or slow, as the `d_vocab` rows of the model's vocabulary.

    Raises:
        TokenizerError: the tokenizer has no token below `d_vocab`.
    """
    pieces = {token_id: piece for piece, token_id in sorted(tokenizer.get_vocab().items(), reverse=True)}
    added = tokenizer.added_tokens_decoder
    special_ids = set(tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}
    spell, spells_added = _spelling(tokenizer)

    vocabulary = Vocabulary([], [], [], [], [], sum(token_id >= d_vocab for token_id in pieces))
    if vocabulary.n_beyond == len(pieces):
        raise TokenizerError(
            f"The tokenizer has none of the model's {d_vocab} tokens. Check that they belong together."
        )
    for token_id in range(d_vocab):
        piece = pieces.get(token_id)
        if piece is None:
            data = None
        elif token_id in special_ids or (token_id in added and not spells_added):
            data = piece.encode("utf-8", "replace")  # added tokens are matched as they stand
        else:
            data = spell(piece)
        vocabulary.piece.append(piece)
        vocabulary.text.append(None if data is None else data.decode("utf-8", "replace"))
        vocabulary.bytes.append(data)
        vocabulary.special.append(token_id in special_ids)
        vocabulary.in_tokenizer.append(piece is not None)
    return vocabulary


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE (GPT-2 and after) writes for each byte, as a map back to the byte.

    Printable Latin-1 characters stand for themselves; the other bytes, in order, for the characters from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def _spelling(tokenizer: Any) -> tuple[Spelling, bool]:
    """The tokenizer's spelling, and whether it also applies to added tokens.

    SentencePiece vocabularies list runs of '▁' among the added tokens, though they are ordinary pieces (Gemma).
    """
    if not tokenizer.is_fast:
        if hasattr(tokenizer, "byte_decoder"):
            return _byte_level, False
        if hasattr(tokenizer, "sp_model"):
            return _sentencepiece(_SPACE_MARK, byte_fallback=True), True
        return _by_decoding(tokenizer), False
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    decoders = _flat(state["decoder"])
    kinds = {part["type"]: part for part in decoders + _flat(state["pre_tokenizer"])}
    byte_fallback = "ByteFallback" in kinds or bool(state["model"].get("byte_fallback"))
    if "ByteLevel" in kinds:
        return _byte_level, False
    if "Metaspace" in kinds:
        return _sentencepiece(kinds["Metaspace"]["replacement"], byte_fallback), True
    marks = [part["pattern"].get("String") for part in decoders if part["type"] == "Replace" and part["content"] == " "]
    if marks and marks[0]:
        return _sentencepiece(marks[0], byte_fallback), True
    if "BPEDecoder" in kinds:
        suffix = kinds["BPEDecoder"]["suffix"]
        return lambda piece: piece.replace(suffix, " ").encode(), False
    return _by_decoder(tokenizer.backend_tokenizer.decoder), False


def _flat(part: dict | None) -> list[dict]:
    """The parts of a tokenizer.json section, those inside a Sequence one by one."""
    if part is None:
        return []
    inner = part.get("decoders") or part.get("pretokenizers") or []
    return [part, *(leaf for child in inner for leaf in _flat(child))]


_ALPHABET = byte_alphabet()


def _byte_level(piece: str) -> bytes:
    if all(char in _ALPHABET for char in piece):
        return bytes(_ALPHABET[char] for char in piece)
    return piece.encode("utf-8", "replace")  # not spelt in bytes: `tokenizers` takes such pieces literally too


def _sentencepiece(space_mark: str, byte_fallback: bool) -> Spelling:
    def spell(piece: str) -> bytes:
        if byte_fallback and (byte := _BYTE_PIECE.fullmatch(piece)):
            return bytes([int(byte.group(1), 16)])
        return piece.replace(space_mark, " ").encode("utf-8", "replace")

    return spell


def _by_decoder(decoder: Any) -> Spelling:
    """The text that a piece adds behind a letter, according to the tokenizer's decoder: ' an' for 'an', 'an' for
    '##an'.

    A tokenizer without a decoder puts spaces between its tokens, and so does this.
    """

    def spell(piece: str) -> bytes:
        text = f"a {piece}" if decoder is None else decoder.decode(["a", piece])
        return text.removeprefix("a").encode("utf-8", "replace")

    return spell


def _by_decoding(tokenizer: Any) -> Spelling:
    """The text that a piece adds behind the token of a letter, for Python tokenizers of unknown spelling."""
    anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    before = decode(anchor)

    def spell(piece: str) -> bytes:
        token_id = tokenizer.convert_tokens_to_ids(piece)
        text = decode([*anchor, token_id])
        text = text.removeprefix(before) if text.startswith(before) else decode([token_id])
        return text.encode("utf-8", "replace")

    return spell
