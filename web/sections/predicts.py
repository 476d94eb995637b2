"""Whether a neuron's firing predicts its tokens: curves, the pairs counted, other spellings."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g

from atlas import Atlas
from atlas.topics.curve import CURVES, NEURON_CANDIDATES, Candidate, Curve, neuron_curves, of_pairs
from atlas.topics.family import has_family
from atlas.topics.neuron import Neuron
from atlas.topics.threshold import BEYOND
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.sections.curves import choose, pair_label
from web.sections.section import Reading, Section
from web.sections.threshold import Explorer, explore
from web.site import urls
from web.site.page import doc

MAX_CURVES = 2


@dataclass(frozen=True, kw_only=True)
class Predicts(
    Section, id="predicts", heading="Does its firing predict the token?", absent="No pair of this neuron was counted."
):
    """Prediction curves of its most promising pairs."""

    curves: tuple[Curve, ...] = field(
        metadata=doc("Prediction curves of some pairs: the one asked for or of the verdict, exclusive pairs, extremes.")
    )
    charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, if there are any.", json=False))
    explorer: Explorer | None = field(
        metadata=doc("The threshold explorer of the first curve; null where nothing was counted.")
    )

    @classmethod
    def read(cls, reading: Reading) -> Predicts:
        """The curves of one neuron."""
        neuron, model = reading.neuron, reading.atlas.info.model_name
        prediction = reading.verdict.prediction
        best = reading.verdict.token or (prediction.token if prediction else None)
        chosen = choose(neuron, reading.candidates, reading.token_id, best, MAX_CURVES)
        curves = neuron_curves(reading.atlas, neuron.neuron_id, chosen, reading.bars)
        return cls(
            sql=CURVES.shown(**of_pairs(chosen)) if chosen else None,
            curves=tuple(curves),
            charts=curve_charts(
                curves,
                f"Tokens predicted by activation of {neuron.name}, {model}",
                pair_label("token"),
                lambda curve: urls.to("neuron", g.ref, neuron.name, token=curve.candidate.token.token_id) + "#predicts",
            ),
            explorer=explore(curves[0], prediction) if curves else None,
        )

    @property
    def there(self) -> bool:
        """Whether a pair of it was counted."""
        return bool(self.curves)

    @property
    def threshold(self) -> str | None:
        """The threshold that the chart marks."""
        return self.explorer.shown["value"] if self.explorer else None


@dataclass(frozen=True, kw_only=True)
class Threshold(
    Section, id="threshold", heading="At a threshold", absent="No counted activation lies beyond any edge."
):
    """What firing beyond a threshold says of the first curve's token."""

    explorer: Explorer | None = field(metadata=doc("The explorer of the first curve.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Threshold:
        """The explorer of one neuron's first curve."""
        explorer = reading[Predicts].explorer
        if explorer is None:
            return cls(sql=None, explorer=None)
        values = {"token_id": explorer.candidate.token.token_id, "edge": explorer.threshold.edge}
        return cls(sql=BEYOND[explorer.threshold.side].shown(**reading.one, **values), explorer=explorer)

    @property
    def there(self) -> bool:
        """Whether anything was counted."""
        return self.explorer is not None


@dataclass(frozen=True, kw_only=True)
class Candidates(Section, id="candidates", heading="Tokens counted with it"):
    """Every token whose predictions were counted with it."""

    candidates: tuple[Candidate, ...] = field(metadata=doc("Its pairs whose predictions were counted."))
    has_family: bool = field(
        metadata=doc("Whether its best (or worst) token has other spellings, and they were counted.", json=False)
    )

    @classmethod
    def read(cls, reading: Reading) -> Candidates:
        """The pairs of one neuron."""
        return cls(
            sql=NEURON_CANDIDATES.shown(**reading.one),
            candidates=tuple(reading.candidates),
            has_family=_has_family(reading.atlas, reading.neuron),
        )

    @property
    def there(self) -> bool:
        """Whether a pair of it was counted."""
        return bool(self.candidates)


def _has_family(atlas: Atlas, neuron: Neuron) -> bool:
    tokens = (neuron.best_token, neuron.worst_token) if atlas.info.gated else (neuron.best_token,)
    return any(has_family(atlas, token.token_id) for token in tokens)
