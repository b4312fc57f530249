package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// pin is a link's pin.
type pin struct {
	program string
	ifname  string
	path    string
}

// pinName gives a link's file name. Interface names may have dots, which bpffs
// does not take, and may not have colons.
func pinName(program, ifname string) string {
	return program + "-" + strings.ReplaceAll(ifname, ".", ":")
}

// parsePinName is pinName backwards; program names have no dash.
func parsePinName(name string) (program, ifname string, ok bool) {
	program, ifname, ok = strings.Cut(name, "-")
	return program, strings.ReplaceAll(ifname, ":", "."), ok && program != "" && ifname != ""
}

// readPins gives the link pins in dir.
func readPins(dir string) ([]pin, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read link pins: %w", err)
	}
	var pins []pin
	for _, e := range entries {
		if program, ifname, ok := parsePinName(e.Name()); ok {
			pins = append(pins, pin{program, ifname, filepath.Join(dir, e.Name())})
		}
	}
	return pins, nil
}

func (d *Datapath) pin(program, ifname string) pin {
	return pin{program, ifname, d.path("links", pinName(program, ifname))}
}

// open gives the pinned link and the ifindex of its interface, 0 where that has
// gone or somebody has detached the link. Without a pin the link is nil.
func (p pin) open() (link.Link, int, error) {
	l, err := link.LoadPinnedLink(p.path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open link pin %s: %w", p.path, err)
	}
	info, err := l.Info()
	if err != nil {
		_ = l.Close()
		return nil, 0, fmt.Errorf("read link pinned at %s: %w", p.path, err)
	}
	return l, ifindexOf(info), nil
}

func ifindexOf(info *link.Info) int {
	if xdp := info.XDP(); xdp != nil {
		return int(xdp.Ifindex)
	}
	if tcx := info.TCX(); tcx != nil {
		return int(tcx.Ifindex)
	}
	return 0
}

// remove removes the pin; a link that nothing else holds goes with it.
func (p pin) remove() error {
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove link pin: %w", err)
	}
	return nil
}

// replaceLink gives a pinned link this build's program. A pin whose interface has
// gone holds nothing, and goes too; one of a program that this build does not have
// is left to whoever detaches.
func (d *Datapath) replaceLink(p pin) error {
	if d.programs[p.program] == nil {
		return nil
	}
	l, ifindex, err := p.open()
	if err != nil || l == nil {
		return err
	}
	defer func() { _ = l.Close() }()
	dev, err := netlink.LinkByIndex(ifindex)
	if ifindex == 0 || errors.As(err, &netlink.LinkNotFoundError{}) {
		return p.remove()
	}
	if err != nil {
		return fmt.Errorf("replace %s on %s: %w", p.program, p.ifname, err)
	}
	program, err := d.programFor(p.program, dev)
	if err != nil {
		return err
	}
	if err := l.Update(program); err != nil {
		return fmt.Errorf("replace %s on %s: %w", p.program, p.ifname, err)
	}
	return nil
}
