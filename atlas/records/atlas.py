"""What an atlas is: the row of the table `atlas`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class AtlasInfo:
    """The row of the table `atlas`, but for `readout_mean`; see the schema for each column's meaning."""

    slug: str
    build_id: str
    schema_version: int
    built_at: datetime
    model_name: str
    model_revision: str | None
    model_fingerprint: str
    n_layers: int
    d_model: int
    d_mlp: int
    d_vocab: int
    act_fn: str
    gated: bool
    normalization: str
    readout: str
    dataset_name: str
    dataset_config: str | None
    dataset_split: str | None
    dataset_fingerprint: str
    text_column: str
    n_texts: int
    n_texts_planned: int | None
    n_positions: int
    first_text: int
    text_ranges: str
    context_length: int
    bos_token_id: int | None
    bos_counted: bool
    overflow: str
    dtype: str
    device: str
    seed: int
    hook: str
    top_tokens: int
    top_neurons: int
    top_texts: int
    pair_candidates: int
    window: int
    has_weights: bool
    versions: str
    command: str

    @property
    def n_neurons(self) -> int:
        """Neurons of the whole model."""
        return self.n_layers * self.d_mlp

    @property
    def share_read(self) -> float | None:
        """Share of the run's texts that were read when the file was written; None: all, the run is complete."""
        return None if self.n_texts_planned is None else min(1.0, self.n_texts / self.n_texts_planned)

    @property
    def dataset(self) -> str:
        """The dataset with its configuration and split, as one name."""
        return " / ".join(part for part in (self.dataset_name, self.dataset_config, self.dataset_split) if part)
