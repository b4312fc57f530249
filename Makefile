# zosnet: every command that a builder needs. `make help` lists them.
SHELL := /bin/bash
comma := ,
GO ?= $(or $(shell command -v go),$(wildcard /usr/local/go/bin/go),go)
GOPROXY := $(subst $(comma)direct,,$(shell $(GO) env GOPROXY))
export GOPROXY
export GOFLAGS ?= -buildvcs=false
export PATH := $(dir $(GO)):$(PATH)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup:
	@tools/setup.sh run

.PHONY: build
build: ## build/zosnet, one static binary
	@mkdir -p build
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o build/zosnet ./cmd/zosnet

.PHONY: demo
demo: setup generated build ## watch a node work; KEEP=1 leaves it running
	@$(GO) build -o build/demo ./tools/demo
	@CGO_ENABLED=0 $(GO) build -o build/wireguard-go golang.zx2c4.com/wireguard # the laptop's, where the kernel has none
	@build/demo --zosnet build/zosnet --wireguard-go build/wireguard-go $(if $(KEEP),--keep)

.PHONY: test
test: setup generated build ## every test, as root, against real namespaces
	@tools/test.sh

.PHONY: vmtest
vmtest: setup generated build ## the tests on Debian's kernels, in QEMU; KERNELS="6.1 6.12", RUN=regexp, KEEP=1
	@tools/setup.sh vmtest
	@cd tools/vmtest && $(GO) vet ./... && $(GO) test ./... && $(GO) build -o ../../build/vmtest-runner .
	@build/vmtest-runner -kernels "$(KERNELS)" -run '$(RUN)' $(if $(KEEP),-keep) $(if $(GUESTS),-guests $(GUESTS))

.PHONY: vmtest-clang
vmtest-clang: setup generated build ## programs made by clang 14, 16 and 19 verify on every kernel
	@tools/setup.sh generate
	@tools/setup.sh clang
	@cd tools/vmtest && $(GO) build -o ../../build/vmtest-runner .
	@build/vmtest-runner -kernels "$(KERNELS)" -clang "14 16 19" -report build/vmtest/report-clang.txt

.PHONY: bench
bench: setup generated build ## packets/s against the kernel's own ways, and nanoseconds a program
	@tools/setup.sh bench
	@$(GO) test -run '^$$' -bench . -benchtime 20x ./test/bench
	@$(GO) build -o build/bench ./tools/bench
	@build/bench

.PHONY: scale
scale: setup generated ## a grid of NODES=1000 and NETWORKS=5000, simulated; FOR=1m, RATE=50 changes/s
	@$(GO) build -o build/scale ./tools/scale
	@build/scale $(if $(NODES),-nodes $(NODES)) $(if $(NETWORKS),-networks $(NETWORKS)) $(if $(RATE),-rate $(RATE)) $(if $(FOR),-for $(FOR))

.PHONY: generate
generate: ## make generated code again (C objects, protobuf)
	@tools/setup.sh generate
	$(GO) generate ./...
	@tools/generated.sh write

.PHONY: generated
generated: # makes generated code again only if its sources changed
	@tools/generated.sh check || $(MAKE) --no-print-directory generate

.PHONY: lint
lint: ## Go, C and shell
	@tools/setup.sh lint
	@tools/lint.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf build

.PHONY: clean-all
clean-all: clean ## and every cache of this tree
	rm -rf .cache
