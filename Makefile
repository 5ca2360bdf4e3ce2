# make up     starts everything on this machine      (options: make up ARGS="--no-traffic --state DIR")
# make test   runs the checks and tests, in CI all of them (options: make test ALL=1 runs the long ones here too)
# make bench  prints the figures                     (options: make bench ARGS="-o json")
# make chaos  the long fault run of the worker       (options: make chaos ARGS="--events 1000000 --faults 30 --seed 7";
#             also --late --hostile --duplicates --partitions 4:8 --coordinator-delay, see ARGS=--help)
# make fuzz   sends generated requests to a gate      (options: make fuzz ARGS="--cases 100000 --seed 0")

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
ARGS ?=
# the long tests run in CI and where ALL is given
MARKS := $(if $(CI)$(ALL),,-m "not long")
# one more than cores, because tests often wait for servers
PROCESSES ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)))

.PHONY: up test bench chaos fuzz lock clean

up: $(BIN)/.ready
	@exec $(BIN)/upload-gate up $(ARGS)

# what fails beside others is run once more alone, aloud: it must pass then
test: $(BIN)/.ready
	@$(if $(MARKS),echo "the long tests are left to CI and to: make test ALL=1" >&2)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(MARKS) $(ARGS) || { \
		[ $$? -eq 1 ] && echo "what failed is run once more, with nothing beside it" >&2 && \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(MARKS) $(ARGS); }

bench: $(BIN)/.ready
	@exec $(BIN)/python -m tests.bench $(ARGS)

chaos: $(BIN)/.ready
	@exec $(BIN)/python -m tests.system.chaos $(ARGS)

fuzz: $(BIN)/.ready
	@exec $(BIN)/python -m tests.edges.fuzz $(ARGS)

# the lock first, with hashes, then the project itself without looking at dependencies again
$(BIN)/.ready: requirements.lock pyproject.toml
	@echo "installing into .venv (one to three minutes the first time)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv 2>/dev/null || { echo "fetching python3-venv, which this system lacks" >&2; rm -rf .venv; apt-get -qq update >&2 && apt-get -qq install -y python3-venv >&2 && $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
	@touch $@

lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --extra local --extra fit --extra test pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
