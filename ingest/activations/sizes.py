"""How much memory reading takes, before it is taken: what `--memory` is divided by."""

from __future__ import annotations

from atlas.core.bins import N_BINS
from ingest.activations.reader import INTERVAL_EXAMPLES, N_INTERVALS, StreamSettings
from ingest.model.forward import LeanModel

_OCTAVES = 6  # Octaves in which a neuron typically has texts; the lists of the others are empty.
_CELLS = 3  # Cells a candidate pair fills, typically; most pairs never occur.


def bytes_per_token(model: LeanModel) -> int:
    """Scratch memory a position of a batch takes, padding included; nothing else grows with the batch.

    One byte of bin an activation, in every layer; one layer's MLP (gate, input, product and a spare) and residual
    and attention (a dozen of d_model) in the blocks' dtype; what a text of a handful of tokens adds in keys.
    """
    width = model.dtype.itemsize
    return model.n_layers * model.d_mlp + width * (4 * model.d_mlp + 12 * model.d_model) + 8 * model.d_mlp


def bytes_of_state(model: LeanModel, settings: StreamSettings, n_pairs: int) -> int:
    """What a reader's accumulators hold at the end, on the device: it grows with neurons and pairs, not with texts."""
    neurons = model.n_layers * model.d_mlp
    place = 28 + 2 * settings.window  # Text, position, activation, window with its start, length and scale.
    keys = 16  # And the slot.
    extremes = (2 if settings.gated else 1) * settings.top_texts * (keys + place)
    octaves = INTERVAL_EXAMPLES * (N_INTERVALS * keys + _OCTAVES * place)
    return neurons * (8 * N_BINS + 144 + extremes + octaves) + n_pairs * (24 + 24 * _CELLS)
