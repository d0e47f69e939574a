PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= test
RUN ?= demo-run

.DEFAULT_GOAL := help
.PHONY: help demo test coverage bench check lint format types docs wheel constraints clean

help:  ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/installed  ## Run the whole main road on synthetic tissue (about 4 minutes on 2 cores)
	$(BIN)/bchisto demo --out $(RUN)

test: $(VENV)/installed-$(EXTRAS)  ## Run the tests, one process a core
	$(BIN)/python -m pytest tests -n auto --dist loadfile --no-loadscope-reorder

# Apart from the tests, which it makes half as slow again: Python 3.11 traces every line of every library.
coverage: $(VENV)/installed-$(EXTRAS)  ## Run the tests with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests -n auto --dist loadfile --no-loadscope-reorder
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(VENV)/installed  ## Run the benchmarks, each in a short form
	$(BIN)/python benchmarks/stains.py
	$(BIN)/python benchmarks/featurize.py --rounds 1
	$(BIN)/python benchmarks/modes.py --encoders resnet50 --rounds 1
	$(BIN)/python benchmarks/boost.py --images 60 --augmentations 10 --seeds 2
	$(BIN)/python benchmarks/predict.py --images 60 --augmentations 10 --rounds 2
	$(BIN)/python benchmarks/trees.py --images 60 --dim 200 --models 3 --rounds 1
	$(BIN)/python benchmarks/fuzz_bundles.py --count 1000
	$(BIN)/python benchmarks/finetune.py --batches 3 --rounds 1 --networks patch-resnet
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/coverage.py --replicates 20
	$(BIN)/python benchmarks/gpu.py

check: lint types docs wheel  ## Lint, types, docs and wheel

lint: $(VENV)/installed-lint  ## Ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/installed-lint  ## Let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/installed-lint  ## mypy, strict
	@mkdir -p .types && ln -sfn "$(CURDIR)" .types/bchisto
	MYPYPATH=.types $(BIN)/mypy --explicit-package-bases -p bchisto

docs: $(VENV)/installed-docs  ## Build the documentation, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

wheel: $(VENV)/installed-lint  ## Build the wheel and try it in an environment of its own
	rm -rf build dist $(VENV)/wheel
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist . > /dev/null
	$(PYTHON) -m venv $(VENV)/wheel
	$(VENV)/wheel/bin/pip install --quiet --no-deps dist/*.whl
	$(BIN)/python .ci/check_wheel.py dist/*.whl

constraints: $(VENV)/installed-test,dask,jax,openvino,docs,lint  ## Write the versions in .venv to constraints.txt
	$(BIN)/pip freeze --exclude-editable | grep -v -i '^bchisto' > constraints.txt

clean:  ## Remove environments and builds
	rm -rf $(VENV) .types build dist docs/_build demo-run *.egg-info .coverage .coverage.*

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bchisto needs Python 3.11 or later; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/created
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-%: pyproject.toml constraints.txt | $(VENV)/created
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
