"""Congruence of every neuron with every token, kept as ranked lists: [neuron, d_vocab] never exists whole."""

from ingest.congruence.cpu import CpuSearch
from ingest.congruence.merge import merge_congruence, merge_states
from ingest.congruence.ranked import DIRECTIONS, Congruence, RankedList
from ingest.congruence.reference import CongruenceSearch
from ingest.congruence.search import search

__all__ = [
    "DIRECTIONS", "Congruence", "CongruenceSearch", "CpuSearch", "RankedList", "merge_congruence", "merge_states",
    "search",
]  # fmt: skip
