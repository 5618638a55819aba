# `make demo` and `make test` need Python 3.11, make and git, and set up the rest themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help

APP := .venv
TRITON := .venv-triton
BIN := $(APP)/bin
# Where this checkout's neighbours keep golden files, if anywhere.
DIR ?= $(if $(SLIDEKIN_GOLDEN),$(SLIDEKIN_GOLDEN),../shared/golden)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export SLIDEKIN_TRITON_PYTHON ?= $(CURDIR)/$(TRITON)/bin/python

PROTOC = python -m grpc_tools.protoc -Iprotos --python_out=$(1) --grpc_python_out=$(1) \
	--mypy_out=readable_stubs,quiet:$(1) --mypy_grpc_out=quiet:$(1) protos/slidekin/v1/*.proto

.PHONY: help env demo test check lint types contracts proto proto-check docs golden faults security licences fuzz chaos load soak bench-slide bench-index bench-encode bench-evaluation bundle bundle-check lock format clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

env: ## Make both Python environments from their locks
	@deploy/environments/build.sh $(APP) deploy/environments/app.txt editable
	@deploy/environments/build.sh $(TRITON) deploy/triton/requirements.txt

demo: env ## Slides in, ranked slides out: the whole road, then report.html
	@deploy/demo/demo.sh

# Two at a time: half of a test's time is waiting for processes. A file's tests stay together.
test: env ## Every test that this machine can run (PYTEST="-k name" narrows it)
	@python -m pytest -n 2 --dist loadfile $(PYTEST)

check: lint types contracts proto-check ## What CI checks besides the tests

lint: env ## Style of the Python code
	@ruff check . && ruff format --check .

types: env ## Types of the Python code
	@mypy

contracts: env ## Direction of the imports
	@lint-imports

proto: env ## Generate the stubs from protos/
	@$(call PROTOC,client)

# Compatibility is judged against HEAD while protos/ is being changed, else against the commit before.
proto-check: env ## Lint the protos, compare with the last commit, look for drift of the stubs
	@cd protos && buf lint && buf format --diff --exit-code
	@base=$$(git diff --quiet HEAD -- protos && echo HEAD~1 || echo HEAD); \
	if git cat-file -e $$base:protos/buf.yaml 2>/dev/null; then \
		buf breaking protos --against ".git#ref=$$(git rev-parse $$base),subdir=protos"; \
	else echo "proto-check: no earlier protos at $$base to compare with"; fi
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call PROTOC,$$fresh) && \
	diff -r --exclude=__init__.py --exclude=__pycache__ $$fresh/slidekin/v1 client/slidekin/v1 \
	|| { echo "proto-check: client/slidekin/v1 differs from protos/: run 'make proto'"; exit 1; }
	@python docs/generate_api.py /dev/stdout | diff - docs/api.md \
	|| { echo "proto-check: docs/api.md differs from protos/: run 'make docs'"; exit 1; }

docs: env ## Write docs/api.md from the protos
	@python docs/generate_api.py docs/api.md

golden: env ## Replay golden files through the gRPC API: make golden DIR=folder
	@python -m tests.golden_run "$(DIR)"

bench-slide: env ## Mosaic of a drawn 40,000 x 40,000 px slide: seconds and memory, as JSON lines
	@python -m tests.bench.bench_slide

SIZES ?= 100000 1000000 10000000
BENCH_OUT ?= docs/benchmarks/run.jsonl
bench-index: env ## Index and its rivals at SIZES patches, as JSON lines; then docs/benchmarks.md
	@python -c 'import faiss, matplotlib' 2>/dev/null || python -m pip install --quiet --no-build-isolation --editable '.[bench]'
	@PYTHONPATH=. python -m tests.bench.bench_index --sizes "$(SIZES)" --out $(BENCH_OUT)
	@PYTHONPATH=. python -m tests.bench.report $(BENCH_OUT)

ENCODE_OUT ?= docs/benchmarks/encode.jsonl
bench-encode: env ## The road from client to networks, as JSON lines; then docs/benchmarks.md
	@python -c 'import matplotlib' 2>/dev/null || python -m pip install --quiet --no-build-isolation --editable '.[bench]'
	@PYTHONPATH=. python -m tests.bench.bench_encode --out $(ENCODE_OUT)
	@PYTHONPATH=. python -m tests.bench.encode_report $(ENCODE_OUT)

EVALUATION_OUT ?= docs/evaluation/run.jsonl
bench-evaluation: env ## Labelled tiles through every network and setting, as JSON lines; then docs/evaluation.md
	@PYTHONPATH=. python -m tests.bench.tiles --out $(EVALUATION_OUT) $(if $(VQVAE),--vqvae $(VQVAE))
	@PYTHONPATH=. python -m tests.bench.tiles.report $(EVALUATION_OUT)

faults: env ## Services killed at named points and judged: make faults ROUNDS=200 SEED=20260101
	@python -m tests.faults --rounds $(or $(ROUNDS),200) $(if $(SEED),--seed $(SEED))

LOAD_OUT ?= docs/load
load: env ## An open loop on a real stack, to saturation and past it, as JSON lines; then docs/load.md
	@PYTHONPATH=. python -m tests.load codes --out $(LOAD_OUT)/codes.jsonl
	@PYTHONPATH=. python -m tests.load images --out $(LOAD_OUT)/images.jsonl
	@PYTHONPATH=. python -m tests.load.report $(LOAD_OUT)/codes.jsonl $(LOAD_OUT)/images.jsonl

soak: env ## A steady mixture for MINUTES: memory, files, threads, /dev/shm flat? Then docs/load.md
	@PYTHONPATH=. python -m tests.soak --minutes $(or $(MINUTES),30) --out $(LOAD_OUT)/soak.jsonl; \
	verdict=$$?; PYTHONPATH=. python -m tests.soak.report $(LOAD_OUT)/soak.jsonl && exit $$verdict

CHAOS_OUT ?= docs/reliability/chaos.jsonl
chaos: env ## Load while things break, as JSON lines; then docs/reliability.md: make chaos MINUTES=5 SEED=20260101
	@python -m tests.chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) --out $(CHAOS_OUT); \
	ended=$$?; [ $$ended -eq 2 ] || PYTHONPATH=. python -m tests.chaos.report $(CHAOS_OUT); exit $$ended

BUNDLE_OUT ?= dist
bundle: env ## All that a machine without a network needs, into dist/ (BUNDLE="--part service" narrows it)
	@python deploy/bundle/make_bundle.py --out $(BUNDLE_OUT) $(BUNDLE)

bundle-check: env ## Install the bundle of `make bundle` without a network, start what is in it, call it
	@SLIDEKIN_BUNDLE=$$(ls -d $(BUNDLE_OUT)/slidekin-*-linux-x86_64) python -m pytest -s tests/integration/deploy/test_bundle.py

INPUTS ?= 100000
fuzz: env ## Hostile input at every RPC and reader: make fuzz INPUTS=100000 SEED=1, or REPLAY=file
	@python -m tests.fuzz $(if $(REPLAY),--replay $(REPLAY),--inputs $(INPUTS) \
	$(if $(SEED),--seed $(SEED)) $(if $(FUZZ_OUT),--out $(FUZZ_OUT)))
	@$(if $(FUZZ_OUT),python -m tests.fuzz.report $(FUZZ_OUT))

licences: env ## Write docs/licences.md from what is installed
	@python deploy/checks/licences.py

security: env ## Known vulnerabilities, licences, secrets; says what it could not look at
	@python deploy/checks/security.py

lock: env ## Resolve the locks anew from pyproject.toml and deploy/triton/requirements.in
	@pip-compile --quiet --extra dev $(LOCK_OPTIONS) --output-file deploy/environments/app.txt pyproject.toml
	@pip-compile --quiet $(LOCK_OPTIONS) --output-file deploy/triton/requirements.txt deploy/triton/requirements.in
	@# Which build of torch is installed is for each machine to choose; the project is no package of its own.
	@sed -i -E -e 's/^(torch==[0-9.]+)\+[a-z0-9.]+/\1/' -e '/^slidekin @ /d' \
		deploy/environments/app.txt deploy/triton/requirements.txt
LOCK_OPTIONS := --strip-extras --allow-unsafe --no-header --annotation-style=line \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

format: env ## Format the code
	@ruff format . && ruff check --fix . && cd protos && buf format -w

clean: ## Remove environments, caches and the demo's output
	rm -rf $(APP) $(TRITON) .venv.lock .venv-triton.lock demo-output .mypy_cache .ruff_cache .pytest_cache
