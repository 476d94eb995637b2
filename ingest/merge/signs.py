"""Table `sign_case` over all parts: counts added, the greatest of the extremes."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.file.writer import Columns
from ingest.merge.examples import CitedTexts
from ingest.merge.parts import MergeError
from ingest.merge.sources import Sources, columns

# Of equal magnitudes, what comes first in the texts.
_SIGN_CASE = """
    SELECT neuron_id, gate_positive, in_positive, sum(n)::BIGINT AS n,
           sum(n * activation_mean) / sum(n) AS activation_mean,
           arg_min(activation_extreme, place) AS activation_extreme,
           arg_min(text_id, place) AS text_id, arg_min(position, place) AS position
    FROM (SELECT *, (-abs(activation_extreme), text_id, position) AS place FROM every_sign_case)
    WHERE neuron_id >= $low AND neuron_id < $high
    GROUP BY neuron_id, gate_positive, in_positive
    ORDER BY neuron_id, gate_positive, in_positive"""


def sign_rows(sources: Sources, texts: CitedTexts) -> Iterator[Columns]:
    """Table `sign_case`; marks the texts it cites as kept.

    Raises:
        MergeError: some parts counted cases and others did not.
    """
    counted = [bool(sources.rows(f"SELECT EXISTS (FROM p{i}.sign_case)")[0][0]) for i in range(len(sources.parts))]
    if any(counted) and not all(counted):
        without = sources.parts[counted.index(False)].path
        raise MergeError(f"{str(without)!r} has no sign cases, and other parts have them: use --sign-cases for all.")
    for low, high in sources.spans(sources.parts[0].info.n_neurons if any(counted) else 0):
        found = sources.read(_SIGN_CASE, low=low, high=high)
        texts.kept[texts.places(found["text_id"].to_numpy())] = True
        yield columns(found)
