# Sallyport: what a developer types.  Meson does the building; this file names the errands.

PYTHON = /usr/bin/python3
FUZZ_SECONDS ?= 60
prefix ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help deps build test demo sandbox sandbox-stop install bench fuzz peers lint clean

help:
	@echo 'make demo          builds, starts a sandbox, makes a few calls, shows what was recorded, cleans up'
	@echo 'make sandbox       the same sandbox, left running; make sandbox-stop ends it'
	@echo 'make build         build/sallyport'
	@echo 'make test          everything; ends with: N passed, N failed, N skipped'
	@echo 'make install       into $$DESTDIR$$prefix (prefix=$(prefix))'
	@echo 'make bench         speed, beside pgbench and other servers, on this machine'
	@echo 'make fuzz          every fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS)) seconds'
	@echo 'make peers         against third-party clients, servers and emulators, where reachable'
	@echo 'make lint          habits and the edges between rooms'
	@echo 'make deps          the Debian packages that the build needs (as root or with sudo)'
	@echo 'make clean         removes what was built'

deps:
	@tools/deps.sh build

build: deps
	@test -f build/build.ninja || meson setup build
	@ninja -C build
	@ln -sf src/cli/sallyport build/sallyport

test:
	@tools/deps.sh test
	@$(PYTHON) tools/run_tests.py

lint:
	@$(PYTHON) tools/run_tests.py includes lint

demo:
	@tools/deps.sh demo
	@$(MAKE) --no-print-directory --silent build
	@$(PYTHON) tools/demo.py $(ARGS)

sandbox:
	@tools/deps.sh demo
	@$(MAKE) --no-print-directory --silent build
	@$(PYTHON) tools/sandbox.py start $(ARGS)

sandbox-stop:
	@$(PYTHON) tools/sandbox.py stop

install: build
	@meson configure build -Dprefix=$(prefix)
	@meson install -C build

bench:
	@tools/deps.sh bench
	@test -f build-release/build.ninja || meson setup build-release --buildtype=release
	@ninja -C build-release
	@SALLYPORT_BINARY=build-release/src/cli/sallyport $(PYTHON) tests/bench/run.py

peers:
	@tools/deps.sh peers
	@$(MAKE) --no-print-directory build
	@SALLYPORT_BINARY=build/src/cli/sallyport $(PYTHON) tests/peers/run.py

fuzz:
	@tools/deps.sh fuzz
	@tools/fuzz.sh $(FUZZ_SECONDS)

clean:
	rm -rf build build-asan build-tsan build-fuzz build-release build-peers
