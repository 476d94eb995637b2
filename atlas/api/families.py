"""Calls about kinds of neurons, families of tokens, and congruence with hubs discounted."""

from __future__ import annotations

from atlas.core.call import call
from atlas.core.db import Atlas
from atlas.core.parameter import Most, NeuronId, TokenId
from atlas.topics.family import FamilyCurve, FamilyMember, KinToken, family, family_curves, kin
from atlas.topics.kind import LayerKinds, NeuronKind, layer_kinds
from atlas.topics.kind import neuron_kind as read_neuron_kind
from atlas.topics.reduced import ReducedPair, reduced_neurons, reduced_tokens
from atlas.topics.sign_case import SignCase
from atlas.topics.sign_case import sign_cases as read_sign_cases

_NEURON = "atlases/{atlas}/neurons/{neuron}"
_TOKEN = "atlases/{atlas}/tokens/{token}"


@call("atlases/{atlas}/kinds", python="demo.kinds()")
def kinds(atlas: Atlas) -> tuple[LayerKinds, ...]:
    """How many neurons of each layer are of each kind."""
    return tuple(layer_kinds(atlas))


@call(_NEURON + "/kind", python='demo.neuron("{neuron}").kind()')
def neuron_kind(atlas: Atlas, neuron: NeuronId) -> NeuronKind:
    """What kind a neuron is, by the moments of its congruence, and the token that it detects."""
    return read_neuron_kind(atlas, neuron)


@call(_NEURON + "/families", python='demo.neuron("{neuron}").families()')
def neuron_families(atlas: Atlas, neuron: NeuronId) -> tuple[FamilyCurve, ...]:
    """Predictions of a neuron's best token (gated models: then its worst) alone and with its family; nothing where it
    has no relatives."""
    return tuple(family_curves(atlas, neuron))


@call(_NEURON + "/reduced", python='demo.neuron("{neuron}").reduced()')
def neuron_reduced(atlas: Atlas, neuron: NeuronId, limit: Most = 50) -> tuple[ReducedPair, ...]:
    """A neuron's stored best tokens by reduced congruence (CSLS)."""
    return tuple(reduced_tokens(atlas, neuron)[:limit])


@call(_NEURON + "/sign-cases", python='demo.neuron("{neuron}").sign_cases()')
def sign_cases(atlas: Atlas, neuron: NeuronId) -> tuple[SignCase, ...]:
    """The sign cases of a gated neuron; nothing where the atlas was ingested without --sign-cases."""
    return tuple(read_sign_cases(atlas, neuron))


@call(_TOKEN + "/family", python="demo.token({token}).family()")
def token_family(atlas: Atlas, token: TokenId) -> tuple[FamilyMember, ...]:
    """The tokens that differ from a token in spelling alone, itself included; nothing where there are none."""
    return tuple(family(atlas, token))


@call(_TOKEN + "/kin", python="demo.token({token}).kin()")
def token_kin(atlas: Atlas, token: TokenId, limit: Most = 20) -> tuple[KinToken, ...]:
    """The tokens that share best neurons with a token, the most alike first."""
    return tuple(kin(atlas, token, limit))


@call(_TOKEN + "/reduced", python="demo.token({token}).reduced()")
def token_reduced(atlas: Atlas, token: TokenId, limit: Most = 50) -> tuple[ReducedPair, ...]:
    """A token's stored best neurons by reduced congruence (CSLS)."""
    return tuple(reduced_neurons(atlas, token)[:limit])
