//go:build vm

package boot

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Where the disk is mounted, and what the first boot leaves there for the second.
const (
	disk     = "/state"
	wayThere = disk + "/network"
)

// What the stranger at the end of the cable knocks on: see tools/vmtest/stranger.
const (
	openPort   = 9022 // of the failsafe
	closedPort = 22
)

const addressing = `
ip link set lo up
ip link set eth0 up
ip addr add 192.0.2.10/24 dev eth0
ip -6 addr add 2001:db8:1::10/64 dev eth0 nodad
`

const node = `lockdown:
  allow:
    - {from: 192.0.2.1/32, ports: [tcp/9022]}
bpffs: /sys/fs/bpf/zosnet
`

const acme = `network: acme
nodes: [n1]
services:
  web: {ports: [tcp/80]}
`

// listen makes the host answer on TCP ports, of every address.
func listen(t *testing.T, ports ...int) {
	t.Helper()
	for _, port := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
}

// The first boot: a machine that nothing protects answers the stranger, or his
// silence in the second boot would prove nothing. Then the daemon, and a network
// that is kept on the disk.
func TestFirst(t *testing.T) {
	sh(t, addressing)
	listen(t, openPort, closedPort)
	knocks(t, "eth0", 200)

	config := write(t, disk, node)
	daemon(t, config)
	document := t.TempDir() + "/acme.yaml"
	if err := os.WriteFile(document, []byte(acme), 0o600); err != nil {
		t.Fatal(err)
	}
	zosnet(t, "apply", "-f", document)
	zosnet(t, "attach", "--network", "acme", "--service", "web", "--name", "web-1")
	text, err := json.Marshal(acmeNow(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wayThere, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// kept is what of a network must outlive a boot.
type kept struct {
	Prefixes  map[string]netip.Prefix // by node
	Workloads []struct {
		Name, Service, Interface, MAC string
		Address                       netip.Addr
	}
}

// acmeNow is what `zosnet network show` says of it.
func acmeNow(t *testing.T) kept {
	t.Helper()
	var now kept
	if err := json.Unmarshal([]byte(zosnet(t, "network", "show", "acme", "-o", "json")), &now); err != nil {
		t.Fatal(err)
	}
	if len(now.Prefixes) != 1 || len(now.Workloads) != 1 || !now.Workloads[0].Address.IsValid() {
		t.Fatalf("the network is not whole: %+v", now)
	}
	return now
}

// The second boot: the lockdown comes before the first address, and a card that
// is plugged in before the daemon runs is behind the backstop. Then the daemon
// takes over, and the network is what it was.
func TestSecond(t *testing.T) {
	config := disk + "/node.yaml"
	zosnet(t, "lockdown", "early", "--config", config)
	sh(t, addressing)
	listen(t, openPort, closedPort)
	knocks(t, "eth0", 200)

	t.Log("vmtest wants: plug")
	eventually(t, 30*time.Second, "another card", func() bool {
		_, err := os.Stat("/sys/class/net/eth1")
		return err == nil
	})
	sh(t, `
ip link set eth1 up
ip addr add 198.51.100.10/24 dev eth1
ip -6 addr add 2001:db8:2::10/64 dev eth1 nodad
`)
	knocks(t, "eth1", 200)

	daemon(t, config)
	text, err := os.ReadFile(wayThere)
	if err != nil {
		t.Fatal(err)
	}
	var before kept
	if err := json.Unmarshal(text, &before); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, acmeNow(t), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the reboot changed the network (-before +after):\n%s", diff)
	}
	// The workload's namespace is there again, and works.
	gateway := netip.PrefixFrom(before.Workloads[0].Address, 64).Masked().Addr().Next()
	sh(t, "nsenter --net=/run/netns/acme.web-1 ping -c 1 -w 10 "+gateway.String())
	knocks(t, "eth0", 200)
	knocks(t, "eth1", 200)
}
