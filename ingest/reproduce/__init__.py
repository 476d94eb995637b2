"""The figures of "We Found An Neuron in GPT-2", published against measured."""

from ingest.reproduce.figures import Published, read_published
from ingest.reproduce.run import Reproduced, ReproduceRequest, reproduce

__all__ = ["Published", "ReproduceRequest", "Reproduced", "read_published", "reproduce"]
