"""Example queries for the SQL console and for readers of a file: each runs unchanged on any atlas."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.names import database_name


@dataclass(frozen=True)
class ExampleQuery:
    """A question, its SQL, and values of its parameters."""

    title: str
    sql: str
    parameters: tuple[tuple[str, str], ...] = ()


EXAMPLE_QUERIES = (
    ExampleQuery(
        '" an" minus " a" in the last five layers, with kurtosis',
        "SELECT d.neuron, d.congruence, d.congruence_plus, d.congruence_minus,\n"
        "       n.congruence_kurtosis AS kurtosis, n.activation_max\n"
        "FROM congruence_with_direction(:plus, :minus) AS d\nJOIN neuron AS n USING (neuron_id), atlas AS a\n"
        "WHERE d.layer >= a.n_layers - 5\nORDER BY d.congruence DESC\nLIMIT 20",
        (("plus", " an"), ("minus", " a")),
    ),
    ExampleQuery(
        "The best exclusive pairs",
        "SELECT neuron, token, score, congruence, token_gap, neuron_gap, n_predicted\nFROM pair\n"
        "WHERE direction = 'top' AND NOT special AND n_actual > 0\nORDER BY rank\nLIMIT 50",
    ),
    ExampleQuery(
        "Neurons that promote a token, over all of the model",
        "SELECT c.rank, c.neuron, c.congruence, n.congruence_kurtosis AS kurtosis, n.activation_max\n"
        "FROM congruence_with(:token) AS c\nJOIN neuron AS n USING (neuron_id)\nORDER BY c.rank\nLIMIT 50",
        (("token", " an"),),
    ),
    ExampleQuery(
        "Is it predicted where the neuron fires?",
        "SELECT lower, upper, n, n_predicted, predicted_fraction, actual_fraction\nFROM prediction_curve\n"
        "WHERE (neuron_id, token_id) = (\n    SELECT (neuron_id, token_id) FROM pair\n"
        "    WHERE direction = 'top' AND NOT special\n    ORDER BY n_predicted DESC, rank LIMIT 1)\nORDER BY lower",
    ),
    ExampleQuery(
        "Neurons of one token only",
        'SELECT n.name AS neuron, t."text" AS token, n.token_gap, n.best_congruence, n.congruence_kurtosis\n'
        "FROM neuron AS n\nJOIN token AS t ON t.token_id = n.best_token_id\nWHERE NOT t.special AND t.n_actual > 0\n"
        "ORDER BY n.token_gap DESC NULLS LAST\nLIMIT 50",
    ),
    ExampleQuery(
        "Layers in numbers",
        "SELECT layer, avg(best_congruence) AS best_congruence, avg(token_gap) AS token_gap,\n"
        "       avg(activation_std) AS activation_std, count(*) FILTER (dead) AS dead\nFROM neuron\nGROUP BY layer\n"
        "ORDER BY layer",
    ),
    ExampleQuery(
        "Paths of neurons that lead to a token",
        "WITH RECURSIVE path AS (\n    SELECT n.neuron_id, n.name AS path, 0 AS steps, NULL::FLOAT AS weight\n"
        '    FROM token AS t JOIN neuron AS n ON n.neuron_id = t.best_neuron_id\n    WHERE t."text" = :token\n'
        "    UNION ALL\n    SELECT o.neuron_id, o.name || ' → ' || p.path, p.steps + 1, u.weight\n    FROM path AS p\n"
        "    JOIN neuron_upstream AS u ON u.neuron_id = p.neuron_id AND u.direction = 'top' AND u.rank <= 2\n"
        "    JOIN neuron AS o ON o.neuron_id = u.other_neuron_id\n    WHERE p.steps < 2\n)\n"
        'SELECT p.path, p.weight, t."text" AS first_writes\nFROM path AS p\n'
        "JOIN neuron AS n USING (neuron_id) JOIN token AS t ON t.token_id = n.best_token_id\n"
        "ORDER BY p.steps, p.weight DESC\nLIMIT 50",
        (("token", " an"),),
    ),
    ExampleQuery(
        "Texts that fire a neuron",
        "SELECT rank, activation, right(before, 60) AS before, token, left(after, 30) AS after, predicted\n"
        "FROM max_activating_example\nWHERE neuron = :neuron AND kind = 'max'\nORDER BY rank",
        (("neuron", "L0N0"),),
    ),
    ExampleQuery(
        "Tokens that a neuron promotes, over the whole vocabulary",
        "SELECT rank, token, congruence, n_predicted, n_actual\nFROM neuron_congruence(:neuron)\n"
        "WHERE NOT special\nORDER BY rank\nLIMIT 50",
        (("neuron", "L0N0"),),
    ),
    ExampleQuery(
        "Pairs by how much firing raises the chance of the token",
        "SELECT neuron, token, n, n_predicted, predicted_fraction, lift\nFROM prediction_above(2)\n"
        "WHERE n >= 20 AND n_predicted >= 5\nORDER BY lift DESC\nLIMIT 50",
    ),
    ExampleQuery(
        "Tokens by how often they are predicted and occur",
        'SELECT "text" AS token, n_predicted, n_actual, n_input\nFROM token\nORDER BY n_predicted DESC\nLIMIT 100',
    ),
)
"""All example queries."""


def across(other: str) -> ExampleQuery:
    """A query over this atlas and another one, attached under its slug `other`."""
    database = f'"{database_name(other)}"'
    return ExampleQuery(
        f"The same tokens' best neurons here and in {other}",
        'SELECT t."text" AS token, n.name AS neuron, t.neuron_gap, t.n_predicted,\n'
        "       m.name AS neuron_there, u.neuron_gap AS gap_there, u.n_predicted AS predicted_there\n"
        "FROM token AS t\nJOIN neuron AS n ON n.neuron_id = t.best_neuron_id\n"
        f'JOIN {database}.token AS u USING ("text")\nJOIN {database}.neuron AS m ON m.neuron_id = u.best_neuron_id\n'
        "WHERE NOT t.special AND t.n_actual > 0 AND u.n_actual > 0\n"
        "  AND NOT contains(t.\"text\", '�')  -- part of a character, which its text does not identify\n"
        "ORDER BY t.neuron_gap DESC NULLS LAST\nLIMIT 50",
    )
