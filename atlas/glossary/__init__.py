"""What every number of a page means, and the SQL that computes it from an atlas."""

from atlas.glossary.activity import ACTIVITY
from atlas.glossary.kinds import KINDS
from atlas.glossary.predictiveness import PREDICTIVENESS
from atlas.glossary.term import Term
from atlas.glossary.weights import WEIGHTS

TERMS = (*WEIGHTS, *ACTIVITY, *PREDICTIVENESS, *KINDS)
"""Every term: what the weights say first, then what the activations do, then what both make of neurons and tokens."""

__all__ = ["TERMS", "Term"]
