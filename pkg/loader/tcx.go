package loader

import (
	"fmt"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// attachTCX attaches a program by a tcx link, before all others on the interface.
// It fails with ebpf.ErrNotSupported on kernels before 6.6.
func (d *Datapath) attachTCX(name string, dev netlink.Link, dir direction) error {
	program, err := d.programFor(name, dev)
	if err != nil {
		return err
	}
	ifname, ifindex := dev.Attrs().Name, dev.Attrs().Index
	p := d.pin(name, ifname)
	if kept, err := d.keep(p, program, ifindex); kept || err != nil {
		return err
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: ifindex, Program: program, Attach: dir.tcx(), Anchor: link.Head(),
	})
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", name, ifname, err)
	}
	return pinNew(l, p)
}
