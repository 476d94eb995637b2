"""A study of an opened atlas: all its measurements, read on first use."""

from __future__ import annotations

from rich.console import RenderableType

from atlas.cli.study_view import StudyView
from atlas.client.methods import OpenedRow
from atlas.client.sources import Source
from atlas.topics.study.records import Study


class OpenStudy(OpenedRow, spelt='demo.study("{study}")'):
    """One study. The columns of its row of the table `study` are attributes too: `study.p_answer_clean`."""

    _record, _noun = Study, "study"

    def __init__(self, source: Source, record: Study) -> None:
        super().__init__(source, record.name, record.name, record.name)
        self.record = record

    def __repr__(self) -> str:
        return f"<study {self.record.name}>"

    def __rich__(self) -> RenderableType:
        return StudyView(
            self.record,
            next(iter(self.prompts(limit=1)), None),
            tuple(self.steps(kind="logit_lens")),
            tuple(self.steps(kind="patch_mlp_out")),
            self.neurons(10),
            tuple(self.steps(kind="ablation")),
        )
