#!/bin/bash
# Says whether the committed generated code belongs to its sources, without a
# compiler: `write` records the sources' digest, `check` compares it.
set -euo pipefail
cd "$(dirname "$0")/.."
record=bpf/generated.sum

digest() {
	{
		git ls-files -co --exclude-standard -- 'bpf/*.c' 'bpf/lib/*.h' 'test/bench/bpf/*' 'tools/bench/bpf/*' '*.proto'
		grep -rl --include='*.go' '^//go:generate' cmd pkg test tools
	} | sort -u | while read -r file; do [ -f "$file" ] && sha256sum "$file"; done | sha256sum
}

case $1 in
write) digest >"$record" ;;
check)
	[ "$(digest)" = "$(cat "$record" 2>/dev/null)" ] ||
		{ echo "generated: the sources have changed, making the code again"; exit 1; }
	;;
esac
