package device

import (
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// waking is any interval but 0: it is set for as long as one request takes.
const waking = time.Second

// Call has a device shake hands with those of the named peers that have an endpoint and
// no session, and tells which it called; fs.ErrNotExist where there is no such device.
//
// WireGuard shakes hands when it has something to send, and the one packet that is
// nobody's is a keepalive. One is sent as soon as a peer's interval is another one than 0
// (set_peer in the kernel's drivers/net/wireguard/netlink.c; handlePostConfig in
// wireguard-go's device/uapi.go), and nothing is left of it when the same request says 0
// again. Who is not there is called every 5 s, for 90 s (Rekey-Attempt-Time: WireGuard
// whitepaper, 6.1). A peer that has an interval calls by itself.
func (d *Devices) Call(name string, peers []wireguard.PublicKey) (called []wireguard.PublicKey, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	is, err := d.read(name)
	if err != nil {
		return nil, err
	}
	var c wgtypes.Config
	for _, key := range peers {
		p, known := is.Peer(key)
		if !known || !p.Endpoint.IsValid() || p.Keepalive != 0 || p.Established(time.Now()) {
			continue
		}
		called = append(called, key)
		for _, interval := range []time.Duration{waking, 0} {
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, PersistentKeepaliveInterval: &interval})
		}
	}
	if len(called) == 0 {
		return nil, nil
	}
	client, err := d.client()
	if err != nil {
		return nil, err
	}
	if err := client.ConfigureDevice(name, c); err != nil {
		return nil, fmt.Errorf("call %d peers of WireGuard device %s: %w", len(called), name, err)
	}
	return called, nil
}
