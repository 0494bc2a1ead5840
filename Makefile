# Every target makes the environment that it needs: `make quickstart` and `make test` run on a
# machine with nothing but Python >= 3.11 and make.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
CONSTRAINTS ?= constraints.txt
DATASET ?= digits
# One process a core, at most four: each takes up to a gigabyte.
PYTEST_ARGS ?= --numprocesses logical --maxprocesses 4 --dist worksteal
# Seconds that `make fuzz` takes, about, in equal parts.
FUZZ_S ?= 240
FUZZERS := readers files threads interrupts kill soak

EXAMPLES_PRETRAINED := text_minilm images_efficientnet

.PHONY: quickstart picture examples-pretrained test test-ecosystem fuzz lint bench gpu bench-accuracy doc dist release-check golden clean
.DEFAULT_GOAL := quickstart

$(RUN):
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed: make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# One stamp an extra: an environment grows, and is made again only when its list changes.
$(VENV)/with-%: setup.cfg $(CONSTRAINTS) | $(RUN)
	$(RUN) -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[$*]"
	touch $@

quickstart: $(VENV)/with-example  ## Fit, search, compare and plot; DATASET=yeast for another set
	$(RUN) examples/plot_quickstart.py $(DATASET)

picture: quickstart  ## The picture of the README and of the first page, drawn anew
	cp quickstart_output/$(DATASET)_embedding.png doc/_static/digits_embedding.png

examples-pretrained: $(VENV)/with-pretrained  ## Fine-tune real encoders, and the output that their page shows
	@for name in $(EXAMPLES_PRETRAINED); do \
		$(RUN) examples/pretrained/$$name.py > $$name.txt && mv $$name.txt doc/_data || exit 1; \
		cat doc/_data/$$name.txt; \
	done

test: $(VENV)/with-test  ## The whole test suite
	$(RUN) -m pytest $(PYTEST_ARGS)

test-ecosystem: $(VENV)/with-test  ## The snippets of other tools, part of `make test` too
	$(RUN) -m pytest tests/test_ecosystem.py

# The parts run all, and one that found something fails the target at the end.
fuzz: $(VENV)/with-test  ## Strange input, damaged files, storms of threads and of signals, many fits, for FUZZ_S seconds
	@failed=; for part in $(FUZZERS); do \
		echo "tests.fuzz_$$part"; \
		FUZZ_S=$$(($(FUZZ_S) / $(words $(FUZZERS)))) $(RUN) -m tests.fuzz_$$part || failed="$$failed $$part"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

lint: $(VENV)/with-lint  ## Style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: $(VENV)/with-bench  ## The performance bars on this machine, and the data of their page
	$(RUN) -m benchmarks --json benchmarks/results/performance.json --page doc

# BOOMER asks for older versions of numpy, SciPy and scikit-learn than ours, and works with these.
$(VENV)/boomer: $(VENV)/with-bench
	$(RUN) -m pip install --quiet --constraint $(CONSTRAINTS) --no-deps mlrl-boomer mlrl-common mlrl-util \
		|| echo "BOOMER has no wheel for this Python: no new rows of it"
	touch $@

# A GPU machine has a torch of its own: nothing is installed, the Python of the path runs it.
gpu:  ## The tests and bars of a GPU, in less than ten minutes; GPU_ARGS=--dry-run needs none
	$(PYTHON) -m benchmarks.gpu $(GPU_ARGS)

bench-accuracy: $(VENV)/boomer  ## Quality of prediction on the sets of SKLEARN_MLCL_DATA
	$(RUN) -m benchmarks.accuracy $(ACCURACY_ARGS)

doc: $(VENV)/with-doc  ## The documentation, warnings as errors
	$(RUN) -m sphinx -W --keep-going -b html doc doc/_build/html

dist: $(VENV)/with-dist  ## Wheel and sdist, checked, and installed in an environment of their own
	rm -rf build dist
	$(RUN) -m build --outdir dist
	$(RUN) -m twine check --strict dist/*
	$(RUN) -m check_wheel_contents dist/*.whl
	$(RUN) .ci/try_wheel.py dist $(CONSTRAINTS)

# The environments are kept: torch takes gigabytes. PYTHONS are interpreters for the newest versions.
PYTHONS ?= $(PYTHON)

release-check: dist  ## All of a release but the upload; the wheel on the lowest and the newest versions
	$(RUN) .ci/release_check.py dist
	mkdir -p $(VENV)/try
	$(RUN) .ci/constraints.py lowest > $(VENV)/try/lowest.txt
	$(PYTHON) .ci/try_wheel.py dist $(VENV)/try/lowest.txt $(VENV)/try/lowest
	: > $(VENV)/try/newest.txt
	for python in $(PYTHONS); do \
		name=$$($$python -c 'import sys; print("newest-%d.%d" % sys.version_info[:2])') || exit 1; \
		$$python .ci/try_wheel.py dist $(VENV)/try/newest.txt $(VENV)/try/$$name || exit 1; \
	done

golden: $(VENV)/with-test  ## The model files of this version, once, before its release
	$(RUN) -m tests.persistence.golden

clean:
	rm -rf $(VENV) build dist *.egg-info doc/_build doc/auto_examples doc/generated
