# Every target makes what it needs, from nothing but python3 (3.11 to 3.13) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp says that the environment agrees with the lock and the project's metadata.
STAMP := $(VENV)/.installed
LOG := $(VENV)/second-tests.log

.PHONY: env demo test check gpu-check bench bench-quick bench-report lock clean

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: env
	$(BIN)/harness run all --quick

# Two cores, two parts side by side; the second is shown after the first.
test: env
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		echo "no browser: its tests skip themselves (Debian: sudo apt-get install chromium chromium-driver)"
	@$(BIN)/python -m pytest -m "not slow or apart" >$(LOG) 2>&1 & second=$$!; \
	trap "kill $$second" INT TERM; \
	$(BIN)/python -m pytest -m "slow and not apart"; first=$$?; \
	wait $$second; second=$$?; \
	cat $(LOG); test $$first -eq 0 && test $$second -eq 0

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# On a machine with an NVIDIA card; see docs/gpu.md.
gpu-check: env
	$(BIN)/python -m benchmarks.gpu.check

# What others offer, for benchmarks beside them; an environment of 3 GB.
build/peers/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet -r $<
	touch $@

# Figures of docs/performance.md, on an idle machine: make bench [ROWS="child features"] [BENCH_DATA=DIR] [AGAIN=1]
bench: env build/peers/.installed
	$(BIN)/python -m benchmarks.performance $(ROWS) $(if $(BENCH_DATA),--data $(BENCH_DATA)) $(if $(AGAIN),--again)

bench-quick: env
	$(BIN)/python -m benchmarks.performance --quick --again

bench-report: env
	$(BIN)/python -m benchmarks.performance --report

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
