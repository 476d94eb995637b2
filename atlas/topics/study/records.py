"""Records of studies, which are stored experiments on the model. See the schema for meanings and units."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atlas.core.units import NeuronRef, Token


@dataclass(frozen=True)
class Study:
    """A row of the table `study`, its two tokens and the neurons that stood out resolved."""

    TABLE = "study"

    name: str
    made_at: datetime
    clean: str
    corrupt: str
    answer_token: Token
    other_token: Token
    clean_logit_diff: float
    corrupt_logit_diff: float
    p_answer_clean: float
    p_answer_corrupt: float
    p_other_clean: float
    p_other_corrupt: float
    n_prompts: int
    from_end: bool
    patched_layers: tuple[int, ...]
    found_neurons: tuple[NeuronRef, ...]
    versions: str
    command: str

    @property
    def is_suite(self) -> bool:
        """Whether its figures are means over several pairs of prompts."""
        return self.n_prompts > 1


@dataclass(frozen=True)
class StudyPrediction:
    """A token that the model predicts after a prompt ('clean' or 'corrupt'): `rank` from 1 among all tokens."""

    TABLE = "study_prediction"

    side: str
    rank: int
    token: Token
    logit: float
    probability: float


@dataclass(frozen=True)
class StudyPrompt:
    """A pair of prompts, as tokens, and the predictions after each: the ten best, the answer and the other token."""

    TABLE = "study_prompt"

    prompt: int
    clean: str
    corrupt: str
    clean_tokens: tuple[Token, ...]
    corrupt_tokens: tuple[Token, ...]
    answer_token: Token
    other_token: Token
    clean_logit_diff: float
    corrupt_logit_diff: float
    p_answer_clean: float
    p_answer_corrupt: float
    p_other_clean: float
    p_other_corrupt: float
    predictions: tuple[StudyPrediction, ...]


@dataclass(frozen=True)
class StudyStep:
    """A row of the table `study_step`: one number that a study measured."""

    TABLE = "study_step"

    kind: str
    variant: str | None
    site: str | None
    layer: int | None
    position: int | None
    neuron: NeuronRef | None
    value: float
    low: float | None
    high: float | None
    n_prompts: int


@dataclass(frozen=True)
class LensJump:
    """The greatest rise of the logit lens from one site to the next, in one variant.

    `part` writes between the two: 'attention', 'mlp', or 'block' where there is no site after attention.
    """

    variant: str
    layer: int
    part: str
    before: float
    after: float


@dataclass(frozen=True)
class StudyNeuron:
    """A neuron in a study: its place by |recovery| among the patched ones, and its direct effect on the difference.

    `low` and `high` are the interval of the recovery (None: one pair of prompts), `attribution` is its estimate (None:
    not computed), `found` says whether it stood out (those were ablated). Direct effects are in logits, after the clean
    and the corrupt prompt; None: not measured.
    """

    TABLE = "study_neuron"

    neuron: NeuronRef
    rank: int
    recovery: float
    low: float | None
    high: float | None
    attribution: float | None
    direct_effect_clean: float | None
    direct_effect_corrupt: float | None
    found: bool


@dataclass(frozen=True)
class RecoveryCell:
    """Neurons `n` whose value lies in lower <= value < upper; the last cell includes its end."""

    lower: float
    upper: float
    n: int


@dataclass(frozen=True)
class EffectCell:
    """Patched neurons `n` in one cell of direct share or attribution (x) against recovery (y); empty cells are left
    out."""

    x_lower: float
    x_upper: float
    y_lower: float
    y_upper: float
    n: int


@dataclass(frozen=True)
class Agreement:
    """How well attribution estimates recovery over the patched neurons: correlations (None: not defined), the neuron
    whose estimate is furthest off, and cells of attribution (x) against recovery (y)."""

    pearson: float | None
    spearman: float | None
    worst: StudyNeuron
    cells: tuple[EffectCell, ...]


@dataclass(frozen=True)
class StudyNeurons:
    """The `n` neurons that a study patched: the `top` by |recovery|, and direct share against recovery. The attribution
    of `n_estimated` neurons was computed (0, or all of the model); `bars` are the distribution of all of them, with
    their recovery where they were patched.

    The direct share is (direct_effect_clean - direct_effect_corrupt) / (clean_logit_diff - corrupt_logit_diff): the
    recovery that the neuron's change would bring by its direct path alone. `direct` are the neurons of greatest
    |direct share|; `cells` and `direct` are empty where direct effects were not measured.
    """

    n: int
    top: tuple[StudyNeuron, ...]
    bars: tuple[RecoveryCell, ...]
    direct: tuple[StudyNeuron, ...]
    cells: tuple[EffectCell, ...]
    n_estimated: int
    agreement: Agreement | None


@dataclass(frozen=True)
class StudyEdge:
    """What a neuron that stands out does through a later one: the part of its attribution that goes through the target
    (`estimate`), and the recovery when the target alone takes the activations that it has with the source patched
    (`exact`; None: not measured)."""

    TABLE = "study_edge"

    source: NeuronRef
    target: NeuronRef
    estimate: float
    exact: float | None

    @property
    def value(self) -> float:
        """The exact recovery, or its estimate."""
        return self.estimate if self.exact is None else self.exact


@dataclass(frozen=True)
class StandsOut:
    """A study in which a neuron stands out."""

    study: Study
    neuron: StudyNeuron
