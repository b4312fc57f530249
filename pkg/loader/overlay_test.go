package loader

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
)

// tun makes an interface without a link header, as WireGuard's is.
func tun(t *testing.T, name string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI}))
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	return l
}

// An overlay's programs are attached, kept by the next daemon, replaced by its own
// and taken off, each way.
func TestAttachOverlay(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			l := tun(t, "zo0")
			d := openDatapath(t, options)
			want := []string{"zo0 overlay_egress " + hook(way) + " " + hook(way), "zo0 overlay_ingress " + hook(way) + " " + hook(way)}
			got, err := d.AttachOverlay("zo0")
			must(t, err)
			if !slices.Equal(shown(got), want) {
				t.Errorf("attached %q, wanted %q", shown(got), want)
			}
			before := linkIDs(t, d)
			must(t, d.Close())

			d = openDatapath(t, options)
			_, err = d.AttachOverlay("zo0")
			must(t, err)
			all, err := d.Attachments()
			must(t, err)
			if !slices.Equal(shown(all), want) {
				t.Errorf("with the next daemon %q, wanted %q", shown(all), want)
			}
			for name, id := range linkIDs(t, d) {
				if before[name] != id {
					t.Errorf("link %s is %d, was %d", name, id, before[name])
				}
			}
			must(t, netlink.LinkDel(l))
			must(t, d.DetachOverlay("zo0"))
			must(t, d.DetachOverlay("zo0")) // again
			if len(linkIDs(t, d)) != 0 {
				t.Errorf("pins are left: %v", linkIDs(t, d))
			}
		})
	}
}

// Programs that expect no link header are not attached where there is one.
func TestAnOverlayHasNoLinkHeader(t *testing.T) {
	enter(t)
	veth(t, "zo0", "far0")
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	if _, err := d.AttachOverlay("zo0"); err == nil || !strings.Contains(err.Error(), "link header") {
		t.Errorf("attached to a veth: %v", err)
	}
}

// Whose overlay an interface is can be said, read and forgotten.
func TestOverlayEntries(t *testing.T) {
	enter(t)
	m := openDatapath(t, Options{BPFFS: bpffs(t)}).Maps()
	must(t, m.PutOverlay(7, maps.Overlay{Network: 3}))
	must(t, m.PutOverlay(8, maps.Overlay{Network: 4}))
	must(t, m.DeleteOverlay(7))
	must(t, m.DeleteOverlay(7)) // again
	all, err := m.AllOverlays()
	must(t, err)
	if len(all) != 1 || all[8].Network != 4 {
		t.Errorf("overlays %v, wanted interface 8 of network 4", all)
	}
}
