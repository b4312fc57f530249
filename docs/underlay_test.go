package docs

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFindingTable compares with what `zosnet prefix verify` can find.
func TestFindingTable(t *testing.T) {
	var want []string
	for _, found := range regexp.MustCompile(`Finding += "([a-z-]+)"|\t\w+ += "([a-z-]+)" +//`).FindAllStringSubmatch(read(t, "../pkg/underlay/finding.go"), -1) {
		want = append(want, found[1]+found[2])
	}
	slices.Sort(want)
	if len(want) < 5 {
		t.Fatalf("only %v were found", want)
	}
	if d := cmp.Diff(want, table(t, "ipv6-allocations.md", "finding")); d != "" {
		t.Error(d)
	}
}
