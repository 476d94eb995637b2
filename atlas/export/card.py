"""The README of an export: a card for the Hugging Face Hub, with each column's meaning from the schema's comments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from atlas.core.db import Atlas, program_version
from atlas.core.display import show_value, visible
from atlas.core.info import AtlasInfo, count_words, unfinished_words

if TYPE_CHECKING:
    from atlas.export.folder import Written


_PROVENANCE = (
    "model_name",
    "model_revision",
    "model_fingerprint",
    "n_layers",
    "d_model",
    "d_mlp",
    "d_vocab",
    "act_fn",
    "gated",
    "readout",
    "hook",
    "dataset_name",
    "dataset_config",
    "dataset_split",
    "dataset_fingerprint",
    "text_column",
    "n_texts",
    "n_texts_planned",
    "n_positions",
    "text_ranges",
    "context_length",
    "overflow",
    "dtype",
    "device",
    "seed",
    "build_id",
    "schema_version",
    "built_at",
    "versions",
)


def card(atlas: Atlas, files: tuple[Written, ...], form: str, licence: str, *, views: bool) -> str:
    """The README's text; `views`: whether `views.sql` contains the atlas's own views."""
    parts = [front_matter(_card_fields(atlas, files, licence)), *_introduction(atlas, files, licence)]
    parts += _loading(files, form, views)
    parts += _provenance(atlas)
    parts += ["## Tables\n", "| table | rows | MB | content |", "|---|--:|--:|---|"]
    for item in files:
        rows = "view" if item.rows is None else f"{item.rows:,}"
        anchor = f"[`{item.table.name}`](#{item.table.name})"
        parts.append(f"| {anchor} | {rows} | {item.size / 1e6:,.1f} | {_cell(item.table.comment)} |")
    for item in files:
        parts += [f"\n### {item.table.name}\n", f"{_prose(item.table.comment)}\n"]
        parts += ["| column | type | meaning |", "|---|---|---|"]
        parts += [f"| `{column.name}` | `{column.type}` | {_cell(column.comment)} |" for column in item.table.columns]
    return "\n".join(parts) + "\n"


_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
"""The Hub's size categories by rows, from a thousand up, each ten times the one before."""


def size_category(rows: int) -> str:
    """The Hub's size category of a data set with `n` rows."""
    place = max(0, len(str(rows)) - 3)
    if place == 0:
        return f"n<{_SIZES[0]}"
    return f"{_SIZES[place - 1]}<n<{_SIZES[place]}" if place < len(_SIZES) else f"n>{_SIZES[-1]}"


TAGS = ("neuron-atlas", "interpretability", "mechanistic-interpretability", "neurons")
"""The Hub's tags of an atlas."""


def front_matter(fields: Mapping[str, Any]) -> str:
    """The head of a README on the Hub. A JSON value is a YAML value: nothing in a model's name is read as YAML."""
    lines = []
    for name, value in fields.items():
        if isinstance(value, (list, tuple)) and value:
            lines += [f"{name}:", *(f"- {_yaml(item)}" for item in value)]
        else:
            lines.append(f"{name}: {_yaml(value)}")
    return "\n".join(["---", *lines, "---", ""])


def _yaml(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _card_fields(atlas: Atlas, files: tuple[Written, ...], licence: str) -> dict[str, Any]:
    # `datasets` cannot load a configuration without rows, and the Hub's viewer cannot show it.
    loadable = [item for item in files if item.rows != 0] or list(files)
    default = next((item for item in loadable if item.table.name == "neuron"), loadable[0])
    return {
        "pretty_name": f"Neuron Atlas of {atlas.info.model_name}",
        "license": licence,
        "tags": TAGS,
        "size_categories": [size_category(sum(item.rows or 0 for item in files))],
        "configs": [
            {"config_name": item.table.name, "data_files": item.file} | ({"default": True} if item is default else {})
            for item in loadable
        ],
    }


def about(info: AtlasInfo) -> str:
    """What an atlas holds, in a sentence or two of Markdown."""
    return (
        f"Every MLP neuron of {_prose(info.model_name)} ({info.n_neurons:,} in {info.n_layers} layers): the tokens its "
        f"output weights are congruent with, how its activations are distributed over {info.n_positions:,} positions "
        f"of {_prose(info.dataset)}, the texts that fire it most, and whether its firing goes with those tokens being "
        "predicted. A neuron is named `L31N892` (layer, index, both from 0)."
    )


def _introduction(atlas: Atlas, files: tuple[Written, ...], licence: str) -> Iterator[str]:
    info = atlas.info
    yield f"# Neuron Atlas of {_prose(info.model_name)}\n"
    yield f"{about(info)}\n"
    note = unfinished_words(info)
    if note is not None:
        yield f"**{note}** The run had read {count_words(info)} texts when this build was written.\n"
    if licence == "unknown":
        yield (
            "**Licence: to be filled in.** Permitted uses of these tables depend on the licences of the model and "
            "of the texts: replace `unknown` above by an identifier of the Hub.\n"
        )
    if any(item.table.name == "example" for item in files):
        yield (
            "In `example`, activations of a window are stored small: `window_activations[i] * window_scale`. The view "
            "`max_activating_example` decodes them and puts the tokens' texts beside them.\n"
        )
    yield (
        f"Exported by neuron-atlas {program_version()} from build `{info.build_id}`; rows are in the atlas's order, "
        "sorted by each table's first column.\n"
    )


def _loading(files: tuple[Written, ...], form: str, views: bool) -> Iterator[str]:
    name = next((item.table.name for item in files if item.table.name == "neuron"), files[0].table.name)
    yield "## Loading\n"
    yield (
        "With `datasets`, a configuration a table (from this folder, or by the name of the repository on the Hub):\n\n"
        f'```python\nfrom datasets import load_dataset\n\ntable = load_dataset(".", "{name}", split="train")\n```\n'
    )
    if form == "parquet":
        yield f'With pandas:\n\n```python\nimport pandas as pd\n\ntable = pd.read_parquet("{name}.parquet")\n```\n'
        yield (
            "Comments of a table and its columns are in the files: `pyarrow.parquet.read_schema(file)` shows them, as "
            "`comment`, and the atlas's own row, as `atlas`.\n"
        )
    else:
        yield (
            "With pandas, floats exactly:\n\n```python\nimport pandas as pd\n\n"
            f'table = pd.read_csv("{name}.csv", float_precision="round_trip")\n```\n'
        )
        yield (
            'Lists and structs are JSON texts, bytes hexadecimal digits. Every text is quoted: `""` is an empty text, '
            "nothing at all is NULL (pandas takes both for missing; `views.sql` keeps them apart). Types and comments "
            "are in `datapackage.json`.\n"
        )
    what = (
        "every table with its types, and the atlas's views and macros over them"
        if views
        else "every table here with its types"
    )
    yield (
        f"With DuckDB, in this folder, {what} (`schema.sql` is the whole schema):\n\n"
        f'```sh\nduckdb -init views.sql\n```\n\n```sql\nFROM "{name}" LIMIT 10;\n```\n'
    )


def _provenance(atlas: Atlas) -> Iterator[str]:
    yield "## Provenance\n"
    yield "| | |"
    yield "|---|---|"
    for name in _PROVENANCE:
        value = getattr(atlas.info, name)
        yield f"| {name} | {_cell(str(value) if name in ('seed', 'schema_version') else show_value(value))} |"
    yield ""


def _prose(text: str | None) -> str:
    return visible(text or "").replace("<", "&lt;")


def _cell(text: str | None) -> str:
    return _prose(text).replace("|", "\\|")
