"""A study of an opened atlas: everything that was measured, read when it is asked for."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType

from atlas.cli.study_view import StudyView
from atlas.client.records import Pages
from atlas.client.sources import Source
from atlas.client.table import flat, html_table
from atlas.core.call import CALLS
from atlas.core.parameter import MOST_ROWS
from atlas.core.units import field_names
from atlas.topics.study.records import Study, StudyNeurons, StudyPrompt, StudyStep


class OpenStudy:
    """One study. The columns of its row of the table `study` are attributes too: `study.p_answer_clean`."""

    def __init__(self, source: Source, record: Study) -> None:
        self.record = record
        self._source = source

    def __repr__(self) -> str:
        return f"<study {self.record.name}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in field_names(Study):
            raise AttributeError(f"a study has no {name!r}")
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *field_names(Study)]

    def prompts(self, limit: int | None = None) -> Pages[StudyPrompt]:
        """Its pairs of prompts, the first `limit` or all, and what is predicted after each."""
        return self._pages("study_prompts", limit, {})

    def steps(self, limit: int | None = None, **filters: Any) -> Pages[StudyStep]:
        """What it measured, the first `limit` steps or all; filters are `kind`, `variant` and `neuron`.

        Raises:
            ParameterError: there is no such filter, or its value is not right.
        """
        return self._pages("study_steps", limit, filters)

    def neurons(self, limit: int = 50) -> StudyNeurons:
        """The neurons that it patched: the first `limit` by |recovery| and those found, and all in numbers."""
        return self._source.ask(CALLS["study_neurons"], study=self.record.name, limit=limit)

    def __rich__(self) -> RenderableType:
        return StudyView(
            self.record,
            next(iter(self.prompts(limit=1)), None),
            tuple(self.steps(kind="logit_lens")),
            tuple(self.steps(kind="patch_mlp_out")),
            self.neurons(10),
            tuple(self.steps(kind="ablation")),
        )

    def _repr_html_(self) -> str:
        row = flat(self.record)
        return html_table(self.record.name, {"column": list(row), "value": list(row.values())}, 0)

    def _pages(self, name: str, limit: int | None, filters: dict[str, Any]) -> Pages:
        call, size = CALLS[name], MOST_ROWS if limit is None else max(1, min(limit, MOST_ROWS))
        given = {"study": self.record.name, **filters}
        call.texts(given)  # says at once what is no filter
        return Pages(
            f"{self.record.name}: {name.removeprefix('study_')}",
            lambda after: self._source.ask(call, **given, limit=size, after=after),
            limit,
        )
