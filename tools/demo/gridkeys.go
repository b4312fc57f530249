package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/zosnet/zosnet/test/lab"
)

// Who encrypts on a node.
const (
	byKernel  = "the kernel"
	byProcess = "zosnet wg"
)

// encryption shows by whom each node's packets are encrypted, and whose keys its peers
// have, as wgctrl tells it.
func (d *gridDemo) encryption(ctx context.Context) []check {
	want := byProcess
	if kernelHasWireGuard(ctx, d.grid.Outside) {
		want = byKernel
	}
	var checks []check
	for _, n := range d.members {
		checks = append(checks, check{
			what: fmt.Sprintf("who encrypts on %s, for the control network and %s", n.Name, shop), want: want,
			run: func(context.Context) (string, string, error) { return n.encryptedBy() },
		})
	}
	return append(checks, check{what: "each peer's key, by wgctrl", want: "another node's", run: d.keysOfPeers})
}

// kernelHasWireGuard says whether the kernel makes such links.
func kernelHasWireGuard(ctx context.Context, on *lab.Machine) bool {
	const name = "try0"
	if _, err := on.Run(ctx, "ip", "link", "add", name, "type", "wireguard"); err != nil {
		return false
	}
	_, err := on.Run(ctx, "ip", "link", "del", name)
	return err == nil
}

// encryptedBy looks at a node's WireGuard links and at its processes.
func (m *member) encryptedBy() (by, detail string, err error) {
	devices, err := m.devices()
	if err != nil {
		return "", "", err
	}
	if want := 2; len(devices) != want {
		return "", "", fmt.Errorf("%s has %d WireGuard links, want %d", m.Name, len(devices), want)
	}
	processes, err := m.carriers()
	if err != nil {
		return "", "", err
	}
	kinds := map[wgtypes.DeviceType]int{}
	for _, device := range devices {
		kinds[device.Type]++
	}
	detail = fmt.Sprintf("%d links, %d processes", len(devices), processes)
	switch {
	case kinds[wgtypes.LinuxKernel] == len(devices) && processes == 0:
		return byKernel, detail, nil
	case kinds[wgtypes.Userspace] == len(devices) && processes == 1:
		return byProcess, detail, nil
	}
	return fmt.Sprint(kinds), detail, nil
}

// devices are the node's WireGuard devices, as wgctrl tells of them.
func (m *member) devices() (list []*wgtypes.Device, err error) {
	h, err := m.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: list links: %w", m.Name, err)
	}
	err = m.Do(func() error {
		client, err := wgctrl.New()
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		for _, link := range links {
			if kind := link.Type(); kind != "wireguard" && kind != "tuntap" {
				continue
			}
			device, err := client.Device(link.Attrs().Name)
			if err != nil {
				return fmt.Errorf("ask wgctrl for %s: %w", link.Attrs().Name, err)
			}
			list = append(list, device)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return list, nil
}

// carriers counts the processes `zosnet wg` on the node.
func (m *member) carriers() (n int, err error) {
	here, err := os.Stat(m.Path())
	if err != nil {
		return 0, err
	}
	namespaces, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return 0, err
	}
	for _, namespace := range namespaces {
		command, err := os.ReadFile(filepath.Join(namespace, "../../cmdline"))
		if err != nil {
			continue // it has ended
		}
		words := bytes.Split(command, []byte{0})
		if len(words) < 2 || string(words[1]) != "wg" {
			continue
		}
		if there, err := os.Stat(namespace); err == nil && os.SameFile(here, there) {
			n++
		}
	}
	return n, nil
}

// controlPort is where WireGuard of the control network listens.
const controlPort = 20479

// keysOfPeers looks whether every device has a key of its own, and every peer that of
// another node's device, which has this one's for a peer, and was heard. A peer of no
// node is one whom a token let in to join, and only the control network has such.
func (d *gridDemo) keysOfPeers(context.Context) (string, string, error) {
	type place struct {
		node   *member
		device *wgtypes.Device
	}
	var places []place
	owners := map[wgtypes.Key]place{}
	for _, n := range d.members {
		devices, err := n.devices()
		if err != nil {
			return "", "", err
		}
		for _, device := range devices {
			if device.PrivateKey == (wgtypes.Key{}) || device.PrivateKey.PublicKey() != device.PublicKey || owners[device.PublicKey].node != nil {
				return "", "", fmt.Errorf("%s: %s has no key of its own", n.Name, device.Name)
			}
			owners[device.PublicKey] = place{n, device}
			places = append(places, owners[device.PublicKey])
		}
	}
	peers := 0
	for _, at := range places {
		for _, peer := range at.device.Peers {
			of := owners[peer.PublicKey]
			switch {
			case of.node == nil && at.device.ListenPort == controlPort:
				continue
			case of.node == nil || of.node == at.node:
				return "", "", fmt.Errorf("%s: %s has a peer with a key of no other node", at.node.Name, at.device.Name)
			case !slices.ContainsFunc(of.device.Peers, func(p wgtypes.Peer) bool { return p.PublicKey == at.device.PublicKey }):
				return "", "", fmt.Errorf("%s: %s has a peer on %s that does not know it", at.node.Name, at.device.Name, of.node.Name)
			case peer.LastHandshakeTime.Unix() <= 0:
				return "", "", fmt.Errorf("%s: %s has no session with %s", at.node.Name, at.device.Name, of.node.Name)
			}
			peers++
		}
	}
	// The control network's two, to the first node, and the overlay's three, from
	// either end.
	if want := 2 * (2 + 3); peers != want {
		return "", "", fmt.Errorf("%d peers are other nodes, want %d", peers, want)
	}
	return "another node's", fmt.Sprintf("%d peers, %d keys", peers, len(owners)), nil
}
