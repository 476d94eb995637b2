"""Studies: the experiments of "We Found An Neuron in GPT-2" on any model, in numbers."""

from ingest.study.engine import planned_passes, run_study
from ingest.study.machine import StudyModel
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair, TokenPair, tokenise_pair
from ingest.study.result import PromptRecord, StudyResult
from ingest.study.suite import read_suite

__all__ = [
    "PromptPair",
    "PromptRecord",
    "StudyModel",
    "StudyOptions",
    "StudyResult",
    "TokenPair",
    "planned_passes",
    "read_suite",
    "run_study",
    "tokenise_pair",
]
