# Every target installs what it needs; a second run reuses it.
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup browser demo test test-fast chaos lint protos docs bench fuzz clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Create .venv with the pinned packages
	@scripts/setup.sh

browser: setup ## Find or install a Chromium
	@$(BIN)/planespotter install-browser

demo: browser ## Scrape the sample site, train, serve and classify; leaves everything in demo/
	@$(BIN)/planespotter demo --out demo

test-fast: setup ## Run the tests that are not marked slow, in about a minute
	@$(BIN)/python -m pytest -m "not slow and not chaos"

test: browser ## Run all tests but those of `make chaos`
	@$(BIN)/python -m pytest

chaos: setup ## Kill and stop servers, training and bulk jobs, in about eight minutes
	@$(BIN)/python -m pytest -m chaos -n 1

lint: setup ## Check style, types, the .proto files and the prose
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/generate_protos.py --check
	@$(BIN)/python scripts/prose_lint.py

protos: setup ## Generate the Python code from the .proto files
	@$(BIN)/python scripts/generate_protos.py

docs: setup ## Generate the reference of the Python code, the contract and the commands into build/docs
	@$(BIN)/python -m scripts.build_docs

bench: browser ## Measure engines, decoding, the server and the crawl on this machine
	@$(BIN)/python -m scripts.bench
	@$(BIN)/python -m scripts.bench.scraping

fuzz: setup ## Feed mutated photos and messages to the server
	@$(BIN)/python -m scripts.fuzz

clean: ## Remove everything the targets created, except .venv
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis examples/node/node_modules
