"""Running top-k lists: many rows, k places each, fed by scattered candidates."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.process import sort_keys as keys


def place_in_group(groups: Int[Tensor, " item"]) -> Int[Tensor, " item"]:
    """Place of each item within its run of equal groups, from 0. Equal groups must stand together."""
    if len(groups) == 0:
        return groups
    index = torch.arange(len(groups), device=groups.device)
    starts = torch.cat([groups.new_ones(1, dtype=torch.bool), groups[1:] != groups[:-1]])
    return index - torch.cummax(torch.where(starts, index, 0), 0).values


class TopLists:
    """The k greatest keys of each of `rows` rows (see `ingest.process.sort_keys`), updated by unordered candidates.

    Updating is associative and commutative: any split of the candidates into updates gives the same lists.
    """

    def __init__(self, rows: int, k: int, device: torch.device | str = "cpu") -> None:
        self.keys: Int[Tensor, "row k"] = torch.full((rows, k), keys.EMPTY, dtype=torch.int64, device=device)

    def update(self, rows: Int[Tensor, " item"], candidates: Int[Tensor, " item"]) -> None:
        """Offer one key to each of the given rows; a row may be named many times."""
        if len(rows) == 0:
            return
        k = self.keys.shape[1]
        order = torch.argsort(rows, stable=True)
        rows, candidates = rows[order], candidates[order]
        place = place_in_group(rows)
        touched, local = torch.unique_consecutive(rows, return_inverse=True)
        # A few rows may get very many candidates (hubs): feed them in slices so the padded matrix stays narrow.
        for low in range(0, int(place.max()) + 1, 4 * k):
            part = (place >= low) & (place < low + 4 * k)
            at, column = local[part], place[part] - low
            here, at = torch.unique_consecutive(at, return_inverse=True)
            padded = self.keys.new_full((len(here), int(column.max()) + 1), keys.EMPTY)
            padded[at, column] = candidates[part]
            merged = torch.cat([self.keys[touched[here]], padded], dim=1)
            self.keys[touched[here]] = merged.topk(k, dim=1).values

    def thresholds(self) -> Float[Tensor, " row"]:
        """Value of each row's last place, which a candidate must reach to enter; -infinity while not full."""
        return keys.decode_values(self.keys[:, -1])

    @property
    def values(self) -> Float[Tensor, "row k"]:
        """Values, greatest first; -infinity in empty places."""
        return keys.decode_values(self.keys)

    @property
    def ids(self) -> Int[Tensor, "row k"]:
        """Ids in the same order; -1 in empty places."""
        return keys.decode_ids(self.keys)


def candidates_in(
    tile: Float[Tensor, "row column"],
    chunk_max: Float[Tensor, "row chunk"],
    row_threshold: Float[Tensor, " row"],
    column_threshold: Float[Tensor, " column"],
) -> tuple[Int[Tensor, " item"], Int[Tensor, " item"], Float[Tensor, " item"]]:
    """Entries of a tile that reach their row's or their column's threshold, as (row, column, value).

    Only chunks whose maximum reaches the lower of the row's threshold and the chunk's least column threshold are
    searched, so the tile itself is read once more only where it matters. `chunk_max` may be of `-tile`'s sign
    convention only if `tile` is too: callers pass both with the sign already applied.
    """
    width = tile.shape[1] // chunk_max.shape[1]
    chunk_threshold = column_threshold.view(-1, width).amin(1)
    hit: Bool[Tensor, "row chunk"] = chunk_max >= torch.minimum(row_threshold[:, None], chunk_threshold)
    row, chunk = hit.nonzero(as_tuple=True)
    values = tile.view(tile.shape[0], -1, width)[row, chunk]
    reach = values >= torch.minimum(row_threshold[row, None], column_threshold.view(-1, width)[chunk])
    item, offset = reach.nonzero(as_tuple=True)
    return row[item], chunk[item] * width + offset, values[item, offset]
