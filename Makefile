# Every target sets up what it needs; `make` alone lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready
EMBED_VENV := .venv-embed
EMBED_READY := $(EMBED_VENV)/.ready
INFINITY_VENV := .venv-infinity
MODEL := all-MiniLM-L6-v2

.DEFAULT_GOAL := help
.PHONY: help setup models run demo test crash-test model-test stress fuzz fuzz-snapshots \
	lint types check fmt bench bench-filtered bench-http bench-embed bench-hybrid \
	bench-algebra bench-memory churn soak image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with the service, the SDK and the development tools

$(READY): pyproject.toml client/pyproject.toml
	@echo "==> setting up $(VENV) (a minute or two; hnswlib is compiled here)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]' -e './client[numpy]'
	@touch $@

models: $(READY) ## Obtain and build the default text encoder (verified by hash)
	@$(BIN)/likewise models obtain $(MODEL)

run: $(READY) ## Serve on 127.0.0.1:8000 with the default encoder and the embedded engine
	@$(BIN)/likewise models obtain $(MODEL) || \
		echo "==> no text encoder: the service takes your own vectors; 'make models' tries again"
	@$(BIN)/likewise warm
	@exec $(BIN)/likewise serve

demo: $(READY) ## Index the standard library's docstrings in the running service and query them
	@$(BIN)/python client/examples/stdlib_demo.py --url http://127.0.0.1:$${LIKEWISE_PORT:-8000}

test: $(READY) ## Run the tests
	@$(BIN)/likewise warm
	$(BIN)/python -m pytest -q

model-test: $(READY) ## Hold the whole collection API against dicts, 2,000 runs (minutes; RUNS=...)
	@$(BIN)/likewise warm
	MODEL_RUNS=$(or $(RUNS),1000) MODEL_STEPS=50 $(BIN)/python -m pytest -q tests/model --timeout 7200

stress: $(READY) ## Readers, writers and builds at once, each checking all it can (SECONDS=60 a part)
	@$(BIN)/likewise warm
	$(BIN)/python -m tests.stress $(or $(SECONDS),60)

fuzz: $(READY) ## Attack parsers, files and the API for ten minutes (CASES=2000 REQUESTS=150)
	@$(BIN)/likewise warm
	FUZZ_EXAMPLES=$(or $(CASES),2000) FUZZ_REQUESTS=$(or $(REQUESTS),150) \
		$(BIN)/python -m pytest -q -s --timeout 0 tests/fuzz

crash-test: $(READY) ## Kill the service 200 times and at every write point (ARGS='--seed 1 --kills 50')
	@$(BIN)/likewise warm
	$(BIN)/python -m tests.crash $(ARGS)

fuzz-snapshots: $(READY) ## Try thousands of damaged and forged snapshots
	FUZZ_FACTOR=$(or $(FACTOR),50) $(BIN)/python -m pytest -q --timeout 3600 tests/snapshots/test_foreign.py

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/Dockerfile

types: $(READY) ## Check types strictly
	$(BIN)/mypy app
	$(BIN)/mypy client/likewise

check: lint types test ## Everything CI runs

fmt: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure ingest, build, recall and speed (DATA=folder with papers.jsonl.gz and vectors)
	@test -n "$(DATA)" || { echo "say where the data is: make bench DATA=path/to/arxiv"; exit 1; }
	$(BIN)/python -m bench.arxiv "$(DATA)"

# The peers never enter the service's environment.
$(BENCH_READY): pyproject.toml
	@echo "==> setting up $(BENCH_VENV) with the peers (a few minutes)"
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install -qq --disable-pip-version-check --upgrade pip
	$(BENCH_VENV)/bin/python -m pip install -qq --disable-pip-version-check -e '.[bench]'
	@touch $@

bench-filtered: $(BENCH_READY) ## Compare filtered search with its peers (DATA=folder ARGS=--quick)
	@test -n "$(DATA)" || { echo "say where the data is: make bench-filtered DATA=path/to/arxiv"; exit 1; }
	@$(BENCH_VENV)/bin/python -m bench.filtered "$(DATA)" $(ARGS)

