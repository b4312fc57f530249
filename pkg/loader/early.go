package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/spec"
)

// EarlyOptions say what is closed early in a boot.
type EarlyOptions struct {
	Options
	Uplinks []string             // empty: every physical link, and the bonds and VLANs on them
	Allow   []spec.LockdownAllow // the failsafe, where no daemon has set another since the boot
}

// Early locks the machine before any address answers: first the backstop, which
// lets nothing in, then the uplink programs on every uplink, and only then does
// the backstop let those pass. Whatever fails on the way stays closed. Later
// interfaces wait for the daemon. Running it again, or beside a daemon, opens
// nothing.
func Early(options EarlyOptions) error {
	if err := ExtendBackstop(nil); err != nil {
		return err
	}
	d, err := Open(options.Options)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.LockDown(options.Uplinks, options.Allow)
}

// LockDown attaches the uplink programs to every uplink and what it lies on (none
// given: every physical link, and the bonds and VLANs on them), the lower ones
// first, since XDP belongs there, and lets the backstop know.
// What is allowed is put in force where nothing is yet.
func (d *Datapath) LockDown(uplinks []string, allow []spec.LockdownAllow) error {
	node, err := d.maps.ReadNode()
	if err != nil {
		return err
	}
	if node.Lockdown == 0 && node.LockdownTrial == 0 && len(allow) > 0 {
		const first = 1
		if err := d.maps.PutLockdown(first, allow); err != nil {
			return err
		}
		if err := d.maps.SetLockdown(first); err != nil {
			return err
		}
	}
	if len(uplinks) == 0 {
		uplinks, err = PhysicalLinks()
	} else {
		uplinks, err = withLower(uplinks)
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, ifname := range uplinks {
		errs = append(errs, d.lock(ifname))
	}
	return errors.Join(errs...)
}

// lock attaches to one uplink and lets the backstop know. One that is not there
// yet is left to the daemon.
func (d *Datapath) lock(ifname string) error {
	dev, err := netlink.LinkByName(ifname)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		d.log.Warn("uplink is not there yet: the daemon will lock it, nothing passes until then", "interface", ifname)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read interface %s: %w", ifname, err)
	}
	attached, err := d.AttachUplink(ifname)
	if err != nil {
		return err
	}
	for _, a := range attached {
		d.log.Info("attached", "program", a.Program, "interface", a.Interface, "hook", a.Hook, "mode", a.Mode)
	}
	return ExtendBackstop([]uint32{uint32(dev.Attrs().Index)})
}

// withLower gives named interfaces and those that they lie on, the lower ones first.
func withLower(names []string) ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return lowestFirst(links, names), nil
}

// PhysicalLinks gives the names of every physical link of this network namespace,
// then of the bonds and VLANs on them, the lower ones first. Physical is what has
// a parent device on a bus (IFLA_PARENT_DEV_NAME, Linux 5.14; sysfs would show
// another namespace's), or what netlink calls a plain device, loopback apart.
func PhysicalLinks() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	var level []netlink.Link
	for _, l := range links {
		if isPhysical(l) {
			level = append(level, l)
		}
	}
	for len(level) > 0 {
		var next []netlink.Link
		for _, l := range level {
			if slices.Contains(names, l.Attrs().Name) {
				continue
			}
			names = append(names, l.Attrs().Name)
			next = append(next, above(links, l.Attrs().Index)...)
		}
		level = next
	}
	return names, nil
}

func isPhysical(l netlink.Link) bool {
	if l.Attrs().Index == loopback || l.Attrs().EncapType == "loopback" {
		return false
	}
	return l.Attrs().ParentDev != "" || l.Type() == "device"
}
