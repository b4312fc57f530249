package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachXDP attaches an XDP program in the driver, else in the stack. The kernel
// refuses it below an interface that has it, and the lowest sees all frames: so
// nothing is attached above one that has it, ours comes down from above, and
// somebody else's stays there.
func (d *Datapath) attachXDP(name string, dev netlink.Link) error {
	program, err := d.programFor(name, dev)
	if err != nil {
		return err
	}
	ifname, ifindex := dev.Attrs().Name, dev.Attrs().Index
	p := d.pin(name, ifname)
	if kept, err := d.keep(p, program, ifindex); kept || err != nil {
		return err
	}
	links, err := listLinks()
	if err != nil {
		return err
	}
	if hasXDPBelow(links, ifindex) {
		d.log.Debug("no XDP: an interface below has it", "interface", ifname)
		return nil
	}
	if free, err := d.freeAbove(name, links, ifindex); !free || err != nil {
		return err
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
	if program, err = d.variantFor(name+genericSuffix, dev); err != nil {
		return err
	}
	options.Program, options.Flags = program, link.XDPGenericMode
	l, err := link.AttachXDP(options)
	if errors.Is(err, unix.EBUSY) {
		return busyXDP(name, ifname, err)
	}
	if err != nil {
		return fmt.Errorf("attach %s to %s: generic XDP: %w", name, ifname, err)
	}
	return pinNew(l, p)
}

// freeAbove takes our XDP program off the interfaces above one that is about to get
// it. The programs of tc judge all frames meanwhile. It says false where somebody
// else's program is above.
func (d *Datapath) freeAbove(name string, links []netlink.Link, ifindex int) (bool, error) {
	for _, upper := range withXDPAbove(links, ifindex) {
		p := d.pin(name, upper.Attrs().Name)
		l, on, err := p.open()
		if err != nil {
			return false, err
		}
		if l != nil {
			_ = l.Close()
		}
		if on != upper.Attrs().Index {
			d.log.Warn("no XDP: an interface above has another program", "above", upper.Attrs().Name)
			return false, nil
		}
		if err := p.remove(); err != nil {
			return false, fmt.Errorf("take %s off %s, for an interface below it: %w", name, upper.Attrs().Name, err)
		}
	}
	return true, nil
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
