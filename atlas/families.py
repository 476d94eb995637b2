"""Families of tokens: those that differ in spelling alone (' an', 'an', ' An', 'An').

The post "We Found An Neuron in GPT-2" suspects them of much of its noise: a neuron that writes " an" writes "An" too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NOT_A_CHARACTER = "�"


def family_ids(texts: Sequence[str | None], special: Sequence[bool]) -> np.ndarray:
    """The family of each token, called by the lowest id among its members: [token], int64.

    Members are equal after stripping space at both ends (a word's start is a space there) and letter case. A token is
    a family of its own if it is special, is not in the tokenizer (text None), is nothing but space, or is not whole
    characters, since then its text does not say which bytes it is.
    """
    family = np.arange(len(texts), dtype=np.int64)
    first: dict[str, int] = {}
    for token_id, (text, apart) in enumerate(zip(texts, special, strict=True)):
        if text is None or apart or _NOT_A_CHARACTER in text:
            continue
        spelling = text.strip().casefold()
        if spelling:
            family[token_id] = first.setdefault(spelling, token_id)
    return family
