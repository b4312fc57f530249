package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachXDP attaches an XDP program in the driver, else in the stack. Nothing is
// attached where the interfaces below have it, or one above does: the kernel
// refuses both over each other, and the lowest sees all frames.
func (d *Datapath) attachXDP(name string, dev netlink.Link) error {
	program, err := d.program(name)
	if err != nil {
		return err
	}
	ifname, ifindex := dev.Attrs().Name, dev.Attrs().Index
	p := d.pin(name, ifname)
	if kept, err := d.keep(p, program, ifindex); kept || err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	if hasXDPBelow(links, ifindex) || hasXDPAbove(links, ifindex) {
		d.log.Debug("no XDP: the interface above or below has it", "interface", ifname)
		return nil
	}
	options := link.XDPOptions{Program: program, Interface: ifindex, Flags: link.XDPDriverMode}
	if !d.options.ForceGenericXDP {
		l, err := link.AttachXDP(options)
		if err == nil {
			return pinNew(l, p)
		}
		if errors.Is(err, unix.EBUSY) {
			return busyXDP(name, ifname, err)
		}
		d.log.Warn(fmt.Sprintf("attach %s to %s: %s (falling back to generic)", name, ifname, whyNoNative(err)))
	}
	options.Flags = link.XDPGenericMode
	l, err := link.AttachXDP(options)
	if errors.Is(err, unix.EBUSY) {
		return busyXDP(name, ifname, err)
	}
	if err != nil {
		return fmt.Errorf("attach %s to %s: generic XDP: %w", name, ifname, err)
	}
	return pinNew(l, p)
}

func busyXDP(name, ifname string, err error) error {
	return fmt.Errorf("attach %s to %s: another XDP program is there (`bpftool net show dev %s` tells which; detach it): %w",
		name, ifname, ifname, err)
}

// whyNoNative says what the driver's refusal means. Drivers without XDP give
// EOPNOTSUPP; those with it refuse an MTU, offload or queue set-up in many ways.
func whyNoNative(err error) string {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return "driver has no native XDP"
	}
	return "driver refuses native XDP: " + err.Error()
}
