#!/bin/bash
# Every test of the tree. A skip is a failure unless this machine is known to lack
# what it names; the closing lines are the test runner's own.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
[ "$(id -u)" = 0 ] || { echo "test: making network namespaces needs root: run it with sudo" >&2; exit 1; }
export ZOSNET_BIN=$PWD/build/zosnet ZOSNET_NO_SKIP=1
mkdir -p build
log=build/test.log
go test -count=1 -timeout 40m -p 2 -v ./... >"$log" 2>&1
status=$?
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
