package policy_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/policy/policytest"
)

// What a network's compiled form decides is what its document says, for every
// flow that it has a say about.
func TestCompiledDecidesAsTheDocumentSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		r := rand.New(rand.NewPCG(seed, 0))
		w := policytest.World(r, policytest.Shape{Ports: []uint32{10, 11, 12, 13, 14, 15}})
		numbers := policytest.IDs(w)
		programs := map[string]policy.Program{}
		for _, n := range w.Networks {
			p, err := policy.Compile(n.Document, numbers[n.Document.Name])
			if err != nil {
				t.Fatal(err)
			}
			programs[n.Document.Name] = p
		}
		for range 200 {
			from, to, proto, port := policytest.Flow(r, w)
			for _, ruling := range w.Judge(from, to, proto, port) {
				p := programs[ruling.Network]
				got := decide(&p, numbers, from, to, proto, port)
				if got != ruling.Position || p.Allow.Has(got) != ruling.Entry.Allow {
					t.Fatalf("%v to %v protocol %d port %d in %s: compiled entry %d (%v), the document says %d (%v)",
						from, to, proto, port, ruling.Network, got, p.Entries[max(got, 0)], ruling.Position, ruling.Entry)
				}
			}
		}
	})
}

// decide interprets a compiled form as the datapath does.
func decide(p *policy.Program, numbers map[string]policy.IDs, from, to policy.Endpoint, proto uint8, port uint16) int {
	fromCIDR, _ := cidrClass(p, from.Address)
	_, toCIDR := cidrClass(p, to.Address)
	fromService := serviceClass(p.FromService, from, numbers)
	toService := serviceClass(p.ToService, to, numbers)
	ports := portClass(p, uint16(proto), port)
	match := make(policy.Bits, len(p.Allow))
	for w := range match {
		match[w] = (fromService[w] | fromCIDR[w]) & (toService[w] | toCIDR[w]) & ports[w]
	}
	return match.First()
}

// serviceClass gives the entries that match an endpoint's service: another
// network's where an entry names it, else outside.
func serviceClass(classes map[uint32]policy.Bits, e policy.Endpoint, numbers map[string]policy.IDs) policy.Bits {
	if bits, ok := classes[numbers[e.Network].Endpoint(e)]; ok {
		return bits
	}
	return classes[0]
}
