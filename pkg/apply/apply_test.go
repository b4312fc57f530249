package apply

import (
	"testing"

	"github.com/zosnet/zosnet/pkg/plan"
)

func TestApplyTwice(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme", "beta"}, attachments: []plan.Attachment{
		netns("acme", "web-1", 256), netns("acme", "web-2", 257), netns("beta", "web-1", 256), tap("beta", "vm", "vm0", 258),
	}}
	s := g.state(t)
	for _, c := range n.apply(s) {
		t.Log(c)
	}
	n.unchanged(s)
	n.restart()
	changes := n.apply(s)
	t.Log(changes)
	n.unchanged(s)
}
