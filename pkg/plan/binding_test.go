package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBindings says who has which address.
func TestBindings(t *testing.T) {
	learn := func(network, workload, address string) Learned {
		return Learned{network, workload, netip.MustParseAddr(address), [6]byte{0x52, 0x54, 0, 0, 0, 2}}
	}
	s := mustCompute(t, twoNetworks(t))
	planned := []string{
		"1 2001:db8:aaaa:1::100 " + s.workload(t, "acme", "web-1").Interface,
		"1 2001:db8:aaaa:1::101 " + s.workload(t, "acme", "db-1").Interface,
		"1 " + s.workload(t, "acme", "db-1").LinkLocal.String() + " " + s.workload(t, "acme", "db-1").Interface,
		"1 " + s.workload(t, "acme", "web-1").LinkLocal.String() + " " + s.workload(t, "acme", "web-1").Interface,
		"2 2001:db8:aaaa:2::100 " + s.workload(t, "globex", "batch-1").Interface,
		"2 " + s.workload(t, "globex", "batch-1").LinkLocal.String() + " " + s.workload(t, "globex", "batch-1").Interface,
	}
	for _, row := range []struct {
		name    string
		learned []Learned
		want    []string // learned ones
	}{
		{"a VM has no planned address, nor a link-local one", nil, nil},
		{"a VM's own", []Learned{learn("globex", "vm-1", "2001:db8:aaaa:2::77")}, []string{"2 2001:db8:aaaa:2::77 tap0 learned"}},
		{"of a workload that is not there", []Learned{learn("globex", "vm-9", "2001:db8:aaaa:2::77")}, nil},
		{"of a workload that is a namespace", []Learned{learn("globex", "batch-1", "2001:db8:aaaa:2::77")}, nil},
		{"of another network", []Learned{learn("globex", "vm-1", "2001:db8:aaaa:1::77")}, nil},
		{"the gateway's", []Learned{learn("globex", "vm-1", "2001:db8:aaaa:2::1"), learn("globex", "vm-1", "fe80::1")}, nil},
		{"the anycast address of the routers", []Learned{learn("globex", "vm-1", "2001:db8:aaaa:2::")}, nil},
		{"that the plan gave away", []Learned{learn("globex", "vm-1", "2001:db8:aaaa:2::100")}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := twoNetworks(t)
			in.Learned = row.learned
			var got []string
			for _, b := range mustCompute(t, in).Bindings {
				if b.Workload == ResolverHost {
					continue // TestResolvers
				}
				text := fmt.Sprintf("%d %s %s", b.NetworkID, b.Address, b.Interface)
				if b.Learned {
					text += " learned"
				}
				if b.Learned != b.Tap || b.Tap && b.MAC != [6]byte{0x52, 0x54, 0, 0, 0, 2} {
					t.Errorf("%s: tap %t, learned %t, MAC %x", b.Address, b.Tap, b.Learned, b.MAC)
				}
				got = append(got, text)
			}
			want := slices.Concat(planned[:4], row.want, planned[4:]) // ::77 sorts before ::100
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestLinkLocalOfTwoNetworks says that VMs of two networks can have one
// link-local address.
func TestLinkLocalOfTwoNetworks(t *testing.T) {
	in := twoNetworks(t)
	in.Attachments = append(in.Attachments, Attachment{Network: "acme", Service: "db", Name: "vm-2", Kind: WorkloadTap,
		TapName: "tap1", Host: 0x102})
	shared := netip.MustParseAddr("fe80::5054:ff:fe00:1")
	in.Learned = append(in.Learned, Learned{"acme", "vm-2", shared, [6]byte{0x52, 0x54, 0, 0, 0, 1}})
	var owners []string
	for _, b := range mustCompute(t, in).Bindings {
		if b.Address == shared {
			owners = append(owners, b.Interface)
		}
	}
	if d := cmp.Diff([]string{"tap1", "tap0"}, owners); d != "" {
		t.Error(d)
	}
}
