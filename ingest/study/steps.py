"""Rows of `study_step` from each pair's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, Int

from ingest.study.ablation import VARIANTS, ablation_sets
from ingest.study.edges import Edge
from ingest.study.lens import Lens
from ingest.study.options import StudyOptions
from ingest.study.prompts import TokenPair
from ingest.study.result import Steps
from ingest.study.study_model import Site


@dataclass
class Measured:
    """One pair's numbers."""

    tokens: TokenPair
    lens: dict[str, Lens]
    effects: dict[str, Float32[np.ndarray, "layer d_mlp"]]
    """Direct effects, 'clean' and 'corrupt'."""
    sites: dict[Site, Float32[np.ndarray, "layer pos"]]
    """Recovery of replacing a site at one layer and position."""
    attribution: Float32[np.ndarray, " neuron"]
    """Estimated recovery of replacing each neuron."""
    neurons: Float32[np.ndarray, " patched"] = field(init=False)
    """Recovery of replacing a neuron, of those patched."""
    ablation: Float32[np.ndarray, "ablated variant"] = field(init=False)
    """Change in the answer's probability."""


@dataclass(frozen=True)
class Chosen:
    """The neurons that were patched, ascending, and those that stand out among them, most recovering first."""

    patched: Int[np.ndarray, " patched"]
    found: list[int]


def steps_of(
    measured: Sequence[Measured],
    d_mlp: int,
    chosen: Chosen,
    from_end: bool,
    options: StudyOptions,
) -> dict[str, np.ndarray]:
    """All rows, sorted: means over the pairs, with intervals where there are several."""
    steps = Steps(options.bootstrap, options.seed)
    n_layers = len(measured[0].sites["mlp_out"])
    last = -1 if from_end else len(measured[0].tokens) - 1
    _add_ablation(steps, measured, d_mlp, chosen.found)
    every = np.arange(n_layers * d_mlp, dtype=np.int32)
    steps.add("attribution", np.stack([pair.attribution for pair in measured]), layer=every // d_mlp, neuron_id=every)
    for variant in ("clean", "corrupt"):
        values = np.stack([pair.effects[variant].ravel() for pair in measured])
        at = np.full_like(every, last)
        steps.add("direct_effect", values, layer=every // d_mlp, position=at, neuron_id=every, variant=variant)
    _add_lens(steps, measured, n_layers, last)
    _add_site(steps, measured, "attn_out", from_end)
    _add_site(steps, measured, "mlp_out", from_end)
    ids = chosen.patched.astype(np.int32)
    steps.add("patch_neuron", np.stack([pair.neurons for pair in measured]), layer=ids // d_mlp, neuron_id=ids)
    _add_site(steps, measured, "resid_pre", from_end)
    return steps.columns()


def edges_of(
    edges: Sequence[Edge], estimate: Float[np.ndarray, " edge"], exact: Float[np.ma.MaskedArray, " edge"]
) -> dict[str, np.ndarray]:
    """Columns of `study_edge`, sorted."""
    ids = np.array(edges, np.int32).reshape(-1, 2)
    return {
        "source_neuron_id": ids[:, 0],
        "target_neuron_id": ids[:, 1],
        "estimate": estimate.astype(np.float32),
        "exact": exact,
    }


def _add_ablation(steps: Steps, measured: Sequence[Measured], d_mlp: int, neuron_ids: Sequence[int]) -> None:
    sets = ablation_sets(neuron_ids)
    # By neuron; all together last, of no layer and no neuron.
    order = sorted(range(len(sets)), key=lambda number: (len(sets[number]), sets[number]))
    together = np.array([len(sets[number]) > 1 for number in order], bool)
    ids = np.ma.array([sets[number][0] for number in order], np.int32, mask=together)
    for variant in sorted(VARIANTS):
        values = np.stack([pair.ablation[order, VARIANTS.index(variant)] for pair in measured])
        steps.add("ablation", values, layer=(ids // d_mlp).astype(np.int32), neuron_id=ids, variant=variant)


def _add_lens(steps: Steps, measured: Sequence[Measured], n_layers: int, last: int) -> None:
    layers = np.arange(n_layers, dtype=np.int32)
    for variant in ("final_norm", "own_norm"):
        lenses = [pair.lens[variant] for pair in measured]
        sites = [
            ("mid", layers, [lens.mid for lens in lenses]),
            ("post", layers[-1:], [np.array([lens.post], np.float32) for lens in lenses]),
            ("pre", layers, [lens.pre for lens in lenses]),
        ]
        for site, at, values in sites:
            if values[0] is not None:
                position = np.full_like(at, last)
                steps.add("logit_lens", np.stack(values), layer=at, position=position, variant=variant, site=site)


def _add_site(steps: Steps, measured: Sequence[Measured], site: Site, from_end: bool) -> None:
    """A heat map; positions count from the end where lengths differ, and a shorter pair lacks the first ones."""
    n_layers, longest = len(measured[0].sites[site]), max(len(pair.tokens) for pair in measured)
    values = np.full((len(measured), n_layers, longest), np.nan, np.float32)
    for row, pair in zip(values, measured, strict=True):
        row[:, longest - len(pair.tokens) :] = pair.sites[site]
    positions = np.arange(longest, dtype=np.int32) - (longest if from_end else 0)
    layer, position = (
        grid.ravel() for grid in np.meshgrid(np.arange(n_layers, dtype=np.int32), positions, indexing="ij")
    )
    steps.add(f"patch_{site}", values.reshape(len(measured), -1), layer=layer, position=position)
