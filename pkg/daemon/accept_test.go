package daemon

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// TestUnheardOf: a network of which a registry knows nothing is told, once the registry
// was asked, and one whose document is known is not.
func TestUnheardOf(t *testing.T) {
	snap := gridstore.Snapshot{
		Source:   gridstore.SourceCluster,
		Networks: map[string]*gridstore.Network{"acme": {Name: "acme"}},
		Carried:  map[string]*gridstore.Document{"globex": {Document: trust.Document{Network: "globex"}}},
	}
	adopted := []string{"acme", "globex", "initech"}
	list := unheardOf(snap, adopted)
	if len(list) != 1 || list[0].Object != "network initech" {
		t.Errorf("told are %v, want initech", list)
	}
	snap.Source = gridstore.SourceCache
	if list := unheardOf(snap, adopted); len(list) != 0 {
		t.Errorf("before the registry was reached %v are told", list)
	}
}

// TestNotUnderstood: of a document that a newer zosnet may read, and this one does not, it
// is said which revision it is, that the last one stays, and what to do.
func TestNotUnderstood(t *testing.T) {
	const here = "network: acme\nnodes: [n1]\n"
	document := func(name, text string) *gridstore.Network {
		return &gridstore.Network{Name: name, Document: &gridstore.Document{Document: trust.Document{Network: name, Revision: 7, Text: text}, File: name + ".yaml"}}
	}
	snap := gridstore.Snapshot{Networks: map[string]*gridstore.Network{
		"acme": document("acme", here), "globex": document("globex", "network: globex\nnodes: [n1]\nquota: 5\n"),
		"initech": document("initech", "network: initech\nnodes: [n1]\n"), "gone": {Name: "gone"},
	}}
	local := registry.Snapshot{Networks: []registry.NetworkRecord{{Name: "acme", Document: []byte(here)}, {Name: "globex", Document: []byte(here)}}}
	list := notUnderstood(snap, local)
	if len(list) != 1 || list[0].Object != "network globex" {
		t.Fatalf("told are %v, want globex", list)
	}
	for _, want := range []string{"revision 7", "the last one that was is enforced", "upgrade this node", "globex.yaml:3:1", "quota: found an unknown key"} {
		if !strings.Contains(list[0].Reason, want) {
			t.Errorf("%s: want it to say %s", list[0].Reason, want)
		}
	}
}

// TestNewerNodeListed: why nothing is known of a node is in the list of nodes, also in the
// one that this node has by itself.
func TestNewerNodeListed(t *testing.T) {
	const key = "/zosnet/v1/nodes/n2/record"
	snap := gridstore.Snapshot{
		Nodes:    map[string]*gridstore.Node{"n1": {Name: "n1"}, "n2": {Name: "n2"}},
		Problems: []gridstore.Problem{{Key: key, Err: &gridstore.VersionError{Version: 2}}},
	}
	for _, n := range knownNodes(snap) {
		said := listed(n).Problem
		if told := strings.Contains(said, key) && strings.Contains(said, "version 2") && strings.Contains(said, "upgrade zosnet"); told != (n.Name == "n2") || !told && said != "" {
			t.Errorf("of %s it says %q", n.Name, said)
		}
	}
	if code := codeOf(&gridstore.VersionError{Version: 2}); code != codes.FailedPrecondition {
		t.Errorf("whoever asks for such a value is told %s", code)
	}
}
