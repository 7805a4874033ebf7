# Howdah's tasks; `make help` lists them. The logic is in scripts/.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X howdah.dev/howdah/internal/cli.Version=$(VERSION)
# The version is ours to stamp: asking git again fails where another user owns the clone.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## bin/howdah, and the example programs bin/net-lines and bin/ingest
	@scripts/prereqs build
	$(GOBUILD) -ldflags '-s -w' -o internal/cell/shim/bin/embedded/howdah-shim ./cmd/howdah-shim
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o bin/howdah ./cmd/howdah
	$(GOBUILD) -ldflags '-s -w' -o bin/net-lines ./examples/platform/pipeline/net-lines
	$(GOBUILD) -ldflags '-s -w' -o bin/ingest ./examples/apps/ingest

.PHONY: up
up: build ## build, then bring the example platform up and run its pipeline
	@scripts/prereqs run
	bin/howdah up examples/platform --pipeline

.PHONY: down
down: ## stop the platform; its data stays
	@if [ -x bin/howdah ]; then bin/howdah down; else echo 'bin/howdah is not built: nothing to stop'; fi

.PHONY: clean
clean: ## stop the platform, delete its data and bin; asks first, FORCE=1 does not
	@if [ -x bin/howdah ]; then bin/howdah clean $(if $(filter-out 0,$(FORCE)),--yes); fi
	rm -rf bin

.PHONY: test
test: ## everything: unit tests, drift, lint, fuzz targets, then the end-to-end scenarios
	@scripts/prereqs test
	@scripts/test

.PHONY: test-unit
test-unit: ## unit tests; RACE=1 with the race detector, RUN=regexp for some
	@scripts/test unit

.PHONY: test-e2e
test-e2e: ## end-to-end scenarios against bin/howdah; RUN=regexp for some
	@scripts/test e2e

.PHONY: test-docker
test-docker: ## the Docker runtime with a real engine; needs root and dockerd
	@scripts/test docker

.PHONY: lint
lint: ## golangci-lint and, where it is installed, shellcheck
	@scripts/test lint

.PHONY: vuln
vuln: ## known vulnerabilities in dependencies; needs the Go vulnerability database
	@scripts/tool govulncheck ./...

.PHONY: fmt
fmt: ## format Go files, and mend what the linter can
	@scripts/tool golangci-lint run --fix

.PHONY: generate
generate: ## write generated files again
	@scripts/generate

.PHONY: bench
bench: ## Go benchmarks, then README's figures (20 minutes); BENCH=regexp: only these benchmarks
	@scripts/test bench

.PHONY: fuzz
fuzz: ## each fuzz target for a while; FUZZ says how long (10s)
	@scripts/test fuzz

.PHONY: sim
sim: ## the simulation of operations: SEEDS seeds (10000), or SEED to see one again
	@SIM_SEEDS=$(or $(SEEDS),10000) SIM_SEED=$(SEED) scripts/test sim

.PHONY: soak
soak: ## a platform under 100 kills, and the long outages (50 minutes); SOAK_SEED repeats one
	@scripts/test soak
