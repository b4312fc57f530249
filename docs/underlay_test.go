package docs

import (
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumentationAddresses: whoever copies a line of the page about allocations takes
// nobody's addresses (RFC 3849, RFC 5737).
func TestDocumentationAddresses(t *testing.T) {
	documentation := []netip.Prefix{
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	}
	seen := 0
	for _, text := range regexp.MustCompile(`[0-9a-f]+(:[0-9a-f]*){2,}|[0-9]+(\.[0-9]+){3}`).FindAllString(read(t, "ipv6-allocations.md"), -1) {
		a, err := netip.ParseAddr(text)
		if err != nil {
			continue // a time of day
		}
		if seen++; !slices.ContainsFunc(documentation, func(p netip.Prefix) bool { return p.Contains(a) }) {
			t.Errorf("%s is no documentation address", a)
		}
	}
	if seen < 30 {
		t.Fatalf("only %d addresses were found", seen)
	}
}

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
