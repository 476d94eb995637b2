"""Imported by the server of `tests.forked` before it forks: everything a run imports, and one thread each."""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

import torch
import transformer_lens.model_bridge  # noqa: F401
import transformers.models.auto.modeling_auto
import transformers.models.gpt2.modeling_gpt2
import transformers.models.llama.modeling_llama  # noqa: F401

from ingest.run import build  # noqa: F401

torch.set_num_threads(1)
