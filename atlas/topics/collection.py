"""Collections: lists of neurons with notes that people hand around, and each neuron at a glance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.errors import ParameterError
from atlas.core.parameter import NeuronNames
from atlas.core.statements import Statement
from atlas.core.units import Misnamed, NeuronRef, named_ref, neuron_ref, read_names
from atlas.topics.curve import CurvePoint, curve_point
from atlas.topics.example import Example, first_examples
from atlas.topics.glance import LISTED, LISTED_TOKENS, Glance, glances
from atlas.topics.neuron import NEURONS, neurons_by_id

MOST = 300
"""Most neurons of a collection."""

LONGEST_NOTE = 300
"""Most characters of a note."""

LONGEST_TITLE = 120
"""Most characters of a title."""

LONGEST_ADDRESS = 7_800
"""Most characters of an address that has a whole list: servers and mail refuse much longer ones."""

CURVES = Statement("""WITH cell AS (
    SELECT neuron_id, token_id, bin, n_predicted, n_actual
    FROM prediction_histogram
    WHERE neuron_id IN (SELECT unnest($neuron_ids)) AND list_contains($pairs, [neuron_id, token_id])
)
SELECT /*+n.name AS neuron, b.lower, b.upper, */h.neuron_id, h.bin, h.n, coalesce(c.n_predicted, 0) AS n_predicted,
       coalesce(c.n_actual, 0) AS n_actual
FROM activation_histogram AS h
LEFT JOIN cell AS c USING (neuron_id, bin)/*+
JOIN histogram_bin AS b USING (bin)
JOIN neuron AS n USING (neuron_id)*/
WHERE h.neuron_id IN (SELECT unnest($neuron_ids))/*+
ORDER BY list_position($neuron_ids, h.neuron_id), h.bin*/""")
"""Prediction curves of one token ($pairs: [neuron_id, token_id]) with each of several neurons."""


@dataclass(frozen=True)
class Entry:
    """A neuron of a collection: its name, and its author's note ('': none)."""

    name: str
    note: str = ""

    def written(self) -> str:
        """The entry as an address has it: `L31N892`, or `L31N892~note`."""
        return f"{self.name}~{self.note}" if self.note else self.name


@dataclass(frozen=True)
class Collection:
    """A collection as its author wrote it: a title ('': none) and its entries in order, each neuron once."""

    title: str
    entries: tuple[Entry, ...]


LEAST = 5
"""Fewest positions of a bin whose share counts as a peak, and is drawn: of fewer, a hit or two would make one."""


@dataclass(frozen=True)
class ListedNeuron(Glance):
    """A neuron of a collection: at a glance, with its place (from 1), its author's note, the text that fires it most on
    the side of its verdict (null: none is stored), and the prediction curve of its token."""

    place: int
    note: str
    example: Example | None
    curve: tuple[CurvePoint, ...]

    @property
    def peak(self) -> CurvePoint | None:
        """The bin of at least LEAST positions at the greatest share of which its token is predicted."""
        points = (point for point in self.curve if point.n >= LEAST)
        return max(points, key=lambda point: point.predicted_fraction, default=None)

    @property
    def scale(self) -> float:
        """Its greatest |activation|."""
        return max(abs(self.neuron.activation_max), abs(self.neuron.activation_min))


def read_collection(atlas: Atlas, title: str, texts: Iterable[str]) -> tuple[Collection, list[Misnamed]]:
    """A collection from a title and entries as addresses have them, and the names that no neuron of the model has.

    A neuron's later entries are left out; a note of theirs counts where the first has none. Empty texts are left out.

    Raises:
        ParameterError: there are too many neurons, or the title or a note is too long.
    """
    written = [(name.strip(), _line(note)) for name, _, note in (text.partition("~") for text in texts)]
    written = [(name, note) for name, note in written if name]
    refs, misnamed = read_names(atlas, (name for name, _ in written))
    wrong = {item.text for item in misnamed}
    notes: dict[str, str] = {ref.name: "" for ref in refs}
    for text, note in written:
        if text not in wrong:
            name = named_ref(atlas, text).name
            notes[name] = notes[name] or note
    collection = Collection(_line(title), tuple(Entry(name, note) for name, note in notes.items()))
    check_collection(collection)
    return collection, misnamed


def check_collection(collection: Collection) -> None:
    """Refuse a collection beyond the limits.

    Raises:
        ParameterError: there are too many neurons, or the title or a note is too long.
    """
    names = [entry.name for entry in collection.entries]
    if len(names) > MOST:
        beyond = ", ".join(names[MOST : MOST + 5]) + (", …" if len(names) > MOST + 5 else "")
        raise ParameterError(
            f"This list has {len(names)} neurons; expected at most {MOST}. Make several lists of it; "
            f"the neurons beyond the limit are {beyond}."
        )
    texts = [("The title", collection.title, LONGEST_TITLE)]
    texts += [(f"The note on {entry.name}", entry.note, LONGEST_NOTE) for entry in collection.entries]
    for what, text, most in texts:
        if len(text) > most:
            raise ParameterError(f"{what} has {len(text)} characters; expected at most {most}. Shorten it.")


