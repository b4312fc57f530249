package device

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// link is a device's interface.
type link struct {
	netlink.Link
	carried bool // by the process, not by the kernel
}

// find gives the link of a name, nil where there is none. Another kind of link is
// not touched.
func (d *Devices) find(name string) (*link, error) {
	l, err := d.netlink.LinkByName(name)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	switch l.Type() {
	case "wireguard":
		return &link{Link: l}, nil
	case "tuntap", "tun":
		carries, err := d.carries(l)
		if err != nil {
			return nil, err
		}
		if carries {
			return &link{l, true}, nil
		}
	}
	return nil, fmt.Errorf("there is a link %s already (%s), which is no WireGuard device of this daemon: rename or remove it", name, l.Type())
}

// carries tells whether the process carries a link. It is asked once: its answer names
// every device that it has.
func (d *Devices) carries(l netlink.Link) (bool, error) {
	if index := l.Attrs().Index; !d.carried[index] {
		names, err := d.process.List()
		if err != nil {
			return false, err
		}
		if !slices.Contains(names, l.Attrs().Name) {
			return false, nil
		}
		d.carried[index] = true
	}
	return true, nil
}

// create makes a link, down. Whether the kernel has WireGuard is found by trying.
func (d *Devices) create(want wireguard.Device) (*link, error) {
	if err := d.memory.forget(want.Name); err != nil {
		return nil, err
	}
	made, err := d.createInKernel(want)
	if err == nil && !made {
		err = d.process.Create(want.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("make its link: %w", err)
	}
	l, err := d.find(want.Name)
	if err == nil && l == nil {
		err = errors.New("its link went as soon as it was made")
	}
	return l, err
}

// createInKernel tells whether the kernel has WireGuard, and then made the link.
func (d *Devices) createInKernel(want wireguard.Device) (bool, error) {
	if !d.kernel {
		return false, nil
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = want.Name, want.MTU
	err := d.netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		d.kernel = false
		return false, nil
	}
	d.forgetClient()
	return err == nil, err
}

// setLink gives the link its MTU, its alias, and no address of its own: what is
// reached through it is not for this node's stack to answer.
func (d *Devices) setLink(l *link, want wireguard.Device) (changes []string, err error) {
	if l.Attrs().MTU != want.MTU {
		if err := d.netlink.LinkSetMTU(l, want.MTU); err != nil {
			return nil, fmt.Errorf("set its MTU to %d: %w", want.MTU, err)
		}
		changes = append(changes, fmt.Sprintf("mtu %d", want.MTU))
		if l.carried {
			if err := d.process.Resize(want.Name); err != nil {
				return changes, err
			}
		}
	}
	if l.Attrs().Alias != want.Alias {
		if err := d.netlink.LinkSetAlias(l, want.Alias); err != nil {
			return changes, fmt.Errorf("set its alias: %w", err)
		}
		changes = append(changes, "alias "+want.Alias)
	}
	set, err := setSysctl(want.Name, "addr_gen_mode", "1") // none
	if set {
		changes = append(changes, "no address of its own")
	}
	return changes, err
}

// setSysctl sets an IPv6 setting of a link (ip-sysctl.rst), and tells whether it was
// another.
func setSysctl(name, key, value string) (bool, error) {
	path := "/proc/sys/net/ipv6/conf/" + name + "/" + key
	is, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if string(is) == value+"\n" {
		return false, nil
	}
	return true, os.WriteFile(path, []byte(value), 0o644)
}

// raise brings the device up. The sockets come first, so that what the link takes
// has a way; they are opened anew after a change of the port.
func (d *Devices) raise(l *link, configured bool) ([]string, error) {
	up := l.Attrs().Flags&net.FlagUp != 0
	if l.carried && (!up || configured) {
		if err := d.process.Start(l.Attrs().Name); err != nil {
			return nil, err
		}
	}
	if up {
		return nil, nil
	}
	if err := d.netlink.LinkSetUp(l); err != nil {
		return nil, fmt.Errorf("bring it up: %w", err)
	}
	return []string{"up"}, nil
}
