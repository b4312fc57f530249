package loader

import (
	"cmp"
	"slices"

	"github.com/florianl/go-tc"
	"github.com/vishvananda/netlink"
)

// Attachment is a program of the datapath on an interface.
type Attachment struct {
	Interface string
	Program   string
	Hook      string // xdp, tcx, clsact
	Mode      string // native or generic for XDP, else as Hook
	Pin       string // of the link; clsact has none
}

// Attachments gives what is attached in this network namespace, as the kernel has
// it: a program that somebody took away is missing.
func (d *Datapath) Attachments() ([]Attachment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attachmentsOf(0)
}

// attachmentsOf gives those of one interface, or of all for ifindex 0.
func (d *Datapath) attachmentsOf(ifindex int) ([]Attachment, error) {
	links, err := listLinks()
	if err != nil {
		return nil, err
	}
	if ifindex != 0 {
		links = slices.DeleteFunc(links, func(l netlink.Link) bool { return l.Attrs().Index != ifindex })
	}
	byIndex := map[int]netlink.Link{}
	for _, l := range links {
		byIndex[l.Attrs().Index] = l
	}
	list, err := d.pinned(byIndex)
	if err != nil {
		return nil, err
	}
	err = eachFilter(links, func(_ *tc.Tc, dev netlink.Link, _ direction, name string) error {
		list = append(list, Attachment{Interface: dev.Attrs().Name, Program: name, Hook: "clsact", Mode: "clsact"})
		return nil
	})
	slices.SortFunc(list, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Program, b.Program), cmp.Compare(a.Hook, b.Hook))
	})
	return list, err
}

// pinned gives the attachments by links.
func (d *Datapath) pinned(byIndex map[int]netlink.Link) ([]Attachment, error) {
	pins, err := readPins(d.path("links"))
	if err != nil {
		return nil, err
	}
	var list []Attachment
	for _, p := range pins {
		if len(byIndex) == 1 && !named(byIndex, p.ifname) {
			continue
		}
		l, ifindex, err := p.open()
		if err != nil {
			return nil, err
		}
		if l == nil {
			continue
		}
		info, err := l.Info()
		_ = l.Close()
		dev, ok := byIndex[ifindex]
		if err != nil || !ok {
			continue
		}
		a := Attachment{Interface: dev.Attrs().Name, Program: p.program, Hook: "tcx", Mode: "tcx", Pin: p.path}
		if info.XDP() != nil {
			a.Hook, a.Mode = "xdp", xdpMode(dev)
		}
		list = append(list, a)
	}
	return list, nil
}

func named(links map[int]netlink.Link, ifname string) bool {
	for _, l := range links {
		if l.Attrs().Name == ifname {
			return true
		}
	}
	return false
}

// xdpMode reads XDP_ATTACHED_* of linux/if_link.h.
func xdpMode(dev netlink.Link) string {
	const attachedDriver = 1
	if x := dev.Attrs().Xdp; x != nil && x.AttachMode == attachedDriver {
		return "native"
	}
	return "generic"
}
