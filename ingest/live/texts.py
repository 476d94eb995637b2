"""Texts as tokens, up to the operator's limit."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.errors import StudyError
from ingest.model.saved_tokenizer import bos_for
from ingest.study.prompts import encode
from ingest.study.study_model import StudyModel


@dataclass(frozen=True)
class Texts:
    """A model's tokenizer, for texts of at most `most` tokens, BOS not counted."""

    model: StudyModel
    most: int

    def read(self, text: str) -> tuple[tuple[int, ...], bool]:
        """Token ids with BOS before them where the model has one, and whether it has.

        Raises:
            StudyError: there is no token, or there are too many.
        """
        ids = encode(self.model.model, text)
        bos = bos_for(self.model.model.tokenizer)
        self.check(ids, bos is not None)
        return (ids if bos is None else (bos, *ids)), bos is not None

    def check(self, ids: tuple[int, ...], has_bos: bool) -> None:
        """Refuse a text that is too short or too long.

        Raises:
            StudyError: it is.
        """
        context = getattr(self.model.model.cfg, "n_ctx", None)
        most = self.most if context is None else min(self.most, context - has_bos)
        if not ids:
            raise StudyError("The text is empty: type at least one word.")
        if len(ids) > most:
            raise StudyError(f"The text has {len(ids):,} tokens; expected at most {most:,} here. Shorten it.")
