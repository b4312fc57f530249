package apply

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// role is what a WireGuard interface of a network is for. It ends the interface's alias,
// which no bridge's does and no workload's, since their names hold no space.
type role string

const (
	overlayRole  role = "overlay"
	entranceRole role = "entrance"
)

func (r role) object(network string) string { return string(r) + " " + network }

func (r role) alias(network string) string { return networkAlias(network) + " " + string(r) }

func (r role) of(link netlink.Link) bool {
	alias := link.Attrs().Alias
	return strings.HasPrefix(alias, aliasMark) && strings.HasSuffix(alias, " "+string(r))
}

// network gives whose interface a link of the role is.
func (r role) network(link netlink.Link) string {
	return strings.TrimSuffix(strings.TrimPrefix(link.Attrs().Alias, aliasMark), " "+string(r))
}

// secured is a WireGuard interface of a network, in the datapath's hands.
type secured struct {
	object string // that its changes are noted under
	name   string
	entry  bpf.Overlay // what the datapath knows of it
}

// ownKey loads a private key, which must be the one that was published.
func ownKey(keys *wireguard.Keys, name string, public wireguard.PublicKey) (wireguard.PrivateKey, error) {
	key, err := keys.Load(name)
	if err == nil && key.Public() != public {
		err = fmt.Errorf("its key is %s, and the plan has %s", key.Public(), public)
	}
	return key, err
}

// settleDevice makes a device what it should be. One that is new comes up when its
// programs are on it. ok tells whether that went well.
func (p *pass) settleDevice(s secured, want wireguard.Device) (changed, ok bool) {
	var changes []string
	var err error
	if _, exists := p.links.byName[s.name]; !exists {
		if changes, err = p.config.Devices.Prepare(want); err == nil {
			err = p.guard(s)
		}
	}
	if err == nil {
		var more []string
		more, err = p.config.Devices.Apply(want)
		changes = append(changes, more...)
	}
	for _, detail := range changes {
		action := plan.Modify
		if detail == "created" {
			action, detail = plan.Add, s.name
		}
		p.change(s.object, action, detail, func() error { return nil })
	}
	if p.failIf(s.object, err) {
		return true, false
	}
	if len(changes) > 0 {
		_, err = p.links.refresh(p.netlink, s.name)
	}
	return len(changes) > 0, !p.failIf(s.object, err)
}

// guard puts an interface into the datapath's hands, before it comes up.
func (p *pass) guard(s secured) error {
	link, err := p.links.refresh(p.netlink, s.name)
	if err != nil {
		return err
	}
	if _, err := p.config.Datapath.AttachOverlay(s.name); err != nil {
		return err
	}
	p.touch(s.entry.Network)
	return p.config.Datapath.Maps().PutOverlay(uint32(link.Attrs().Index), s.entry)
}

// keepGuard puts back what an interface that is there has lost, and tells whether it may
// be used. One that cannot be guarded is taken down; somebody else's is left alone.
func (p *pass) keepGuard(s secured, have map[uint32]bpf.Overlay) bool {
	link, exists := p.links.byName[s.name]
	if !exists {
		return true
	}
	if !ours(link) {
		p.fail(s.object, fmt.Errorf("there is a link %s already, which is not zosnet's: rename or remove it", s.name))
		return false
	}
	has := p.programs[s.name]
	if slices.Contains(has, "overlay_ingress") && slices.Contains(has, "overlay_egress") &&
		have[uint32(link.Attrs().Index)] == s.entry {
		return true
	}
	if p.change(s.object, plan.Modify, "put into the datapath again", func() error { return p.guard(s) }) {
		return true
	}
	if p.ctx.Err() == nil && isUp(link) {
		p.failIf(s.object, p.netlink.LinkSetDown(link))
	}
	return false
}

// removeSecured takes away the interfaces of a role that are not planned any more.
func (p *pass) removeSecured(r role, wanted map[string]bool) {
	for name, link := range p.links.byName {
		if r.of(link) && !wanted[name] {
			p.change(r.object(r.network(link)), plan.Remove, name, func() error { return p.unsecure(link) })
		}
	}
}

func (p *pass) unsecure(link netlink.Link) error {
	name := link.Attrs().Name
	if err := p.config.Devices.Remove(name); err != nil {
		return err
	}
	p.links.drop(link)
	if err := p.config.Datapath.DetachOverlay(name); err != nil {
		return err
	}
	return p.config.Datapath.Maps().DeleteOverlay(uint32(link.Attrs().Index))
}
