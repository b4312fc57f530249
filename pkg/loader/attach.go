package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// The programs, by their names in C.
const (
	uplinkXDP       = "uplink_xdp"
	uplinkIngress   = "uplink_ingress"
	uplinkEgress    = "uplink_egress"
	workloadEgress  = "workload_egress"  // tc ingress on the host's side: what the workload sends
	workloadIngress = "workload_ingress" // tc egress on the host's side
)

// direction is a side of an interface, as the host's stack sees it.
type direction int

const (
	ingress direction = iota
	egress
)

func (dir direction) tcx() ebpf.AttachType {
	if dir == egress {
		return ebpf.AttachTCXEgress
	}
	return ebpf.AttachTCXIngress
}

// AttachUplink attaches the uplink programs to an interface and puts it among the
// uplinks of the maps. What is attached already stays, or gets this build's
// program in place. XDP goes to the lowest interface only: none is attached above
// one that has it.
func (d *Datapath) AttachUplink(ifname string) ([]Attachment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev, err := netlink.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s: %w", uplinkIngress, ifname, err)
	}
	if err := d.followRename(dev); err != nil {
		return nil, err
	}
	if err := d.addUplink(uint32(dev.Attrs().Index)); err != nil {
		return nil, err
	}
	if err := d.attachXDP(uplinkXDP, dev); err != nil {
		return nil, err
	}
	if err := d.attachTC(uplinkIngress, dev, ingress); err != nil {
		return nil, err
	}
	if err := d.attachTC(uplinkEgress, dev, egress); err != nil {
		return nil, err
	}
	// Only now may the uplink below leave a VLAN's frames to it.
	if err := d.refreshUplinks(); err != nil {
		return nil, err
	}
	return d.attachmentsOf(dev.Attrs().Index)
}

// DetachUplink takes the uplink programs off an interface, also one that has gone.
func (d *Datapath) DetachUplink(ifname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dev, err := netlink.LinkByName(ifname); err == nil {
		if err := d.maps.DeleteUplink(uint32(dev.Attrs().Index)); err != nil {
			return err
		}
	}
	if err := d.refreshUplinks(); err != nil {
		return err
	}
	if err := d.detach(uplinkXDP, ifname); err != nil {
		return err
	}
	if err := d.detachTC(uplinkIngress, ifname, ingress); err != nil {
		return err
	}
	return d.detachTC(uplinkEgress, ifname, egress)
}

// AttachWorkload attaches the workload programs to a workload's host-side
// interface. What is attached already stays, or gets this build's program in
// place.
func (d *Datapath) AttachWorkload(ifname string) ([]Attachment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev, err := netlink.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s: %w", workloadEgress, ifname, err)
	}
	if err := d.attachTC(workloadEgress, dev, ingress); err != nil {
		return nil, err
	}
	if err := d.attachTC(workloadIngress, dev, egress); err != nil {
		return nil, err
	}
	return d.attachmentsOf(dev.Attrs().Index)
}

// DetachWorkload takes the workload programs off an interface, also one that has
// gone.
func (d *Datapath) DetachWorkload(ifname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.detachTC(workloadEgress, ifname, ingress); err != nil {
		return err
	}
	return d.detachTC(workloadIngress, ifname, egress)
}

// attachTC attaches by tcx, else by clsact, and takes away what an earlier run
// had attached the other way.
func (d *Datapath) attachTC(name string, dev netlink.Link, dir direction) error {
	if d.options.ForceClsact || d.noTCX {
		return d.attachOnlyClsact(name, dev, dir)
	}
	err := d.attachTCX(name, dev, dir)
	if errors.Is(err, ebpf.ErrNotSupported) {
		d.noTCX = true
		d.log.Info("kernel has no tcx, attaching by clsact")
		return d.attachOnlyClsact(name, dev, dir)
	}
	if err != nil {
		return err
	}
	return d.detachClsact(name, dev, dir)
}

func (d *Datapath) attachOnlyClsact(name string, dev netlink.Link, dir direction) error {
	if err := d.attachClsact(name, dev, dir); err != nil {
		return err
	}
	return d.detach(name, dev.Attrs().Name)
}

func (d *Datapath) detachTC(name, ifname string, dir direction) error {
	if err := d.detach(name, ifname); err != nil {
		return err
	}
	dev, err := netlink.LinkByName(ifname)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach %s from %s: %w", name, ifname, err)
	}
	return d.detachClsact(name, dev, dir)
}

// detach removes a link.
func (d *Datapath) detach(name, ifname string) error {
	return d.pin(name, ifname).remove()
}

// keep says whether a pinned link already is on the interface, and gives it the
// program loaded here unless a switch of layouts is under way. A pin whose interface
// has gone, or whose link somebody has detached, goes.
func (d *Datapath) keep(p pin, program *ebpf.Program, ifindex int) (bool, error) {
	l, on, err := p.open()
	if err != nil || l == nil {
		return false, err
	}
	defer func() { _ = l.Close() }()
	if on != ifindex {
		return false, p.remove()
	}
	if len(d.maps.Changed()) > 0 || runs(l, program) {
		return true, nil
	}
	if err := l.Update(program); err != nil {
		return false, fmt.Errorf("replace %s on %s: %w", p.program, p.ifname, err)
	}
	return true, nil
}

// runs says whether the link's program is this very one.
func runs(l link.Link, program *ebpf.Program) bool {
	on, err := l.Info()
	if err != nil {
		return false
	}
	loaded, err := program.Info()
	if err != nil {
		return false
	}
	id, ok := loaded.ID()
	return ok && id == on.Program
}

// pinNew pins a link that was just made, and detaches it where that fails.
func pinNew(l link.Link, p pin) error {
	defer func() { _ = l.Close() }()
	if err := l.Pin(p.path); err != nil {
		return fmt.Errorf("pin %s of %s: %w", p.program, p.ifname, err)
	}
	return nil
}

// followRename gives the pins of an interface's links its new name.
func (d *Datapath) followRename(dev netlink.Link) error {
	pins, err := readPins(d.path("links"))
	if err != nil {
		return err
	}
	for _, p := range pins {
		now := d.pin(p.program, dev.Attrs().Name)
		if p.ifname == now.ifname || (p.program != uplinkXDP && p.program != uplinkIngress && p.program != uplinkEgress) {
			continue
		}
		l, on, err := p.open()
		if err != nil {
			return err
		}
		if l != nil {
			_ = l.Close()
		}
		if on != dev.Attrs().Index {
			continue
		}
		if err := os.Rename(p.path, now.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("follow %s, which is %s now: %w", p.ifname, now.ifname, err)
		}
	}
	return nil
}
