"""What neurons do to the tokens they are congruent with: mean ablation where they fire, over stored texts."""

from ingest.effects.choose import ChosenPair, Firing, choose_pairs
from ingest.effects.measure import PairEffect, measure_effects

__all__ = ["ChosenPair", "Firing", "PairEffect", "choose_pairs", "measure_effects"]
