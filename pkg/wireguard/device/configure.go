package device

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// client gives the client that is used from then on. Each new one has the kernel
// look for its module, where it has none.
func (d *Devices) client() (*wgctrl.Client, error) {
	if d.wgctrl == nil {
		client, err := wgctrl.New()
		if err != nil {
			return nil, fmt.Errorf("speak to WireGuard: %w", err)
		}
		d.wgctrl = client
	}
	return d.wgctrl, nil
}

// forgetClient has the next client made anew: one from before the kernel loaded its
// WireGuard never sees it.
func (d *Devices) forgetClient() {
	if d.wgctrl != nil {
		_ = d.wgctrl.Close()
		d.wgctrl = nil
	}
}

// Read gives what a device is; fs.ErrNotExist where there is none of that name.
func (d *Devices) Read(name string) (wireguard.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.read(name)
}

func (d *Devices) read(name string) (wireguard.Status, error) {
	client, err := d.client()
	if err != nil {
		return wireguard.Status{}, err
	}
	is, err := client.Device(name)
	if err != nil {
		return wireguard.Status{}, fmt.Errorf("read WireGuard device %s: %w", name, err)
	}
	return statusOf(is), nil
}

func (d *Devices) write(name string, change wireguard.Change) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	if err := client.ConfigureDevice(name, configOf(change)); err != nil {
		return fmt.Errorf("configure it: %w", err)
	}
	return nil
}

func statusOf(is *wgtypes.Device) wireguard.Status {
	s := wireguard.Status{Name: is.Name, ListenPort: uint16(is.ListenPort),
		PublicKey: wireguard.PrivateKeyOf(is.PrivateKey).Public()}
	for _, p := range is.Peers {
		peer := wireguard.PeerStatus{Sent: uint64(p.TransmitBytes), Received: uint64(p.ReceiveBytes)}
		if p.LastHandshakeTime.Unix() > 0 { // no handshake is the epoch, or no time
			peer.LastHandshake = p.LastHandshakeTime
		}
		peer.PublicKey, peer.PresharedKey = wireguard.PublicKey(p.PublicKey), wireguard.PresharedKeyOf(p.PresharedKey)
		peer.Keepalive = p.PersistentKeepaliveInterval
		if p.Endpoint != nil {
			at := p.Endpoint.AddrPort()
			peer.Endpoint = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
		for _, allowed := range p.AllowedIPs {
			address, _ := netip.AddrFromSlice(allowed.IP)
			bits, _ := allowed.Mask.Size()
			peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(address, bits))
		}
		s.Peers = append(s.Peers, peer)
	}
	slices.SortFunc(s.Peers, func(a, b wireguard.PeerStatus) int {
		return slices.Compare(a.PublicKey[:], b.PublicKey[:])
	})
	return s
}

// configOf never replaces: neither the peers of a device nor the prefixes of a peer.
func configOf(change wireguard.Change) wgtypes.Config {
	var c wgtypes.Config
	if change.PrivateKey != nil {
		key := wgtypes.Key(change.PrivateKey.Reveal())
		c.PrivateKey = &key
	}
	if change.ListenPort != 0 {
		port := int(change.ListenPort)
		c.ListenPort = &port
	}
	for _, s := range change.Steps {
		c.Peers = append(c.Peers, peerOf(s))
	}
	return c
}

func peerOf(s wireguard.Step) wgtypes.PeerConfig {
	p := wgtypes.PeerConfig{PublicKey: wgtypes.Key(s.PublicKey), Remove: s.Remove, PersistentKeepaliveInterval: s.Keepalive}
	if s.PresharedKey != nil {
		key := wgtypes.Key(s.PresharedKey.Reveal())
		p.PresharedKey = &key
	}
	if s.Endpoint.IsValid() {
		p.Endpoint = net.UDPAddrFromAddrPort(s.Endpoint)
	}
	for _, prefix := range s.Take {
		p.AllowedIPs = append(p.AllowedIPs, net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())})
	}
	return p
}
