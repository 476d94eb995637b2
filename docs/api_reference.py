"""docs/api.md: the client by example, and every call of the API, made from the calls themselves."""

from __future__ import annotations

from atlas.api.calls import CALLS
from atlas.api.schema import Schemas
from atlas.core.call import Call, Declared
from docs.reference import NOTE

_START = """# The API and the Python client
"""

_CLIENT = """A served atlas answers at `/api/v1`; the page `/api` of a site shows every call with its parameters and
shapes, and `/api/v1/openapi.json` is the same as OpenAPI 3.1, made from the records that the pages show.

## In Python

The same calls work over a file and over a served URL (`http://host:8000/slug`, or `slug@build_id` for one build).

```python
import atlas

demo = atlas.open("demo.duckdb")

neuron = demo.neuron("L24N917")
neuron.token_gap  # any column of the table `neuron`
neuron.best_tokens[0].token.text  # ' than'
neuron.percentiles["token_gap"].model  # the fraction of all neurons that have less

curve = neuron.curve(" than")
max(point.predicted_fraction for point in curve)
curve.to_arrow()  # or .to_pandas()
neuron.thresholds(" than")[0].precision
neuron.examples("max")[0].activation

demo.token(" an").best_neurons[0].neuron.name
[pair.token.text for pair in demo.pairs(limit=3)]
sum(1 for found in demo.neurons(layer_min=20, token_gap_gte=2.0))
demo.search("than").tokens.exact
demo.collection(["L24N917", "0.0"])[0].verdict.headline  # 'predicts ␣than'
demo.sql("SELECT neuron, score FROM pair ORDER BY rank LIMIT 3").rows
demo.sql("SELECT neuron, score FROM pair WHERE token = :token", token=" an").rows

try:
    neuron.curve(" zebra")
except atlas.AtlasError as error:
    print(error)
```

Every list, curve, neuron and token prints itself with `rich.print` and shows itself in a notebook. Long lists
(`neurons`, `pairs`, `exclusive`, `tokens`) are read a page at a time while one iterates over them. An error is an
`AtlasError`, of the same class over a file and over a URL; a server that cannot be reached raises a `RemoteError`.

`atlas.bridge(["demo.duckdb", "http://host:8000/other"], " an")` asks several atlases for the token of a text: one
record for each, with its best neurons, exclusive pairs, counts and best neuron's curve.

`sql` takes the values of the statement's `:name` parameters by name. A value is text in the statement, whatever it was
in Python: a comparison converts it to the other side's type, and elsewhere `CAST(:n AS INTEGER)` makes it a number.
Over a URL, `sql` is subject to the server's limits and to JSON's types: a date is text.

## Over HTTP

```bash
curl 'http://127.0.0.1:8000/api/v1/atlases/smollm2-135m/neurons/L24N917/curves/670'
curl 'http://127.0.0.1:8000/api/v1/atlases/smollm2-135m/neurons?sort=token_gap&token_gap.gte=2&limit=10'
```

An answer is an object with `data`. A list also has `next`, the address of its next rows (null: there are no more),
and a paged list `total`. An error is `{"error": {"code", "message"}}` with a matching status.

Answers have an ETag: a request with `If-None-Match` gets 304 until the build or the program changes. Scripts of any
site may read them (`Access-Control-Allow-Origin: *`), and there are no cookies.

With `atlas serve --rate-limit 60/min`, an address that requests data more often gets 429 with `Retry-After`; pages do
not count. Each process counts separately, in memory, so an address gets up to `--workers` times the limit; behind a
proxy all requests come from the proxy's address, so set the limit there.

## Calls

Paths are below `/api/v1`. Parameters in a path are required; all others go in the query string.
"""


def api_page() -> str:
    """docs/api.md."""
    lines = [_START, NOTE.format(source="docs/api_reference.py and the calls in atlas/topics"), _CLIENT]
    lines += ["| call | answers | parameters |", "|---|---|---|"]
    lines += [_row(call) for call in sorted(CALLS.values(), key=lambda call: call.path)]
    lines.append("")
    return "\n".join(lines)


def _row(call: Call) -> str:
    names = ", ".join(_parameter(declared) for declared in call.parameters if not declared.in_path)
    return f"| `{call.path}` | {_shape(call)}: {' '.join(call.summary.split())} | {names} |"


def _parameter(declared: Declared) -> str:
    if declared.default is None or isinstance(declared.default, bool):
        return f"`{declared.name}`" + (" (required)" if declared.required else "")
    return f"`{declared.name}={declared.default}`"


def _shape(call: Call) -> str:
    data = Schemas().answer(call)["properties"]["data"]
    many = "items" in data
    reference = data["items"] if many else data
    name = reference.get("$ref", "object").rpartition("/")[2]
    return f"`{name}`" + (" rows" if many else "")
