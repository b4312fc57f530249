// Package person joins a network as a person does: with the WireGuard configuration
// that `zosnet access` prints, and what wg-quick(8) makes of it.
//
// It knows configurations and machines of a lab. It must not know the daemon.
package person

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
	"github.com/zosnet/zosnet/test/lab"
)

// Person is a machine that has joined a network by a WireGuard configuration.
type Person struct {
	On      *lab.Machine
	Address netip.Addr
	DNS     []netip.Addr

	devices *device.Devices
	name    string
	dir     string
}

var persons atomic.Uint32

// Join does on a machine what wg-quick(8) does with a configuration: a device with its
// peer, its address, and a route for each of AllowedIPs. The program zosnet carries the
// packets where the kernel has no WireGuard.
func Join(ctx context.Context, on *lab.Machine, config, zosnet string) (*Person, error) {
	// Devices of all namespaces share one directory of sockets.
	number := persons.Add(1)
	p := &Person{On: on, name: fmt.Sprintf("zp%s-%d", strconv.FormatInt(int64(os.Getpid()), 36), number)}
	want, err := p.parse(config)
	if err != nil {
		return nil, err
	}
	want.Name, want.ListenPort = p.name, 51820+uint16(number)
	if p.dir, err = os.MkdirTemp("", "person"); err != nil {
		return nil, err
	}
	err = on.Do(func() (err error) {
		p.devices, err = device.Open(device.Config{RunDir: p.dir, Command: []string{zosnet, "wg"}, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_, err = p.devices.Apply(want)
		}
		return err
	})
	lines := [][]string{{"addr", "add", netip.PrefixFrom(p.Address, p.Address.BitLen()).String(), "dev", p.name, "nodad"}}
	for _, prefix := range want.Peers[0].AllowedIPs {
		lines = append(lines, []string{"route", "replace", prefix.String(), "dev", p.name})
	}
	for _, line := range lines {
		if err == nil {
			_, err = on.Run(ctx, "ip", append([]string{"-6"}, line...)...)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join from %s: %w", on.Name, err), p.Leave())
	}
	return p, nil
}

// parse reads a configuration. What it does not know it refuses: wg-quick would too.
func (p *Person) parse(config string) (d wireguard.Device, err error) {
	var peer wireguard.Peer
	for line := range strings.Lines(config) {
		line, _, _ = strings.Cut(line, "#")
		key, value, pair := strings.Cut(strings.TrimSpace(line), " = ")
		switch {
		case key == "" || !pair && (key == "[Interface]" || key == "[Peer]"):
		case key == "PrivateKey":
			var b wireguard.PublicKey // the same form
			if b, err = wireguard.ParsePublicKey(value); err == nil {
				d.PrivateKey = wireguard.PrivateKeyOf(b)
			}
		case key == "Address":
			var own netip.Prefix
			own, err = netip.ParsePrefix(value)
			p.Address = own.Addr()
		case key == "DNS":
			for _, word := range strings.Split(value, ", ") {
				if server, err := netip.ParseAddr(word); err == nil { // else a search domain
					p.DNS = append(p.DNS, server)
				}
			}
		case key == "MTU":
			d.MTU, err = strconv.Atoi(value)
		case key == "PublicKey":
			peer.PublicKey, err = wireguard.ParsePublicKey(value)
		case key == "Endpoint":
			peer.Endpoint, err = netip.ParseAddrPort(value)
		case key == "AllowedIPs":
			for _, word := range strings.Split(value, ", ") {
				var prefix netip.Prefix
				if prefix, err = netip.ParsePrefix(word); err == nil {
					peer.AllowedIPs = append(peer.AllowedIPs, prefix)
				}
			}
		case key == "PersistentKeepalive":
		default:
			err = errors.New("an unknown line")
		}
		if err != nil {
			return d, fmt.Errorf("configuration line %q: %w", key, err)
		}
	}
	d.Peers = []wireguard.Peer{peer}
	return d, nil
}

// Leave takes the device away.
func (p *Person) Leave() error {
	var err error
	if p.devices != nil {
		err = p.On.Do(func() error { return p.devices.Remove(p.name) })
		p.devices.Close()
		p.devices = nil
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
