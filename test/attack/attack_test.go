package attack_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/test/attack"
)

// TestList holds that every attack is a whole frame which its own Arrived
// knows again, and no other attack's frame of another kind passes for it: a
// test that waits for an attack in vain must not wait for the wrong thing.
func TestList(t *testing.T) {
	mac := func(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, last} }
	list, err := attack.Scene{
		Attacker: attack.Party{Address: netip.MustParseAddr("2001:db8::a"), MAC: mac(1)},
		Victim:   attack.Party{Address: netip.MustParseAddr("2001:db8::b"), MAC: mac(2)},
		Gateway:  attack.Party{Address: netip.MustParseAddr("2001:db8::1"), MAC: mac(3)},
		Stranger: attack.Party{Address: netip.MustParseAddr("2001:db8:0:1::c"), MAC: mac(4)},
	}.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		p := gopacket.NewPacket(a.Frame, layers.LayerTypeEthernet, gopacket.Default)
		if failed := p.ErrorLayer(); failed != nil {
			t.Errorf("%s: %v", a.Name, failed.Error())
		}
		if !a.Arrived(p) {
			t.Errorf("%s: does not know its own frame\n%v", a.Name, p)
		}
	}
}
