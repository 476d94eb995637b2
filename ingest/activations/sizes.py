"""How much memory reading takes, before it is taken: what `--memory` is divided by."""

from __future__ import annotations

from ingest.model.forward import LeanModel


def bytes_per_token(model: LeanModel) -> int:
    """Scratch memory a position of a batch takes, padding included; nothing else grows with the batch.

    One byte of bin an activation, in every layer; one layer's MLP (gate, input, product and a spare) and residual
    and attention (a dozen of d_model) in the blocks' dtype; what a text of a handful of tokens adds in keys.
    """
    width = model.dtype.itemsize
    return model.n_layers * model.d_mlp + width * (4 * model.d_mlp + 12 * model.d_model) + 8 * model.d_mlp
