"""Visitors' SQL, run where it can harm nothing: every query in a process of its own, which the system confines.

The web process never parses a visitor's SQL. It hands the text to a broker (`broker.py`), a small process started
before anything else, which gives each query to a worker (`worker.py`) that was forked, confined and connected in
advance, answers one query and is gone. `console.py` is the web process's end. Nothing that the broker imports imports
the rest of the program (`atlas.parameters` stands alone): a worker holds nothing worth having.
"""
