"""Run `atlas ingest` as `python -m ingest`, the form that torchrun starts."""

from __future__ import annotations

import sys

from atlas.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["ingest"]
    main(prog_name="atlas")
