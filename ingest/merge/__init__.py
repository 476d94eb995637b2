"""Atlases of one model and one set of options over disjoint texts become one, as if their texts had been run together.

`parts` opens them and refuses what does not belong together, `sources` reads them side by side, `tables` makes the
statistics of the whole, `run` writes the file. Tables are read by ranges of neurons or tokens, so memory follows the
width of a range and the number of texts cited, not the size of the parts.
"""

from ingest.merge.parts import MergeError
from ingest.merge.run import MergeReport, merge

__all__ = ["MergeError", "MergeReport", "merge"]
