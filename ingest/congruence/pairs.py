"""Gaps, exclusive pairs, hubs and candidate pairs, from the top of the congruence lists."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Int64

from atlas.core.errors import NeuronNameError
from atlas.core.names import parse_neuron
from atlas.topics.family import family_ids
from ingest.congruence.result import Congruence, RankedList
from ingest.errors import OptionError
from ingest.model.vocabulary import Vocabulary
from ingest.texts.text_file import NOT_TEXT, read_text, undecodable

SOURCES = ("neuron_top", "neuron_bottom", "token_top", "token_bottom", "exclusive", "user")


@dataclass(frozen=True)
class ExclusivePairs:
    """Pairs that are each other's best (or worst), ordered by score, then neuron."""

    neuron: Int[np.ndarray, " pair"]
    token: Int[np.ndarray, " pair"]
    congruence: Float[np.ndarray, " pair"]
    token_gap: Float[np.ndarray, " pair"]
    neuron_gap: Float[np.ndarray, " pair"]
    score: Float[np.ndarray, " pair"]


def gap(ranked: RankedList) -> Float[np.ndarray, " row"]:
    """The difference of each row's first and second value, >= 0; NaN where there is no second."""
    values = ranked.values.cpu().numpy()
    if values.shape[1] < 2:
        return np.full(len(values), np.nan, dtype=np.float32)
    return np.abs(values[:, 0] - values[:, 1])


def exclusive_pairs(congruence: Congruence, direction: str) -> ExclusivePairs:
    """Every (neuron, token) that are each other's first in a direction; score is token gap x neuron gap.

    Source: the post "We Found An Neuron in GPT-2", which ranks mutually exclusive pairs by this score. A pair without
    a second neuron or token to lead has no gap and is left out.
    """
    by_neuron, by_token = congruence.neuron_token[direction], congruence.token_neuron[direction]
    best_token = by_neuron.ids[:, 0].cpu().numpy()
    best_neuron = by_token.ids[:, 0].cpu().numpy()
    token_gap, neuron_gap = gap(by_neuron), gap(by_token)
    neuron = np.arange(len(best_token))
    neuron = neuron[(best_neuron[best_token] == neuron) & np.isfinite(token_gap) & np.isfinite(neuron_gap[best_token])]
    token = best_token[neuron]
    score = token_gap[neuron] * neuron_gap[token]
    order = np.lexsort((neuron, -score))
    neuron, token, score = neuron[order], token[order], score[order]
    value = by_neuron.values[:, 0].cpu().numpy()[neuron]
    return ExclusivePairs(neuron, token, value, token_gap[neuron], neuron_gap[token], score)


def hub_count(best: Int[np.ndarray, " row"], n: int) -> Int[np.ndarray, " n"]:
    """The number of rows that have each id as their best."""
    return np.bincount(best, minlength=n)


@dataclass(frozen=True)
class CandidatePairs:
    """The pairs whose predictions are counted, unique, ordered by neuron, token."""

    neuron: Int[np.ndarray, " pair"]
    token: Int[np.ndarray, " pair"]
    congruence: Float[np.ndarray, " pair"]
    source: list[str]
    """Comma-separated reasons, in the order of SOURCES."""


