//go:build vm

package main

import (
	"os"
	"testing"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// TestThreeNodes is the demo's part with three nodes in a guest, where WireGuard is the
// kernel's, and everything takes longer, since the processor is translated and may be
// shared.
func TestThreeNodes(t *testing.T) {
	testenv.RequireBPF(t)
	const name, pace = "demo", 60
	g, err := lab.NewGrid(t.Context(), lab.GridConfig{Name: name, Zosnet: testenv.Zosnet(t), Nodes: lab.ThreeNodes, Laptop: true})
	if err != nil {
		t.Fatal(err)
	}
	b := &board{pace: pace}
	if err := showGrid(t.Context(), b, g); err != nil {
		t.Error(err)
	}
	if err := verdict(b.sections); err != nil || t.Failed() {
		for _, n := range g.Nodes {
			text, err := os.ReadFile(n.Log())
			const tail = 4000
			t.Errorf("%s logged: %v … %s", n.Name, err, text[max(0, len(text)-tail):])
		}
	}
	b.sections = append(b.sections, section{"Afterwards", []result{leftBehind(name, g.Close())}})
	printTable(os.Stdout, b.sections)
	if err := verdict(b.sections); err != nil {
		t.Error(err)
	}
}
