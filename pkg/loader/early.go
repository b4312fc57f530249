package loader

import (
	"errors"

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
	links, err := listLinks()
	if err != nil {
		return err
	}
	chosen, missing := ChooseUplinks(uplinks, links)
	for _, ifname := range missing {
		d.log.Warn("uplink is not there yet: the daemon will lock it, nothing passes until then", "interface", ifname)
	}
	var errs []error
	for _, u := range chosen {
		errs = append(errs, d.lock(u))
	}
	return errors.Join(errs...)
}

// lock attaches to one uplink and lets the backstop know.
func (d *Datapath) lock(u Uplink) error {
	attached, err := d.AttachUplink(u.Name)
	if err != nil {
		return err
	}
	for _, a := range attached {
		d.log.Info("attached", "program", a.Program, "interface", a.Interface, "hook", a.Hook, "mode", a.Mode)
	}
	return ExtendBackstop([]uint32{uint32(u.Index)})
}