def _line(text: str) -> str:
    """A text without spaces around it and with a space for each line break or tab."""
    return text.replace("\r\n", " ").translate({ord(mark): " " for mark in "\r\n\t"}).strip()


@call(
    OF_ATLAS + "/collection",
    python='demo.collection(["{neuron}", "L0N1"])',
    neurons="L0N0,L0N1",
)
def collection(
    atlas: Atlas, neurons: Annotated[tuple[int, ...], NeuronNames("Names of the neurons, with commas between.")]
) -> list[Glance]:
    """Several neurons at a glance, in their order: numbers, the verdict on each, what it writes and what fires it.

    Raises:
        NeuronNameError: some of the names are no neurons of this model.
    """
    rows = neurons_by_id(atlas, neurons)
    return glances(atlas, [rows[neuron_id] for neuron_id in neurons])


def _pairs(items: Iterable[Glance]) -> dict[str, list]:
    """The parameters of CURVES: each neuron with its token."""
    pairs = [[item.neuron.neuron_id, item.own_token.token_id] for item in items]
    return {"neuron_ids": [pair[0] for pair in pairs], "pairs": pairs}


def curves(atlas: Atlas, items: Sequence[Glance]) -> dict[int, tuple[CurvePoint, ...]]:
    """The points of each neuron's prediction curve for its token, in order of activation, by neuron_id."""
    points: dict[int, list[CurvePoint]] = defaultdict(list)
    for neuron_id, *counts in CURVES.rows(atlas, **_pairs(items)):
        points[neuron_id].append(curve_point(*counts))
    return {neuron_id: tuple(sorted(items, key=lambda point: point.bin)) for neuron_id, items in points.items()}


def listed_neurons(atlas: Atlas, entries: Sequence[Entry]) -> list[ListedNeuron]:
    """The neurons of a collection, in its order."""
    items = collection(atlas, tuple(named_ref(atlas, entry.name).neuron_id for entry in entries))
    points, examples = curves(atlas, items), first_examples(atlas, [item.neuron.neuron_id for item in items])
    return [
        ListedNeuron(
            **vars(item),
            place=place,
            note=entry.note,
            example=examples.get(item.neuron.neuron_id, {}).get(item.kind_of_text),
            curve=points.get(item.neuron.neuron_id, ()),
        )
        for place, (entry, item) in enumerate(zip(entries, items, strict=True), 1)
    ]


def panels(items: Sequence[Glance]) -> dict[str, str]:
    """The SQL behind a page of neurons at a glance, by panel; none without neurons."""
    if not items:
        return {}
    pairs = _pairs(items)
    ids = {"neuron_ids": pairs["neuron_ids"]}
    return {
        "neurons": NEURONS.shown(**ids),
        "tokens": LISTED_TOKENS.shown(**ids, limit=LISTED),
        "curves": CURVES.shown(**pairs),
    }


def neurons_of_answer(atlas: Atlas, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> tuple[Entry, ...]:
    """The neurons that an answer of SQL is about, each once and in order, at most MOST: those of the first of its
    columns `neuron`, `name`, `second_neuron` and `neuron_id` that has any. A column `note` has their notes, of which
    each neuron's first counts."""
    rows = list(rows)
    for column in ("neuron", "name", "second_neuron", "neuron_id"):
        if column in columns:
            place = columns.index(column)
            refs = _neurons_among(atlas, dict.fromkeys(row[place] for row in rows))
            if refs:
                notes = _notes_among(
                    atlas, [(row[place], row[columns.index("note")]) for row in rows if "note" in columns]
                )
                return tuple(Entry(ref.name, notes.get(ref.neuron_id, "")) for ref in refs[:MOST])
    return ()


def _notes_among(atlas: Atlas, rows: Iterable[tuple[object, object]]) -> dict[int, str]:
    """The first note on each neuron among rows of a neuron and a note, cut at LONGEST_NOTE characters."""
    notes: dict[int, str] = {}
    for value, note in rows:
        text = "" if note is None else _line(str(note))
        for ref in _neurons_among(atlas, [value]) if text else ():
            notes.setdefault(ref.neuron_id, text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 1]}…")
    return notes


def _neurons_among(atlas: Atlas, values: Iterable[object]) -> list[NeuronRef]:
    """The neurons that some values name or are the ids of."""
    texts, refs = [], []
    for value in values:
        if isinstance(value, str):
            texts.append(value)
        elif type(value) is int and 0 <= value < atlas.info.n_neurons:
            refs.append(neuron_ref(atlas, value))
    return [*read_names(atlas, texts)[0], *refs]
