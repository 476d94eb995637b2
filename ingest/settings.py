"""The options of a run, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingest.errors import OptionError


@dataclass(frozen=True)
class Settings:
    """What `atlas ingest` was asked for (see its help for each option)."""

    model: str
    dataset: str
    out: Path
    slug: str | None = None
    revision: str | None = None
    dataset_config: str | None = None
    split: str = "train"
    text_column: str = "text"
    max_texts: int | None = None
    context_length: int | None = None
    overflow: str = "truncate"
    batch_size: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    readout: str = "unembed"
    top_tokens: int = 50
    top_neurons: int = 50
    top_texts: int = 20
    pair_candidates: int = 5
    pairs: Path | None = None
    first_text: int = 0
    last_text: int | None = None
    window: int = 64
    count_bos: bool = False
    weights: bool = True
    seed: int = 0
    force: bool = False
    command: str = ""

    def check_output(self) -> None:
        """Refuse an output that exists or cannot be written, before any work is done.

        Raises:
            OptionError: names the file and what to do.
        """
        if self.out.is_dir():
            raise OptionError(f"{str(self.out)!r} is a folder; --out names the file to write, as in atlas.duckdb.")
        if self.out.exists() and not self.force:
            raise OptionError(f"{str(self.out)!r} exists already. Choose another --out, or replace it with --force.")
        if not self.out.absolute().parent.is_dir():
            raise OptionError(
                f"The folder {str(self.out.absolute().parent)!r} of --out does not exist. Create it first."
            )

    def free_output(self, build_id: str) -> Path:
        """Where to publish: `out`, or beside it if somebody wrote `out` meanwhile (a finished run is not lost)."""
        if self.force or not self.out.exists():
            return self.out
        return self.out.with_stem(f"{self.out.stem}-{build_id}")

    def context_for(self, n_ctx: int) -> int:
        """Context length for a model of `n_ctx` positions: 1,024 unless asked, never more than the model has.

        Raises:
            OptionError: more was asked for than the model has.
        """
        if self.context_length is None:
            return min(1024, n_ctx)
        if self.context_length > n_ctx:
            raise OptionError(f"--context-length {self.context_length} is more than this model's {n_ctx} positions.")
        return self.context_length


def parse_range(text: str | None) -> tuple[int, int | None]:
    """Read `--texts A:B` (either end may be left out) into (first, last).

    Raises:
        OptionError: it is not of that form.
    """
    if text is None:
        return 0, None
    first, colon, last = text.partition(":")
    if not colon or not all(part == "" or part.isdecimal() for part in (first, last)):
        raise OptionError(f"--texts {text!r} is not a range: expected A:B, text ids from A up to but not including B.")
    return int(first or 0), int(last) if last else None
