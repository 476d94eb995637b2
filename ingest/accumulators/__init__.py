"""What is kept of the activations: sums and top lists that merge, so batches, shards and checkpoints are one thing.

Every accumulator is pure (no files, no globals) and has `update`, `merge`, `state_dict`, `load_state_dict` and
`result`. Merging is associative and commutative: exactly for counts and lists, to rounding for sums.
"""

from ingest.accumulators.activations import ActivationStatistics
from ingest.accumulators.counts import TokenCounts
from ingest.accumulators.examples import ExampleLists
from ingest.accumulators.predictions import PredictionHistogram
from ingest.accumulators.signs import SignCases

__all__ = ["ActivationStatistics", "ExampleLists", "PredictionHistogram", "SignCases", "TokenCounts"]
