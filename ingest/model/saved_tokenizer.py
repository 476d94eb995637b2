"""The tokenizer as it was saved, without special tokens that a library adds.

transformers gives a tokenizer of class GPT2Tokenizer, say, the BOS `<|endoftext|>` of that class and adds it to the
vocabulary where it is not in it, and TransformerLens adds one wherever there is none. The model never met such a token
in training, and may have no row for it. A special token that the saved vocabulary contains is used, even if only a
library names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ingest.errors import TokenizerError

_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def invented_tokens(tokenizer: Any, folder: Path) -> set[str]:
    """Tokens that were added to a tokenizer's vocabulary when it was loaded: none of the folder's files has them."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    if tokenizer.is_fast:
        added -= set(tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False))
    return added - _saved(folder) if added else added


def _saved(folder: Path) -> set[str]:
    """Every token that the files list besides the vocabulary itself: added and special tokens."""
    tokens: set[str] = set()
    for name in _FILES:
        if (folder / name).is_file():
            tokens.update(_named(json.loads((folder / name).read_text(encoding="utf-8"))))
    if (folder / "tokenizer.json").is_file():
        state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        tokens.update(_named(state.get("added_tokens") or []))
    return tokens


def _named(part: Any) -> Iterable[str]:
    """All strings of a JSON value, keys included."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from _named(value)
    elif isinstance(part, list):
        for value in part:
            yield from _named(value)


def without(tokenizer: Any, invented: set[str]) -> Any:
    """A tokenizer without some of its added tokens, which also stop being special tokens."""
    if not invented:
        return tokenizer
    special = {name: getattr(tokenizer, name) for name in _SPECIAL if getattr(tokenizer, name, None) is not None}
    special = {name: token for name, token in special.items() if str(token) not in invented}
    if not tokenizer.is_fast:
        for name in _SPECIAL:
            setattr(tokenizer, name, special.get(name))
        return tokenizer
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in invented]
    # It puts special tokens around a text, which ingest never uses, and may name removed ones.
    state["post_processor"] = None
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **special,
        split_special_tokens=tokenizer.split_special_tokens,
    )


def bos_for(tokenizer: Any) -> int | None:
    """The token put before every text: BOS, EOS where there is none, None where there is neither."""
    bos = tokenizer.bos_token_id
    return tokenizer.eos_token_id if bos is None else bos


def check_bos(name: str, tokenizer: Any, n_rows: int) -> None:
    """Refuse a tokenizer whose BOS (or its substitute) has no row in the model.

    Raises:
        TokenizerError: names the token, its id and the model's last.
    """
    bos = bos_for(tokenizer)
    if bos is not None and bos >= n_rows:
        kind = "BOS" if tokenizer.bos_token_id is not None else "EOS (there is no BOS)"
        raise TokenizerError(
            f"The {kind} of the tokenizer of {name!r}, {tokenizer.convert_ids_to_tokens(bos)!r}, has id {bos}, but the "
            f"model's vocabulary ends at {n_rows - 1}. Use the tokenizer the model was trained with."
        )
