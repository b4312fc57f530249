package apply

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/plan"
)

// programs names the programs on each interface.
type programs map[string][]string

// onUplink tells whether an uplink has all of its programs.
func (p programs) onUplink(u loader.Uplink) bool {
	has := p[u.Name]
	return slices.Contains(has, "uplink_ingress") && slices.Contains(has, "uplink_egress") &&
		(!u.Lowest || slices.Contains(has, "uplink_xdp"))
}

// onWorkload tells whether a workload's host-side interface has both of its.
func (p programs) onWorkload(ifname string) bool {
	return slices.Contains(p[ifname], "workload_ingress") && slices.Contains(p[ifname], "workload_egress")
}

// readPrograms asks what is attached, once for a pass.
func (p *pass) readPrograms() {
	attachments, err := p.config.Datapath.Attachments()
	p.failIf("programs", err)
	p.programs = programs{}
	for _, a := range attachments {
		p.programs[a.Interface] = append(p.programs[a.Interface], a.Program)
	}
}

// setUplinks gives every uplink its programs and its entry, as soon as it is there,
// and takes them from what is no uplink any more.
func (p *pass) setUplinks() {
	p.readPrograms()
	chosen, missing := p.links.uplinks(p.want.Uplinks)
	p.uplinks = chosen
	p.reportMissing(missing)
	have, err := p.config.Datapath.Maps().AllUplinks()
	if p.failIf("uplinks", err) {
		return
	}
	for _, u := range chosen {
		_, known := have[uint32(u.Index)]
		if known && p.programs.onUplink(u) {
			continue
		}
		action, detail := plan.Modify, "programs attached again"
		if !known {
			action, detail = plan.Add, ""
		}
		if !p.change(uplinkObject(u.Name), action, detail, func() error { return p.attachUplink(u) }) {
			p.unguarded = append(p.unguarded, u)
		}
	}
	p.detachUplinks()
	p.removeUplinks()
}

func (p *pass) attachUplink(u loader.Uplink) error {
	_, err := p.config.Datapath.AttachUplink(u.Name)
	return err
}

// removeUplinks forgets uplinks that are gone.
func (p *pass) removeUplinks() {
	have, err := p.config.Datapath.Maps().AllUplinks()
	if p.failIf("uplinks", err) {
		return
	}
	for _, index := range slices.Sorted(maps.Keys(have)) {
		if !slices.ContainsFunc(p.uplinks, func(u loader.Uplink) bool { return u.Index == int(index) }) {
			p.change(uplinkObject(p.nameOf(index)), plan.Remove, "", func() error { return p.config.Datapath.Maps().DeleteUplink(index) })
		}
	}
}

// detachUplinks takes the programs from interfaces that are there and are no
// uplinks, and the pins from those that are not there.
func (p *pass) detachUplinks() {
	wanted := map[string]bool{}
	for _, u := range p.uplinks {
		wanted[u.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(p.programs)) {
		isUplink := slices.ContainsFunc(p.programs[name], func(program string) bool { return strings.HasPrefix(program, "uplink_") })
		if isUplink && !wanted[name] {
			p.change("programs of "+name, plan.Remove, "", func() error { return p.config.Datapath.DetachUplink(name) })
		}
	}
}

// nameOf gives an interface's name; of one that is gone, its number.
func (p *pass) nameOf(index uint32) string {
	if link, exists := p.links.byIndex[int(index)]; exists {
		return link.Attrs().Name
	}
	return fmt.Sprintf("with index %d", index)
}

// reportMissing logs a named uplink when it goes and when it is back.
func (p *pass) reportMissing(names []string) {
	missing := map[string]bool{}
	for _, name := range names {
		missing[name] = true
		if !p.missing[name] {
			p.config.Log.Warn("uplink is not there; it will be locked down as soon as it is", "uplink", name)
		}
	}
	for name := range p.missing {
		if !missing[name] {
			p.config.Log.Info("uplink is back", "uplink", name)
		}
	}
	p.missing = missing
}

// setBackstop lets everything pass the early table, if there is one, that this pass
// has looked at, but for uplinks without programs: it stops what comes through a
// link that is not known yet, until a pass knows it.
func (p *pass) setBackstop() {
	have, present, err := loader.Backstop()
	// An error is that of a kernel without nf_tables, which has no such table.
	if err != nil || !present {
		return
	}
	var known []uint32
	for index := range p.links.byIndex {
		if !slices.ContainsFunc(p.unguarded, func(u loader.Uplink) bool { return u.Index == index }) {
			known = append(known, uint32(index))
		}
	}
	slices.Sort(known)
	if !slices.Equal(have, known) {
		p.failIf("backstop", loader.PutBackstop(known))
	}
}

// attachPrograms puts a workload's programs on its host-side interface.
func (p *pass) attachPrograms(a *attachment) bool {
	if !p.made[a.object()] && p.programs.onWorkload(a.Interface) {
		return true
	}
	return p.settle(a, "programs attached again", func() error {
		_, err := p.config.Datapath.AttachWorkload(a.Interface)
		return err
	})
}
