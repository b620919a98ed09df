# Everything happens in .venv, in this folder; nothing is installed elsewhere. Needs Python 3.11+ and git.

.DEFAULT_GOAL := help
# Without bytecode each of the tests' thousands of processes compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory
export PYTHON
BIN := .venv/bin
ARGS ?=

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate pyproject.toml $(ARGS)

# requirements.lock has what delivery, history and checks need. There is a lock an extra, with that and what the extra needs,
# and locks/image.lock has what the image and `make demo` hold.
EXTRAS := holidays notify pandas postgres report spark tables
IMAGE_EXTRAS := holidays notify report spark tables
RUN_LOCKS := requirements.lock locks/image.lock $(EXTRAS:%=locks/%.lock)

# A file's tests stay together, since they share its servers; the longest come first in the alphabet.
SIDE_BY_SIDE := -n $(shell n=$$(( $$(nproc 2>/dev/null || echo 2) + 1 )); echo $$(( n < 4 ? n : 4 ))) --dist loadfile --no-loadscope-reorder

.PHONY: help demo site test unit test-long faults crashes kills together large fuzz mutants soak test-wheel check bench bench-content bench-judge bench-judge-year bench-lake bench-observe bench-report peers lock lambda wheel glue wheels audit sbom docs clean runtime dev chromium postgresql reader bench-tables seaweedfs pictures readme

help:
	@echo "make demo    land some Hours from a simulated vendor in a folder: no credentials, no network"
	@echo "                                                      (on a local S3: make demo ARGS=--s3)"
	@echo "make test    run the tests                            (make test ARGS='-k receipt')"
	@echo "make unit    the tests without a socket or a child process, in about a minute"
	@echo "make test-long  the rest of the long suites: kills, crash points, Spark, the stack"
	@echo "make faults  the catalogue of faults, by sockets, and what holds after any of them"
	@echo "make crashes die at every call; make kills, make together: real processes; each counts for docs/dev/proof.md"
	@echo "make large   one file of 6 GB"
	@echo "make soak    a thousand Hours with random faults, and state machines that go on for long"
	@echo "make check   lint, format, types, layers, locks"
	@echo "make bench   measure transfers beside other tools     (make bench ARGS='--only small --rounds 3')"
	@echo "make bench-judge    what judgement finds, what it costs;  make bench-observe  what an observation costs"
	@echo "make bench-judge-year   false notifications in a made-up year of 247 tables, half an hour"
	@echo "make bench-content  what content checks cost;  make bench-lake  what a large lake costs, and years of history"
	@echo "make bench-tables   what the current tables cost, beside delta-rs and dlt"
	@echo "make bench-report   what the report costs: CPU, memory, bytes, seconds in a browser"
	@echo "make lock    resolve the dependencies anew            (make lock ARGS=--upgrade)"
	@echo "make docs    write the pages that are made from the code anew"
	@echo "make site    the documentation as a site: site/index.html"
	@echo "make pictures draw the pictures in docs/img anew"
	@echo "make lambda  the zip for AWS Lambda                   (make lambda ARGS='--python 3.12 --arch x86_64')"
	@echo "make wheel   the package, the same bytes each time;   make glue  the folder for AWS Glue"
	@echo "make audit   known vulnerabilities of the locked packages; asks the advisory database"
	@echo "make sbom    the bill of materials of the image, CycloneDX"
	@echo "make mutants change the code: would the tests notice? (make mutants ARGS=--survivors)"
	@echo "make fuzz    spoil whatever comes from outside        (make fuzz ARGS='--seconds 600')"
	@echo "make test-wheel  the tests on the built wheel, with the sources out of reach"
	@echo "make readme  write the tables of the README anew"
	@echo "make clean   remove what the others made"

runtime:
	@tools/venv locks/image.lock locks/build.lock

dev:
	@tools/venv requirements-dev.lock

# The report's page is tried in a real browser, Debian's.
chromium:
	@tools/chromium

# `viplake load` is tried on a real PostgreSQL, Debian's.
postgresql:
	@tools/postgresql

# The tables are read by another implementation of the Delta protocol too, in an environment of its own.
reader:
	@tools/delta-reader

# SeaweedFS is no dependency: 150 MB that only `make demo ARGS=--s3` and the tests need, from the tests' own lock.
demo: runtime $(if $(filter --s3,$(ARGS)),seaweedfs)
	@$(BIN)/viplake demo $(ARGS)

seaweedfs:
	@tools/seaweedfs

# One more at once than there are cores, since many wait, four at most: each brings servers of its own. Singly: ARGS=-n0
test: dev chromium postgresql reader
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" $(ARGS)

# No socket, no child process: a test that tries fails. Nothing waits, so there is a worker a core; each loads all tests.
unit: dev
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --unit $(ARGS)

test-long: dev chromium postgresql reader
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m long $(ARGS)

# What docs/dev/proof.md counts: each target leaves its figures in docs/dev/proof, and makes the page of them.
faults: dev
	@$(BIN)/python -m pytest -q tests/test_docs.py tests/extract/test_run_invariants.py tests/extract/test_run_http.py \
		tests/extract/test_transfer_http.py tests/vendor/test_network.py tests/lake/test_store_faults.py \
		tests/test_resources.py tests/test_zz_canaries.py --proof faults --proof-command "make faults" $(ARGS)
	@$(BIN)/python tools/docs.py