bench-http: $(BENCH_READY) ## Compare queries over HTTP with chromadb's server (DATA=folder ARGS=--quick)
	@test -n "$(DATA)" || { echo "say where the data is: make bench-http DATA=path/to/arxiv"; exit 1; }
	@$(BENCH_VENV)/bin/python -m bench.http "$(DATA)" $(ARGS)

# The processors' build of torch, where its index can be reached; the usual one otherwise.
$(EMBED_READY): pyproject.toml
	@echo "==> setting up $(EMBED_VENV) with the peers (some minutes; torch is large)"
	@test -x $(EMBED_VENV)/bin/python || $(PYTHON) -m venv $(EMBED_VENV)
	@$(EMBED_VENV)/bin/python -m pip install -qq --disable-pip-version-check --upgrade pip
	@$(EMBED_VENV)/bin/python -m pip install -qq torch --timeout 10 --retries 0 \
		--index-url https://download.pytorch.org/whl/cpu \
		|| $(EMBED_VENV)/bin/python -m pip install -qq torch==2.13.0
	$(EMBED_VENV)/bin/python -m pip install -qq --disable-pip-version-check -e '.[bench-embed]'
	@test -x $(INFINITY_VENV)/bin/python || $(PYTHON) -m venv $(INFINITY_VENV)
	@$(INFINITY_VENV)/bin/python -m pip install -qq torch --timeout 10 --retries 0 \
		--index-url https://download.pytorch.org/whl/cpu \
		|| $(INFINITY_VENV)/bin/python -m pip install -qq torch==2.13.0
	$(INFINITY_VENV)/bin/python -m pip install -qq 'infinity-emb[server,torch]' 'transformers<5'
	@touch $@

bench-embed: $(EMBED_READY) models ## Compare text encoders with their peers (DATA=folder ARGS=--quick)
	@test -n "$(DATA)" || { echo "say where the data is: make bench-embed DATA=folder with stsb, arxiv, scifact"; exit 1; }
	@$(EMBED_VENV)/bin/python -m bench.embed "$(DATA)" \
		--infinity $(INFINITY_VENV)/bin/python $(ARGS)

bench-memory: $(READY) models ## Measure classify and verify (DATA=folder with arxiv, images/att_faces)
	@test -n "$(DATA)" || { echo "say where the data is: make bench-memory DATA=folder with arxiv, images"; exit 1; }
	@$(BIN)/likewise warm
	@$(BIN)/python -m bench.memory "$(DATA)" $(ARGS)

bench-hybrid: $(READY) models ## Words, vectors and both by nDCG@10, and what a hybrid query takes (DATA=folder)
	@test -n "$(DATA)" || { echo "say where the data is: make bench-hybrid DATA=folder with scifact, cranfield, arxiv"; exit 1; }
	@$(BIN)/likewise warm
	$(BIN)/python -m bench.hybrid "$(DATA)"
	$(BIN)/python -m bench.hybrid_speed "$(DATA)/arxiv"

bench-algebra: $(READY) models ## What compositions find among real papers, and what they cost (DATA=folder)
	@test -n "$(DATA)" || { echo "say where the papers are: make bench-algebra DATA=folder"; exit 1; }
	@$(BIN)/likewise warm
	$(BIN)/python -m bench.algebra "$(DATA)"

churn: $(READY) ## Rewrite a collection ten times and compare it with a fresh one (ARGS=--quick)
	@$(BIN)/python -m bench.churn $(ARGS)

soak: $(READY) ## Twice the capacity for a quarter of an hour (ARGS="--minutes 15")
	@$(BIN)/likewise warm
	@$(BIN)/python -m bench.soak $(ARGS)

image: ## Build the container image (needs a Docker engine)
	docker build -f docker/Dockerfile -t likewise .

clean: ## Remove what can be made again; collections in data/ stay
	rm -rf $(VENV) $(BENCH_VENV) $(EMBED_VENV) $(INFINITY_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
