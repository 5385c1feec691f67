# Everything one types. `make help` lists it.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header --quiet

.PHONY: help up down demo test bench screenshots images sbom audit lint format requirements local dev

help: ## lists these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

up: local ## starts everything here: PostgreSQL, Valkey, web (WEB_PORT=8000), workers, scheduler; Ctrl-C ends it
	@exec $(PYTHON) manage.py up

down: ## ends whatever of it still runs
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) manage.py down; else echo 'syncsvc: nothing was running'; fi

demo: local ## the same with a receiver and a real repository: this one, or REPO=<url or path> BRANCH=<b>; CHECK=1 ends by itself; TROUBLE=1: a receiver that throttles, hiccups, crawls, rejects
	@exec $(PYTHON) manage.py demo $${REPO:+--repo "$$REPO"} $${BRANCH:+--branch "$$BRANCH"} $${CHECK:+--check} $${TROUBLE:+--trouble}

test: lint ## lint, types, architecture and every test
	@$(PYTHON) -m pytest -n 2

bench: dev ## measures against the bare loop, the plain way and git alone; prints one table
	@$(PYTHON) -m benchmarks

screenshots: dev ## takes the pictures of docs/console.md anew, with invented clients; ONLY="overview queue" takes only those
	@$(PYTHON) -m screenshots $(ONLY)

images: ## pins the images of docker-compose.yml by digest, in .env (needs Docker and the network)
	@scripts/pin-images

sbom: ## writes sbom.cdx.json, the packages of the image, as CycloneDX
	@scripts/audit sbom

audit: ## looks for known vulnerabilities of the packages of the image and of `make up` (needs the network)
	@scripts/audit vulnerabilities

lint: dev ## ruff, mypy and the layers
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'

format: dev ## lets ruff put the code in order
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

requirements: ## compiles pyproject.toml into requirements*.txt with hashes (needs uv)
	@$(COMPILE) -o requirements.txt
	@$(COMPILE) --extra local -c requirements.txt -o requirements-local.txt
	@$(COMPILE) --extra local --extra dev -c requirements-local.txt -o requirements-dev.txt
	@uv pip compile scripts/audit.in --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements-audit.txt

local:
	@scripts/venv requirements-local.txt

dev:
	@scripts/venv requirements-dev.txt
