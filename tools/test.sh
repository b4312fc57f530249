#!/bin/bash
# Every test of the tree. A skip is a failure unless this machine is known to lack
# what it names; the closing lines are the test runner's own.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
[ "$(id -u)" = 0 ] || { echo "test: making network namespaces needs root: run it with sudo" >&2; exit 1; }
export ZOSNET_BIN=$PWD/build/zosnet ZOSNET_NO_SKIP=1
mkdir -p build
log=build/test.log

# The first `ip netns add` of a machine mounts /run/netns over itself, and what was mounted
# below before cannot be removed any more: so that comes before the first namespace.
ip netns add "zt-$$" && ip netns del "zt-$$"

# Nodes whose workloads have names that the whole machine shares take turns, so their
# packages run one after the other, beside all others. What takes longest begins first.
turns=(./test/node ./pkg/daemon ./tools/demo ./docs ./test/lab)
mapfile -t others < <(comm -23 <(go list ./... | sort) <(go list "${turns[@]}" | sort))
set -m # a process group each, to be interrupted as one
go test -count=1 -timeout 40m -p 1 -v "${turns[@]}" >"$log.turns" 2>&1 &
one=$!
go test -count=1 -timeout 40m -p 2 -v ./test/grid ./pkg/apply "${others[@]}" >"$log" 2>&1 &
two=$!
set +m
trap 'kill -INT -- "-$one" "-$two"; wait; exit 130' INT TERM
wait $one
status=$?
wait $two || status=$?
trap - INT TERM
cat "$log.turns" >>"$log" && rm "$log.turns"
grep -E '^(ok|FAIL|---? FAIL|panic:|\?)' "$log" | grep -v 'no test files'
if [ $status != 0 ]; then
	grep -B40 -E '^\s*--- FAIL' "$log" | tail -400
fi
skips=$(grep -E '^\s*--- SKIP' "$log" | grep -vFf <(awk '!/^#/ && NF { print "SKIP: " $1 " " }' test/skips))
grep -A1 -E '^\s*--- SKIP' "$log"
if [ -n "$skips" ]; then
	echo "$skips"
	echo "test: these skips are not among test/skips: install what they need, or state the lack there" >&2
	[ $status != 0 ] || status=1
fi
grep -hE '[0-9]+ cases' "$log" | head -5
passed=$(grep -cE '^\s*--- PASS' "$log")
failed=$(grep -cE '^\s*--- FAIL' "$log")
echo "$passed passed, $failed failed"
exit $status
