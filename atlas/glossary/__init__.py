"""What every number of a page means, and the SQL that computes it from an atlas."""

from atlas.glossary.activity import ACTIVITY
from atlas.glossary.term import Term
from atlas.glossary.weights import WEIGHTS

TERMS = (*WEIGHTS, *ACTIVITY)
"""Every term: what the weights say first, then what the activations do."""

__all__ = ["TERMS", "Term"]
