"""Parameters that several calls have."""

from __future__ import annotations

from typing import Annotated

from atlas.api.parameter import Choice, Flag, NeuronName, Place, Text, Whole
from atlas.records import Cursor

MOST_ROWS = 1000
"""Rows of a page, at most."""

NeuronId = Annotated[int, NeuronName("Name of a neuron, L31N892: layer and index, both from 0.")]
TokenId = Annotated[int, Whole("Id of a token.")]
Layer = Annotated[int, Whole("Layer, from 0; both ends are included.")]
Limit = Annotated[int, Whole("Rows of a page.", least=1, most=MOST_ROWS)]
Few = Annotated[int, Whole("How many are listed at each end.", least=1, most=100)]
Most = Annotated[int, Whole("How many are listed, at most.", least=1, most=100)]
Direction = Annotated[str, Choice("'top': each other's best; 'bottom': each other's worst.", ("top", "bottom"))]
End = Annotated[str, Choice("Only the most congruent ('top') or the least ('bottom').", ("top", "bottom"))]
Order = Annotated[str, Choice("Ascending or descending.", ("asc", "desc"))]
After = Annotated[Cursor, Place("Rows after this place: what `next` has.")]
AfterRow = Annotated[int, Whole("Rows after this many: what `next` has.")]
Query = Annotated[str, Text("What is searched for, leading space and all.", least=1, most=200)]
Contained = Annotated[str, Text("Text that the token's contains, upper and lower case alike.", least=1, most=200)]
Exactly = Annotated[str, Text("Exactly the token's text, with its leading space if it has one.", most=1000)]
Every = Annotated[bool, Flag("1 keeps special tokens, and tokens that never really come next.")]
Kind = Annotated[str, Choice("Only texts of this kind.", ("max", "min", "interval"))]
