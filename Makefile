# Everything runs in a virtual environment in .venv; nothing outside it is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: install demo test check docs study-rotated-mnist study-mnist-by-writer study-cifar-10-c study-symmetry study-symmetry-omniglot study-parity gallery clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $@

demo: $(STAMP)
	$(BIN)/mutatis run digits --out $(DEMO)/digits
	$(BIN)/mutatis run symmetry-1d --ranks 1 --steps 1000 --seeds 3 --out $(DEMO)/symmetry \
		--methods MSR 'MSR, ridge' MAML-FC MAML-Conv 'random U'
	$(BIN)/mutatis run sparse-point-rl2 --seeds 1 --radius 0.3 --horizon 30 --episodes 2 --trials 256 \
		--learning-rate 3e-3 --environment-steps 1228800 --evaluations 8 --test-trials 200 --progress-trials 100 \
		--out $(DEMO)/exploring
	$(BIN)/mutatis report $(DEMO)/digits $(DEMO)/symmetry $(DEMO)/exploring --out $(DEMO)/report.html

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --durations 15

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(STAMP)
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

# Real data, hours: DATA is a folder with the official files (see docs/data.md).
study-rotated-mnist: $(STAMP)
	$(BIN)/mutatis run rotated-mnist --data-dir $(DATA) --out runs/rotated-mnist

study-mnist-by-writer: $(STAMP)
	$(BIN)/mutatis run mnist-by-writer --data-dir $(DATA) --out runs/mnist-by-writer

study-cifar-10-c: $(STAMP)
	$(BIN)/mutatis run cifar-10-c --data-dir $(DATA) --out runs/cifar-10-c

# Learned symmetries, from nothing but a key: half an hour on two cores.
study-symmetry: $(STAMP)
	$(BIN)/mutatis run symmetry-1d --out runs/symmetry-1d
	$(BIN)/mutatis run symmetry-scarce --out runs/symmetry-scarce
	$(BIN)/mutatis run symmetry-2d --out runs/symmetry-2d

# Scripted experts at Meta-World's tasks, in pictures and films: about five minutes on two cores.
gallery: $(STAMP)
	$(BIN)/mutatis gallery MT10 --out runs/gallery/MT10
	$(BIN)/mutatis gallery MT50 --out runs/gallery/MT50

study-symmetry-omniglot: $(STAMP)
	$(BIN)/mutatis run symmetry-omniglot --data-dir $(DATA) --out runs/symmetry-omniglot

# Our worlds beside the original environments, all fifty, step by step: two minutes.
study-parity: $(STAMP)
	$(BIN)/python benchmarks/worlds_parity.py --table docs/results/worlds-parity.md

clean:
	rm -rf $(VENV) runs docs/_build
