"""Sizes of made-up runs, and the random numbers that they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

N_POSITIONS = 5_000_000
CONTEXT, WINDOW, TOP = 1_024, 64, 20


@dataclass(frozen=True)
class Shape:
    """Sizes of the model and of the dataset: GPT-2 Large's, unless others are said."""

    n_layers: int = 36
    d_mlp: int = 5_120
    d_model: int = 1_280
    d_vocab: int = 50_257
    n_texts: int = 10_000
    octaves: int = 7
    """Octaves of the per-text maximum that a neuron has examples in, three texts each (beside its 20 highest)."""

    @property
    def n_neurons(self) -> int:
        """Neurons of the whole model."""
        return self.n_layers * self.d_mlp

    @classmethod
    def scaled(cls, scale: float) -> Shape:
        """Layers and vocabulary times `scale`, layers as wide as ever."""
        return cls(n_layers=max(1, round(36 * scale)), d_vocab=max(64, round(50_257 * scale)))


def normal(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Standard normal float32 numbers."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def distinct(rng: np.random.Generator, rows: int, k: int, high: int) -> np.ndarray:
    """Rows of `k` ids below `high`, no two of a row alike: even steps from somewhere."""
    first, step = rng.integers(0, high, (rows, 1)), rng.integers(1, max(2, high // k), (rows, 1))
    return (first + np.arange(k) * step) % high
