# The only commands to remember; `make` lists them. Everything is made in .venv/ and build/, and in the cache of guest
# images outside the checkout (tests/rig/README.md).

PYTHON ?= python3
RIG := $(PYTHON) -m tests.rig
BIN := .venv/bin
INSTALLED := .venv/.installed
C_FILES := $(wildcard stratovirt/core/src/*.[ch] stratovirt/core/src/*/*.[ch] stratovirt/launcher/*.[ch] tests/core/*.[ch] tests/core/*/*.[ch] tests/bench/core/*.[ch] tests/fuzz/*.[ch] tests/guest/tiny/*.[ch] tests/guest/programs/*.c tests/guest/shims/*.c tests/inject/*.c)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check core unit guests soak assets packages bench bench-guest fuzz contracts clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: core ## boot a stock Debian kernel from profiles/demo.toml and show its console
	@$(RIG) packages guest
	@$(RIG) assets cloud root
	@$(RIG) linux -- $(BIN)/stratovirt run profiles/demo.toml

test: packages check unit guests ## install what is missing, then run every check and every test

check: core ## linters, formats and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)

unit: core ## the tests that run on any host: units, contracts, C under sanitizers, tiny guests
	$(BIN)/python -m pytest -m "not linux and not soak"

guests: core assets ## the tests that boot Linux: on this host if it can, else in nested rigs
	@$(BIN)/python -m tests.guest.rigs

soak: core assets ## the long half: faults, ends and load for half an hour; writes docs/soak.md
	@rm -f build/soak-host.jsonl build/soak-rig.jsonl
	@STRATOVIRT_SOAK=build/soak-host.jsonl \
		$(BIN)/python -m pytest -m "soak and not linux" tests/soak; host=$$?; \
	STRATOVIRT_SOAK=build/soak-rig.jsonl \
		$(RIG) linux --writable build --timeout 3000 -- \
		$(BIN)/python -m pytest -m "soak and linux" tests/soak; rig=$$?; \
	$(BIN)/python -m tests.soak.report build/soak-host.jsonl build/soak-rig.jsonl; \
	test $$host -eq 0 -a $$rig -eq 0

core: $(INSTALLED) ## build the C core in place
	@$(BIN)/python -W ignore setup.py -q build_ext --inplace
	@$(BIN)/python -m compileall -q stratovirt
	@$(BIN)/python -m stratovirt.launcher.image_writer
	@$(BIN)/python -m stratovirt.launcher.build

assets: packages ## make the guest kernels, initramfs and disks (10 minutes, once)
	@$(RIG) assets

packages: ## install the Debian packages that the tests need (root)
	@$(RIG) packages

bench: core ## measure the promises against QEMU; writes build/bench.json
	@$(RIG) packages test
	$(BIN)/python -m tests.bench

bench-guest: core assets ## measure Linux guests beside QEMU's microvm, where Linux guests run
	@$(RIG) packages bench
	@$(BIN)/python -m tests.bench.peers
	@status=0; for part in boot disks cards idle; do \
		$(RIG) linux --cpus 2 --writable build --timeout 1500 -- \
			$(BIN)/python -m tests.bench $$part --runs 5 || status=1; \
	done; exit $$status

fuzz: core ## feed random rings to the C core under sanitizers, guided where clang is installed
	$(BIN)/python -m tests.fuzz

contracts: core ## write schemas/ and compat/*.json from the code
	$(BIN)/python -m stratovirt.document.contracts
	$(BIN)/python -m stratovirt.compat.contracts
	$(BIN)/python -m stratovirt.control.qmp.contracts
	$(BIN)/python -m tests.contract.guidebook

clean: ## remove what was built here; the cache of guest images stays
	rm -rf build dist *.egg-info stratovirt/start.image stratovirt/core/*.so stratovirt/core/_core.c .venv

# pip is upgraded first: the console scripts that older ones write import `re`, which costs every start.
$(INSTALLED): pyproject.toml setup.py
	@$(RIG) packages python build
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing Python packages into .venv ..."
	@$(BIN)/python -m pip install -q --upgrade pip
	@$(BIN)/python -m pip install -q -e '.[test]'
	@touch $@
