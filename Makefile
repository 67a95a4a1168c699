MODEL ?= models/synopsis.yaml
PY := .venv/bin
export UV_FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))
UV := $(shell command -v uv || echo .venv/uv/bin/uv)

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/ready .venv/tools .venv/nltk_data ## make .venv with the tested versions (every other target does this first)

.venv/ready: pyproject.toml infra/constraints.txt
	@command -v uv >/dev/null || test -x $(UV) || { python3 -m venv .venv/uv && .venv/uv/bin/pip install -qq uv; }
	@test -x $(PY)/python || $(UV) venv -q --allow-existing .venv
	@$(UV) pip install -q --compile-bytecode --python $(PY)/python -c infra/constraints.txt --group dev -e .[auth,dp,fr,judge,postgres,s3,ssh]
	@touch $@

.venv/tools: | .venv/ready # Debian's; Alertmanager's templates, looked for below / by its build, are looked for below this folder
	@mkdir -p $@.new && (cd $@.new && apt-get download -qq prometheus prometheus-alertmanager 2>/dev/null \
	  && for deb in *.deb; do dpkg -x $$deb . || exit 1; done && rm -f *.deb && LC_ALL=C sed -i \
	  's#/usr/share/prometheus/alertmanager#usr//share/prometheus/alertmanager#g' usr/bin/prometheus-alertmanager) \
	  && mv $@.new $@ || { rm -rf $@.new; echo "no prometheus from apt: its tests are skipped, and make up has no alerts"; }

.venv/nltk_data: | .venv/ready # Debian's WordNet as nltk reads it; lexnames, which Debian leaves out, stands in its manual page
	@mkdir -p $@.new/corpora && (cd $@.new && apt-get download -qq wordnet-base wordnet-sense-index 2>/dev/null \
	  && for deb in *.deb; do dpkg -x $$deb . || exit 1; done && rm -f *.deb && mv usr/share/wordnet corpora/ \
	  && zcat usr/share/man/man5/lexnames.5WN.gz | sed -nE 's/^([0-9]{2})\t([a-zA-Z.]+).*/\1\t\2\t0/p' > corpora/wordnet/lexnames) \
	  && mv $@.new $@ || { rm -rf $@.new; echo "no wordnet from apt: METEOR cannot be measured, and its tests are skipped"; }

retrain: setup ## the whole line: raw data to a model in production (MODEL=models/x.yaml)
	@$(PY)/seqline retrain $(MODEL)

test: setup ## the tests
	@$(PY)/pytest

up: setup ## Prefect server and worker, MLflow UI and gateway together; prints their addresses
	@$(PY)/seqline up

down: setup ## stop them
	@$(PY)/seqline down

infra: setup ## Prometheus' rules and Grafana's dashboards, written anew from the specs
	@$(PY)/python -m flows.stack.infra && $(PY)/python -m flows.stack.deployments

lint: setup ## ruff and mypy
	@$(PY)/ruff check . && $(PY)/ruff format --check . && $(PY)/mypy

BENCHMARKS := retrain scrub tagger pairs streaming flips curation training decoding resume overhead \
  economy serving overload stalled shutdown soak fuzz model_flips canary_kills secrets_serving secrets_review rollout \
  controller_kills approvals compiled fuse judge judged scoring gates drift screening alerts loop
bench: $(BENCHMARKS:%=bench-%) ## all benchmarks; each has its own target: bench-scrub, bench-pairs, bench-retrain, ...

bench-%: setup
	@$(PY)/python -m tests.benchmarks.$*

prove-rollout: setup ## the long proof of a rollout's decisions: ROLLOUTS (10,000) good canaries, silent journals, mutants
	@$(PY)/python -m tests.benchmarks.rollout.prove

gameday: setup ## break the running stack, one fault after another, and score what it makes of each (FAULTS="engine canary")
	@$(PY)/python -m tests.gameday $(FAULTS)

constraints: setup ## write infra/constraints.txt anew from pyproject.toml
	@$(UV) pip compile -q --universal --no-annotate --no-header --no-emit-index-url --group dev --all-extras pyproject.toml \
	  | grep -vE "^(nvidia-|cuda-|triton=)" > infra/constraints.txt.new && mv infra/constraints.txt.new infra/constraints.txt

.PHONY: help setup retrain test up down infra lint bench prove-rollout gameday constraints
