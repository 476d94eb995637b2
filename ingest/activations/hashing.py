"""The choice of ordinary examples: a hash of (dataset fingerprint, source row, chunk, neuron), so that it is the same
on one worker or many, in any order. Mixing function: the finaliser of SplitMix64 (Steele et al., 2014)."""

from __future__ import annotations

import numpy as np
import xxhash
from jaxtyping import Int
from torch import Tensor


def _as_int64(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant


_MULTIPLY = (_as_int64(0xBF58476D1CE4E5B9), _as_int64(0x94D049BB133111EB))


def _shifted(x: Int[Tensor, "*shape"], by: int) -> Int[Tensor, "*shape"]:
    """Logical right shift of int64."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Scramble int64 to int64, one to one."""
    x = (x ^ _shifted(x, 30)) * _MULTIPLY[0]
    x = (x ^ _shifted(x, 27)) * _MULTIPLY[1]
    return x ^ _shifted(x, 31)


def text_hash(fingerprint: str, seed: int, source_row: int, chunk: int) -> int:
    """Hash of a text's identity, int64."""
    digest = xxhash.xxh3_64_intdigest(f"{fingerprint} {seed} {source_row} {chunk}".encode())
    return int(np.uint64(digest).astype(np.int64))


def example_key(texts: Int[Tensor, "*#shape"], neurons: Int[Tensor, "*#shape"]) -> Int[Tensor, "*shape"]:
    """Key of each text (by its hash) for each neuron: the lowest hash gives the greatest key."""
    return -_shifted(mix(texts ^ mix(neurons)), 2)
