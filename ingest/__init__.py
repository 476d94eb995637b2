"""Write an atlas: model and dataset in, one DuckDB file out. The only package that imports torch."""

import os

# Read by torch when it is loaded: large tensors in huge pages. A lean forward pass took 7.0 s with it and 11.4 s
# without (one run each, shared machine): page faults.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
