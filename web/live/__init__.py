"""Live mode: what a model does with a text that a visitor types, off unless the operator turns it on.

The site's processes never load a model. They ask a desk (`desk.py`), one small process for the whole site, started at
the first question, which keeps the queue and starts a process for each model that is asked for. That process is of
the package that loads models: it is reached by an entry point, as commands are. `live.py` is the site's end;
`atlas.records.live` says what passes to the model.
"""
