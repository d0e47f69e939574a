PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= test
RUN ?= demo-run

.DEFAULT_GOAL := help
.PHONY: help demo test test-all coverage pictures bench check lint format types docs wheel audit constraints lock locked release-check clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/installed  ## Install, and train, predict and map on patches of breast tissue (a minute on 2 cores)
	$(BIN)/bchisto demo --out $(RUN)

# A process that is killed is not replaced: the run would wait for ever for tests that nobody has.
PARALLEL := -n auto --dist worksteal --max-worker-restart 0

test: $(VENV)/installed-$(EXTRAS)  ## Install, and run the tests that protect a change, one process a core
	$(BIN)/python -m pytest tests -m "not slow and not hostile" $(PARALLEL)

# Two runs, so that no test process grows through all of it: TensorFlow returns no memory.
# A test that fails on a loaded machine runs once more, and the summary names it (RERUN): it is to be mended all the same.
NETWORKS := commands/test_real_jobs.py finetune matrix apps/recipes
LONGEST := --reruns 1 --durations=60 -o faulthandler_timeout=300
FIRST := pytest $(NETWORKS:%=tests/%) $(PARALLEL) $(LONGEST)
# A process more than cores: tests of browsers, queues and servers wait for a third of their time.
SECOND := pytest tests $(NETWORKS:%=--ignore=tests/%) $(PARALLEL) -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) $(LONGEST)

test-all: $(VENV)/installed-$(EXTRAS)  ## Run every test, as continuous integration does
	@code=0; \
	$(BIN)/python -m $(FIRST) || code=1; \
	$(BIN)/python -m $(SECOND) || code=1; \
	exit $$code

# Apart from the tests, which it makes half as slow again: Python 3.11 traces every line of every library.
coverage: $(VENV)/installed-$(EXTRAS)  ## Run every test with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(FIRST)
	$(BIN)/coverage run -m $(SECOND)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(VENV)/installed  ## Run the benchmarks, each in a short form
	$(BIN)/python tools/benchmarks/stains.py
	$(BIN)/python tools/benchmarks/featurize.py --rounds 1
	$(BIN)/python tools/benchmarks/boost.py --images 60 --augmentations 10 --seeds 2
	$(BIN)/python tools/benchmarks/predict.py --images 60 --augmentations 10 --rounds 2
	$(BIN)/python tools/benchmarks/fuzz_bundles.py --executions 1000
	$(BIN)/python tools/benchmarks/finetune.py --batches 3 --rounds 1 --networks patch-resnet
	$(BIN)/python tools/benchmarks/coverage.py --tables 20
	$(BIN)/python tools/benchmarks/gpu.py

check: lint types docs wheel audit  ## Lint, types, docs, wheel and known weaknesses

lint: $(VENV)/installed-lint  ## Ruff: format and rules; bandit: code that strangers could use; check-jsonschema: files of the public host
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml .
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.citation-file-format CITATION.cff

format: $(VENV)/installed-lint  ## Let ruff correct what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/installed-lint  ## mypy, strict
	@mkdir -p .types && ln -sfn "$(CURDIR)" .types/bchisto
	MYPYPATH=.types $(BIN)/mypy --explicit-package-bases -p bchisto

docs: $(VENV)/installed-docs  ## Build the documentation, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

pictures: $(VENV)/installed-test  ## Draw the pictures of the documents from real images (needs chromium and ../shared)
	$(BIN)/python docs/make_pictures.py
	BCHISTO_PICTURES=docs/images $(BIN)/python -m pytest -q tests/apps/serve/test_browser.py -k map

wheel: $(VENV)/installed-lint  ## Build the wheel, its bill of materials beside it, and try it in an environment of its own
	rm -rf build dist $(VENV)/wheel
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist . > /dev/null
	$(PYTHON) -m venv $(VENV)/wheel
	$(VENV)/wheel/bin/pip install --quiet --no-deps dist/*.whl
	$(BIN)/python .ci/check_wheel.py dist/*.whl
	$(BIN)/python .ci/bill.py dist/*.whl

# Without a report the service of advisories did not answer for all of it; what could not be asked is no fault of the code.
audit: $(VENV)/installed-lint  ## Ask for known weaknesses of what is pinned; warns if it cannot be asked
	@rm -f $(VENV)/audit.json
	@$(BIN)/pip-audit --requirement tools/requirements.lock --disable-pip --require-hashes --strict --progress-spinner off --timeout 10 \
	  --format json --output $(VENV)/audit.json 2> $(VENV)/audit.log; code=$$?; \
	if [ -s $(VENV)/audit.json ]; then cat $(VENV)/audit.log; exit $$code; fi; \
	echo "audit: NOT DONE, the service of advisories does not answer from here: $$(tail -n 1 $(VENV)/audit.log | cut -c1-200)"

constraints: $(VENV)/installed-test,dask,jax,onnx,docs,lint  ## Write the versions in .venv to tools/constraints.txt
	$(BIN)/pip freeze --all --exclude-editable | grep -v -i '^bchisto' > tools/constraints.txt

lock: $(VENV)/installed-lint  ## Write tools/requirements.lock (with hashes), tools/licences.csv and tools/licences.md from tools/constraints.txt
	$(BIN)/pip install --dry-run --ignore-installed --no-deps --only-binary :all: --quiet --report $(VENV)/lock.json -r tools/constraints.txt
	$(BIN)/python .ci/lock.py $(VENV)/lock.json

# What CI does, and so tests: everything is installed once, from files whose hashes are known. The other targets find it there.
comma := ,
locked: tools/requirements.lock | $(VENV)/created  ## Install everything of tools/requirements.lock into .venv, hashes checked
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/installed $(addprefix $(VENV)/installed-,test lint docs test$(comma)dask$(comma)jax$(comma)onnx)

release-check:  ## Run the fast tests on Python 3.11, 3.12 and 3.13, and with the oldest packages allowed, then a long chain on Slurm and Snakemake (hours; ONLY=3.12 runs one)
	$(PYTHON) .ci/release_check.py $(ONLY)
	$(if $(ONLY),,bash .ci/release_cluster.sh)

clean:  ## Remove environments and builds
	rm -rf $(VENV) .types build dist docs/_build demo-run *.egg-info .coverage .coverage.*

# mypy does not follow an editable install whose package is the root of the repository; it takes a package `-stubs` for its types.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bchisto needs Python 3.11 or later; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@for folder in $(VENV)/lib/python3*/site-packages; do ln -sfn "$(CURDIR)" "$$folder/bchisto-stubs"; done
	@touch $@

$(VENV)/installed: pyproject.toml tools/constraints.txt | $(VENV)/created
	$(BIN)/pip install --quiet --disable-pip-version-check -c tools/constraints.txt -e .
	@touch $@

$(VENV)/installed-%: pyproject.toml tools/constraints.txt | $(VENV)/created
	$(BIN)/pip install --quiet --disable-pip-version-check -c tools/constraints.txt -e '.[$*]'
	@touch $@
