# Every target makes what it needs, from nothing but python3 (3.11 to 3.13) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp says that the environment agrees with the lock and the project's metadata.
STAMP := $(VENV)/.installed
LOG := $(VENV)/quick-tests.log

.PHONY: env demo test check gpu-check lock clean

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: env
	$(BIN)/harness run all --quick

# Two cores: what neither trains nor serves runs beside what does, and is shown after it.
test: env
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		echo "no browser: its tests skip themselves (Debian: sudo apt-get install chromium chromium-driver)"
	@$(BIN)/python -m pytest -m "not slow" >$(LOG) 2>&1 & quick=$$!; \
	trap "kill $$quick" INT TERM; \
	$(BIN)/python -m pytest -m slow; slow=$$?; \
	wait $$quick; status=$$?; \
	cat $(LOG); test $$slow -eq 0 && test $$status -eq 0

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# On a machine with an NVIDIA card; see docs/gpu.md.
gpu-check: env
	$(BIN)/python -m benchmarks.gpu.check

# Resolves pyproject.toml anew. pip-tools lives in an environment of its own.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip pip-tools
	build/lock/bin/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras --upgrade \
		--build-deps-for wheel \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header \
		--output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build workspace
