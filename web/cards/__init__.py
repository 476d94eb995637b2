"""Cards: the picture of a page that a forum shows beside a link to it, where no script runs."""

from web.cards.neuron import neuron_card
from web.cards.plain import plain_card
from web.cards.saved import saved_card
from web.cards.study import study_card
from web.cards.svg import Card
from web.cards.token import token_card

__all__ = ["Card", "neuron_card", "plain_card", "saved_card", "study_card", "token_card"]
