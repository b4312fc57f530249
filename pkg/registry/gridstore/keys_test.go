package gridstore

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedKeys holds the table of docs/registry.md to the keys that there are.
func TestDocumentedKeys(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Keys of the grid\n")
	table, _, _ = strings.Cut(table, "\n## ")
	example := strings.NewReplacer("ADDRESS", "2001:db8::5", "PREFIX", "2001:db8::/48", "BLOCK", "2001:db8::/56",
		"NODE", "n1", "NETWORK", "acme", "WORKLOAD", "web-1", "ID", "x1", "REVISION", "7")
	kinds := map[Kind]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+/[^`]*)` \\|.*\\|$").FindAllStringSubmatch(table, -1) {
		k, err := ParseKey(root + example.Replace(row[1]))
		if err != nil {
			t.Errorf("the page has %s: %v", row[1], err)
			continue
		}
		kinds[k.Kind] = true
		if signed := strings.Contains(row[0], "'s signature") || strings.Contains(row[0], "its signature"); signed != (k.signedAs() != "") && k.Kind != KindDocument && k.Kind != KindRevision && k.Kind != KindRevocations {
			t.Errorf("%s: is it signed by a node? the page says %t", row[1], signed)
		}
	}
	for _, kind := range everyKind(t) {
		if !kinds[kind] {
			t.Errorf("the page does not have keys of kind %s", kind)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "/", root, "/zosnet/v2/networks/acme", root + "networks/", root + "networks/Acme", root + "networks/a/b",
		root + "networks/a/revisions/", root + "networks/a/revisions/01", root + "networks/a/revisions/-1", root + "networks/a/revisions/1/2",
		root + "nodes/n1", root + "nodes//record", root + "nodes/n1/record/x", root + "nodes/n1/networks/", root + "nodes/n1/surprise",
		root + "nodes/n1/bindings/acme/web-1/2001:DB8::1", root + "nodes/n1/bindings/acme/web-1/x",
		root + "nodes/n1/prefixes/2001:db8::/48/x", root + "nodes/n1/prefixes/2001:0db8::/48", root + "nodes/n1/requests/others",
		root + "workloads/acme", root + "spans/n1", root + "roster/", root + "members/n1/x",
	} {
		if k, err := ParseKey(text); err == nil {
			t.Errorf("%q is read as %+v", text, k)
		}
	}
}

// TestScope: which ranges come and go.
func TestScope(t *testing.T) {
	t.Parallel()
	s := newScope("n1", nil)
	s.take()
	a, b := group{true, "a"}, group{true, "b"}
	s.set(a, []string{root + "x", root + "y/"})
	s.set(b, []string{root + "y/"})
	if added, dropped := s.take(); len(added) != 2 || len(dropped) != 0 {
		t.Errorf("added %v, dropped %v", added, dropped)
	}
	s.set(a, nil)
	if added, dropped := s.take(); len(added) != 0 || len(dropped) != 1 || dropped[0] != root+"x" {
		t.Errorf("added %v, dropped %v", added, dropped)
	}
	if !s.covers(root+"y/z") || s.covers(root+"x") || s.covers(root+"y") || !s.covers(root+"nodes/n1/record") || s.covers(root+"nodes/n12/record") {
		t.Error("covers too much, or too little")
	}
	s.set(a, []string{root + "x"})
	s.set(a, nil)
	if added, dropped := s.take(); len(added)+len(dropped) != 0 {
		t.Errorf("what came and went at once: added %v, dropped %v", added, dropped)
	}
}
