package device

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// BenchmarkManyDevices makes devices of 8 peers each in one process: how much memory
// is its own with the first and with each of the others, how long a device takes to
// be made, to be found unchanged, and to have one peer changed.
//
//	sudo go test ./pkg/wireguard/device -run NONE -bench ManyDevices -benchtime 100x
func BenchmarkManyDevices(b *testing.B) {
	s := newScene(b, 1, true)
	n := s.nodes[0]
	var devices []wireguard.Device
	for i := range b.N {
		d := wireguard.Device{Name: fmt.Sprintf("zt%s-%d", s.id, i), PrivateKey: wireguard.NewPrivateKey(),
			ListenPort: wireguard.FirstPort + uint16(i), MTU: 1420}
		for j := range 8 {
			d.Peers = append(d.Peers, wireguard.Peer{PublicKey: wireguard.NewPrivateKey().Public(),
				Endpoint:   netip.AddrPortFrom(n.at4(), uint16(30000+j)),
				AllowedIPs: []netip.Prefix{prefix(fmt.Sprintf("2001:db8:%x:%x::/64", i, j))}})
		}
		devices = append(devices, d)
	}
	each := func(what string) {
		began := time.Now()
		for _, d := range devices {
			check(b, n.Do(func() error { _, err := n.devices.Apply(d); return err }))
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds())/float64(b.N), what)
	}
	check(b, n.Do(func() error { _, err := n.devices.Apply(devices[0]); return err }))
	first := memoryOf(b, n.carrier())
	each("ms/made")
	all := memoryOf(b, n.carrier())
	b.ReportMetric(first, "MB/first")
	b.ReportMetric((all-first)/float64(max(1, b.N-1)), "MB/device")
	each("ms/unchanged")
	for i := range devices {
		devices[i].Peers[3].Keepalive = 25 * time.Second
	}
	each("ms/changed")
	for _, d := range devices {
		n.remove(d.Name)
	}
}

// memoryOf gives what a process has in memory for itself alone, in MB.
func memoryOf(tb testing.TB, pid int) (mb float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	check(tb, err)
	for line := range strings.Lines(string(text)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "Private_Dirty: %f kB", &kb); err == nil {
			mb += kb / 1024
		}
	}
	return mb
}
