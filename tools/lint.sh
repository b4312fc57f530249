#!/bin/bash
# Go, C and shell, each by its own linter; versions are pinned in tools/lint/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
go build -modfile=tools/lint/go.mod -o build/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
build/golangci-lint run --timeout 15m ./...
(cd tools/vmtest && ../../build/golangci-lint run --config ../../.golangci.yml --timeout 15m ./...)
git ls-files 'bpf/*.c' 'bpf/lib/*.h' 'test/*.bpf.c' 'tools/*.bpf.c' | xargs clang-format-16 --dry-run -Werror
git ls-files '*.sh' '.ci/run' | xargs shellcheck
echo "lint: clean"
