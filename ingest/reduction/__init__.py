"""What one layer of one batch adds to the statistics: one contract, written for each kind of device.

`reference` defines it in plain torch and runs anywhere; `cpu` is compiled for the CPU.
"""

from ingest.reduction.choice import Reduce, layer_reducer
from ingest.reduction.reference import LayerSums, Runs

__all__ = ["LayerSums", "Reduce", "Runs", "layer_reducer"]