crashes: dev
	@$(BIN)/python -m pytest -q tests/extract/test_run_crashes.py tests/crashes \
		--proof crashes --proof-command "make crashes" $(ARGS)
	@$(BIN)/python tools/docs.py

kills: dev
	@$(BIN)/python -m pytest -q tests/e2e/test_kills.py -m long --proof kills --proof-command "make kills" $(ARGS)
	@$(BIN)/python tools/docs.py

together: dev
	@$(BIN)/python -m pytest -q tests/e2e/test_together.py tests/extract/test_run_interleavings.py \
		--proof together --proof-command "make together" $(ARGS)
	@$(BIN)/python tools/docs.py

# What the tests do with 2 GB.
large: dev
	@$(BIN)/python -m pytest -q tests/e2e/test_whole_run.py -k D23 --whole $(ARGS)

fuzz: dev
	@$(BIN)/python tools/fuzz.py $(ARGS)
	@$(BIN)/python tools/docs.py

# Five minutes on two cores from nothing; afterwards only what changed. Needs mutants/, which make clean removes.
mutants: dev
	@nice -n 10 $(BIN)/python tools/mutants.py $(ARGS)
	@$(BIN)/python tools/docs.py

# A thousand Hours with random faults; then the state machines, twenty times as long as in the tests.
soak: dev
	@$(BIN)/python tests/soak.py $(ARGS)
	@HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -q --timeout 0 tests/test_everything.py tests/extract/test_run_anything.py \
		--proof states --proof-command "make soak"
	@$(BIN)/python tools/docs.py

# What viplake is measured beside, and the S3 server; in the same environment.
peers:
	@tools/venv requirements-bench.lock

bench: peers
	@$(BIN)/python -m bench.transfer $(ARGS)

check: dev
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/cfn-lint deploy/viplake.yaml
	@$(BIN)/python -m pytest -q tests/test_locks.py

# What judgement finds and what it costs: docs/bench/judge.md. The year takes longer than the rest: a target of its own.
bench-judge: peers
	@$(BIN)/python bench/judge.py recall $(ARGS)
	@$(BIN)/python bench/judge.py check

bench-judge-year: peers
	@$(BIN)/python bench/judge.py year $(ARGS)

# Content beside DuckDB alone, pandas and PyArrow: docs/bench/content.md.
bench-content: peers
	@$(BIN)/python -m bench.content $(ARGS)

# Observation beside s5cmd, rclone and boto3: docs/bench/observe.md.
bench-observe: peers
	@$(BIN)/python bench/observe.py --peers --old-way $(ARGS)

# The first user's size: one Hour of 2.45 GB, years of silence, growth with history: docs/bench/lake.md.
bench-lake: peers
	@$(BIN)/python -m bench.lake $(ARGS)

# The current and history tables beside the merge of delta-rs and dlt: docs/bench/tables.md.
bench-tables: peers
	@$(BIN)/python -m bench.tables $(ARGS)

# The report of 300 tables, and when a browser has drawn it: docs/bench/report.md.
bench-report: dev chromium
	@$(BIN)/python bench/report.py $(ARGS)

# Each is resolved within the ones before it, so that what is tested and measured is what users get.
lock: dev
	@$(LOCK) --output-file requirements.lock
	@$(LOCK) --all-extras --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@$(LOCK) $(IMAGE_EXTRAS:%=--extra %) --constraint requirements-dev.lock --output-file locks/image.lock
	@for extra in $(EXTRAS); do \
		$(LOCK) --extra $$extra --constraint requirements-dev.lock --output-file locks/$$extra.lock || exit; done
	@$(subst pyproject.toml,--group pyproject.toml:build,$(LOCK)) --constraint requirements-dev.lock --output-file locks/build.lock
	@$(LOCK) --all-extras --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock
	@$(subst pyproject.toml,--group pyproject.toml:reader,$(LOCK)) --output-file requirements-reader.lock
	@git --no-pager diff --stat -- '*.lock'

lambda: dev
	@$(BIN)/python tools/artifacts.py lambda $(ARGS)

wheel: runtime
	@$(BIN)/python tools/artifacts.py wheel $(ARGS)

glue: dev
	@$(BIN)/python tools/artifacts.py glue $(ARGS)

# Glue 6.0 and Lambda have Python 3.13: does the lock have wheels for it?
wheels: dev
	@$(BIN)/python tools/artifacts.py wheels $(ARGS)

# --strict: a package that the database does not know is not one that passed.
audit: dev
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off $(RUN_LOCKS:%=-r %) $(ARGS)

sbom: dev
	@mkdir -p dist
	@$(BIN)/python -W ignore -m cyclonedx_py requirements locks/image.lock --pyproject pyproject.toml \
		--output-reproducible --output-file dist/viplake.cdx.json $(ARGS)
	@echo dist/viplake.cdx.json

test-wheel: dev chromium postgresql reader
	@tools/test-wheel $(SIDE_BY_SIDE) $(ARGS)

docs: dev
	@$(BIN)/python tools/docs.py

# The pages of docs/ as a site of files, which needs no network: site/index.html.
site: dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean --strict
	@echo site/index.html

pictures: dev chromium
	@$(BIN)/python tools/pictures.py
	@$(BIN)/python tools/demo_picture.py

# The README's tables, from the code that they describe.
readme: dev
	@$(BIN)/python tools/readme.py

clean:
	@rm -rf site .venv .reader .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist demo-lake mutants .fuzz
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
