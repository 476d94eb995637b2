"""Prompt pairs, and the requirements for comparing two prompts token by token."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ingest.errors import StudyError
from ingest.model.load import LoadedModel
from ingest.model.saved_tokenizer import bos_for
from ingest.model.vocabulary import read_vocabulary
from ingest.texts.corpus import is_text


@dataclass(frozen=True)
class PromptPair:
    """Two prompts that differ only in what decides between two next tokens."""

    clean: str
    """The prompt after which `answer` is expected."""
    corrupt: str
    """The prompt, of as many tokens, after which `other` is expected."""
    answer: str
    """Text of one token, with its space: ' an'."""
    other: str
    """Text of the token that the answer is compared with."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not is_text(getattr(self, field.name)):
                raise StudyError(
                    f"{field.name} {getattr(self, field.name)!r} holds half a character (a lone surrogate), which is "
                    "no text. Write the whole character."
                )


@dataclass(frozen=True)
class TokenPair:
    """A pair as tokens, BOS included where the model has one."""

    pair: PromptPair
    clean_ids: tuple[int, ...]
    corrupt_ids: tuple[int, ...]
    answer_id: int
    other_id: int
    first_difference: int
    """First position at which the prompts differ: before it, both runs are the same."""
    has_bos: bool
    """Whether position 0 is BOS."""

    def __len__(self) -> int:
        return len(self.clean_ids)


def tokenise_pair(model: LoadedModel, pair: PromptPair) -> TokenPair:
    """Tokenise as ingest does: no special tokens but the BOS put before the prompt.

    `answer` and `other` are the tokens that they add to the clean prompt; where that is not one token, their tokens by
    themselves.

    Raises:
        StudyError: a prompt is empty or longer than the context, the prompts are the same or differ in length, the
            answer or the other token is not one token, or both are the same.
    """
    bos = bos_for(model.tokenizer)
    before = () if bos is None else (bos,)
    clean, corrupt = encode(model, pair.clean), encode(model, pair.corrupt)
    for side, ids in (("clean", clean), ("corrupt", corrupt)):
        if not ids:
            raise StudyError(f"The {side} prompt is empty: it needs a token at least.")
    if len(clean) != len(corrupt):
        raise StudyError(
            f"The prompts differ in length: clean has {len(clean)} tokens, corrupt {len(corrupt)}, and patching needs "
            f"token for token. Clean: {_show(model, clean)}. Corrupt: {_show(model, corrupt)}. Change a word for one "
            "of as many tokens."
        )
    if clean == corrupt:
        raise StudyError(f"Both prompts are the same tokens, {_show(model, clean)}: the corrupt one must differ.")
    context = getattr(model.cfg, "n_ctx", None)
    if context is not None and len(before) + len(clean) > context:
        raise StudyError(
            f"The prompts have {len(before) + len(clean)} tokens, and the model's context ends at {context}. Shorten "
            "them."
        )
    answer, other = (
        one_token(model, name, text, pair.clean, clean)
        for name, text in (("answer", pair.answer), ("other token", pair.other))
    )
    if answer == other:
        raise StudyError(f"The answer and the other token are the same, {_show(model, (answer,))}: give two.")
    clean, corrupt = before + clean, before + corrupt
    first = next(p for p, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b)
    return TokenPair(pair, clean, corrupt, answer, other, first, bos is not None)


def one_token(model: LoadedModel, name: str, text: str, prompt: str, prompt_ids: tuple[int, ...]) -> int:
    """The token that a text adds to a prompt; where that is not one token, the token of the text by itself.

    Raises:
        StudyError: that is not one token either; `name` is the text's name in the message.
    """
    after = encode(model, prompt + text)
    if len(after) == len(prompt_ids) + 1 and after[:-1] == prompt_ids:
        return after[-1]
    alone = encode(model, text)
    if len(alone) == 1:
        return alone[0]
    if not alone:
        raise StudyError(f"The {name} is empty: it must be one token, as in ' an'.")
    advice = "Choose one that is a single token."
    if not text.startswith(" ") and len(encode(model, " " + text)) == 1:
        advice = f"Begin it with a space: {' ' + text!r} is one token."
    raise StudyError(f"The {name} {text!r} is {len(alone)} tokens, {_show(model, alone)}, expected one. {advice}")


def encode(model: LoadedModel, text: str) -> tuple[int, ...]:
    """Token ids of a text, no special tokens added.

    Raises:
        StudyError: a token is beyond the model's vocabulary.
    """
    ids = tuple(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    beyond = [token for token in ids if token >= len(model.unembedding)]
    if beyond:
        raise StudyError(
            f"{text!r} has token {beyond[0]}, but the model's vocabulary ends at {len(model.unembedding) - 1}. Use "
            "the tokenizer the model was trained with."
        )
    return ids


def _show(model: LoadedModel, ids: tuple[int, ...]) -> str:
    texts = read_vocabulary(model.tokenizer, len(model.unembedding)).text
    return "[" + ", ".join(repr(texts[token]) for token in ids) + "]"
