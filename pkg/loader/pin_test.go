package loader

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPinsOfVanishedInterfacesGoAtOpen(t *testing.T) {
	enter(t)
	options := Options{BPFFS: bpffs(t)}
	d := openDatapath(t, options)
	gone, stays := veth(t, "zwgone", "p0"), veth(t, "zwstays", "p1")
	for _, l := range []netlink.Link{gone, stays} {
		_, err := d.AttachWorkload(l.Attrs().Name)
		must(t, err)
	}
	must(t, netlink.LinkDel(gone))
	openDatapath(t, options)
	pins, err := os.ReadDir(filepath.Join(options.BPFFS, "links"))
	must(t, err)
	if len(pins) != links(1)-links(0) {
		t.Errorf("pins %v, expected those of zwstays only", pins)
	}
}
