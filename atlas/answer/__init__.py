"""What a statement of a user answers, and its files: JSON, CSV, Parquet, made from the answer's own types.

`shapes` says what a column's type is and its values in terms of JSON, `asking` asks so that no value loses anything on
its way, `texts` and `parquet` write. A worker of the sandbox imports the first two, which need nothing but Python and
DuckDB; the web process makes files of what the worker says, which it reads as JSON and as nothing else.
"""
