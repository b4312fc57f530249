package device

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// A person takes the configuration to the real wg-quick, reaches the network and
// nothing else through it, and is cut off when the access is revoked.
func TestKernelAccess(t *testing.T) {
	s := newScene(t, 2, false)
	quick := testenv.RequireTool(t, "wg-quick")
	gateway, laptop := s.nodes[0], s.nodes[1]
	alice := wireguard.NewPrivateKey()
	s.remember(alice)
	address := gateway.part().Addr().Next().Next()
	d := gateway.device()
	d.Peers = []wireguard.Peer{{PublicKey: alice.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(address, 128)}}}
	gateway.apply(d)
	gateway.run("ip -6 route replace %v/128 dev %s", address, gateway.link(0))

	text, err := wireguard.Access{Network: "acme", Name: "alice", PrivateKey: alice, Address: address, MTU: 1420,
		Peer: gateway.key.Public(), Endpoint: netip.AddrPortFrom(gateway.at4(), gateway.port),
		AllowedIPs: []netip.Prefix{gateway.part()}, Keepalive: 25 * time.Second}.Config()
	check(t, err)
	file := filepath.Join(laptop.dir, "keys", laptop.link(0)+".conf")
	check(t, os.Mkdir(filepath.Dir(file), 0o700))
	check(t, os.WriteFile(file, []byte(text), 0o600))
	laptop.run("%s up %s", quick, file)
	defer func() { _ = runOn(laptop.Machine, quick+" down "+file) }()

	laptop.reaches(gateway)
	laptop.carries(gateway, 1420)
	is := laptop.read(laptop.link(0))
	if d := cmp.Diff([]netip.Prefix{gateway.part()}, is.Peers[0].AllowedIPs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("through the device goes (-want +got)\n%s", d)
	}
	if runOn(laptop.Machine, "ip -6 route get 2001:db8:bbbb::1") == nil {
		t.Error("there is a route to what is not the network's")
	}

	gateway.apply(gateway.device())
	outcome, err := probe.Ping(laptop.Machine, gateway.inner(), time.Second)
	check(t, err)
	if outcome != probe.Silent {
		t.Errorf("after the access was revoked, a ping was %s", outcome)
	}
}