def candidate_pairs(
    congruence: Congruence,
    exclusive: dict[str, ExclusivePairs],
    chosen: tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Float[np.ndarray, " pair"]],
    *,
    k: int,
    gated: bool,
) -> CandidatePairs:
    """Each neuron's K best tokens and each token's K best neurons (gated: K worst too), exclusive and chosen pairs.

    `chosen` is the user's pairs: neurons, tokens, congruences. A pair that also stands in a list keeps the list's
    value, so that the same pair has the same congruence, bit for bit, in every table.
    """
    parts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for direction in ("top", "bottom") if gated else ("top",):
        tokens, values = _first(congruence.neuron_token[direction], k)
        parts[f"neuron_{direction}"] = np.repeat(np.arange(len(tokens)), tokens.shape[1]), tokens.ravel(), values
        neurons, values = _first(congruence.token_neuron[direction], k)
        parts[f"token_{direction}"] = neurons.ravel(), np.repeat(np.arange(len(neurons)), neurons.shape[1]), values
    pairs = exclusive.values()
    parts["exclusive"] = tuple(
        np.concatenate([getattr(group, name) for group in pairs]) for name in ("neuron", "token", "congruence")
    )
    parts["user"] = chosen
    d_vocab = len(congruence.token_neuron["top"].ids)
    cells = {name: neuron.astype(np.int64) * d_vocab + token for name, (neuron, token, _) in parts.items()}
    every, first = np.unique(np.concatenate(list(cells.values())), return_index=True)
    value = np.concatenate([values for _, _, values in parts.values()])[first]
    reasons = np.zeros(len(every), dtype=np.int64)
    for bit, name in enumerate(SOURCES):
        if name in cells:
            reasons[np.searchsorted(every, np.unique(cells[name]))] |= 1 << bit
    names = [",".join(s for bit, s in enumerate(SOURCES) if mask >> bit & 1) for mask in range(1 << len(SOURCES))]
    return CandidatePairs(every // d_vocab, every % d_vocab, value, [names[mask] for mask in reasons])


def _first(ranked: RankedList, k: int) -> tuple[Int[np.ndarray, "row k"], Float[np.ndarray, " item"]]:
    return ranked.ids[:, :k].cpu().numpy(), ranked.values[:, :k].cpu().numpy().ravel()


def read_pairs(
    path: Path, token_id: Mapping[str, Sequence[int]], *, n_layers: int, d_mlp: int, d_vocab: int
) -> list[tuple[int, int]]:
    """Read `--pairs`: CSV lines `neuron,token` where token is an id or a token's text (`L12N345, an` or `L12N345,354`).

    A header line `neuron,token` is allowed; empty lines are skipped. ASCII digits are an id; anything else is a token's
    text, spaces and all. In quotes it may hold commas, line ends of any kind, and quotes, which are doubled.

    Raises:
        OptionError: the file cannot be read, or a line does not name one neuron and one token; gives the line.
    """
    reader = csv.reader(io.StringIO(pairs_text(path), newline=""), strict=True)
    pairs, line = [], 1
    while True:
        where = f"Line {line} of {str(path)!r}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise OptionError(f"{where} is not CSV: {error}. Double the quotes within quotes.") from error
        if fields is None:
            return pairs
        if fields and not (line == 1 and [field.strip() for field in fields] == ["neuron", "token"]):
            pairs.append(_pair(where, fields, token_id, n_layers, d_mlp, d_vocab))
        line = reader.line_num + 1


def pairs_text(path: Path) -> str:
    """The text of a pairs file, its line ends as they are.

    Raises:
        OptionError: it cannot be read.
    """
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise OptionError(undecodable(path, error)) from error
    except (OSError, *NOT_TEXT) as error:
        cause = getattr(error, "strerror", None) or error
        raise OptionError(f"The pairs file {str(path)!r} cannot be read: {cause}. Check --pairs.") from error


def _pair(
    where: str, fields: list[str], token_id: Mapping[str, Sequence[int]], n_layers: int, d_mlp: int, d_vocab: int
) -> tuple[int, int]:
    if len(fields) != 2:
        raise OptionError(f"{where} has {len(fields)} fields, expected two: neuron,token (as in L12N345,354).")
    neuron, token = fields
    try:
        layer, index = parse_neuron(neuron, n_layers, d_mlp)
    except NeuronNameError as error:
        raise OptionError(f"{where}: {error}") from error
    ids = [int(token)] if token.isascii() and token.isdecimal() else list(token_id.get(token, ()))
    if len(ids) > 1:
        raise OptionError(f"{where}: {token!r} is the text of tokens {', '.join(map(str, ids))}; write one's id.")
    if not ids or ids[0] >= d_vocab:
        raise OptionError(f"{where}: {token!r} is no token; write a token's text or an id from 0 to {d_vocab - 1}.")
    return layer * d_mlp + index, ids[0]


@dataclass(frozen=True)
class NeuronFamilies:
    """Pairs of neuron and family, unique, ordered by neuron, family, without families of one token.

    `of_token` is every token's family, called by the lowest id of its members (see `atlas.topics.family`).
    """

    neuron: Int64[np.ndarray, " pair"]
    family: Int64[np.ndarray, " pair"]
    of_token: Int64[np.ndarray, " d_vocab"]


def neuron_families(congruence: Congruence, vocabulary: Vocabulary, *, gated: bool) -> NeuronFamilies:
    """The pairs of a model. A family of one token is left out: its counts are those of the pair, a candidate."""
    of_token = family_ids(vocabulary.text, vocabulary.special)
    several = np.bincount(of_token, minlength=len(of_token)) > 1
    directions = ("top", "bottom") if gated else ("top",)
    family = of_token[np.stack([congruence.neuron_token[d].ids[:, 0].cpu().numpy() for d in directions], 1)]
    neuron, place = np.nonzero(several[family])
    cells = np.unique(neuron * np.int64(len(of_token)) + family[neuron, place])
    return NeuronFamilies(cells // len(of_token), cells % len(of_token), of_token)


def no_families(d_vocab: int) -> NeuronFamilies:
    """No families, for runs that count none."""
    none = np.zeros(0, dtype=np.int64)
    return NeuronFamilies(none, none, np.arange(d_vocab, dtype=np.int64))
