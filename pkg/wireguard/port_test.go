package wireguard

import (
	"fmt"
	"testing"
)

func TestPort(t *testing.T) {
	free := func(uint16) bool { return false }
	for _, test := range []struct {
		network, node string
		want          uint16
	}{{"acme", "n1", 0}, {"acme", "n2", 0}, {"globex", "n1", 0}} {
		got, err := Port(test.network, test.node, free)
		if err != nil || got < FirstPort || got > LastPort {
			t.Fatal(got, err)
		}
		if again, _ := Port(test.network, test.node, free); again != got {
			t.Errorf("%s on %s: %d, then %d", test.network, test.node, got, again)
		}
		other, err := Port(test.network, test.node, func(p uint16) bool { return p == got })
		if err != nil || other == got {
			t.Errorf("a taken port was given: %d, %v", other, err)
		}
	}
}

// As many networks as a node can have, twice each, get ports of their own; one more
// is an error.
func TestPortsOfAWholeNode(t *testing.T) {
	given := map[uint16]bool{}
	take := func(network string) error {
		port, err := Port(network, "n1", func(p uint16) bool { return given[p] })
		if err == nil && (given[port] || port < FirstPort || port > LastPort) {
			return fmt.Errorf("port %d", port)
		}
		given[port] = true
		return err
	}
	for i := range 4096 {
		must(t, take(fmt.Sprintf("net-%d", i)))
		must(t, take(fmt.Sprintf("net-%d", i)))
	}
	if err := take("one-more"); err == nil {
		t.Error("a port was given where all are taken")
	}
}

// The ports of entrances are others, and enough for as many networks.
func TestEntrancePorts(t *testing.T) {
	given := map[uint16]bool{}
	for i := range 4095 {
		port, err := EntrancePort(fmt.Sprintf("net-%d", i), "n1", func(p uint16) bool { return given[p] })
		if err != nil || given[port] || port < FirstEntrancePort || port > LastEntrancePort || port <= LastPort || port > 32767 {
			t.Fatalf("network %d: port %d, %v", i, port, err)
		}
		given[port] = true
	}
}

func TestMTU(t *testing.T) {
	tests := []struct {
		name  string
		paths []Path
		want  int
	}{
		{"no path known", nil, 1420},
		{"IPv4", []Path{{}}, 1440},
		{"IPv6", []Path{{IPv6: true}}, 1420},
		{"both", []Path{{}, {IPv6: true}}, 1420},
		{"PPPoE, IPv4", []Path{{MTU: 1492}}, 1432},
		{"PPPoE, IPv6", []Path{{IPv6: true, MTU: 1492}}, 1412},
		{"the narrowest counts", []Path{{MTU: 1400}, {IPv6: true}, {MTU: 1492}}, 1340},
		{"jumbo frames end behind the next hop", []Path{{MTU: 9000}}, 1440},
		{"as narrow as it may be, IPv4", []Path{{MTU: 1340}}, 1280},
		{"as narrow as it may be, IPv6", []Path{{IPv6: true, MTU: 1360}}, 1280},
		{"narrower than IPv6 allows", []Path{{IPv6: true, MTU: 1280}}, 1280},
		{"absurd", []Path{{MTU: 68}}, 1280},
	}
	for _, test := range tests {
		if got := MTU(test.paths...); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
