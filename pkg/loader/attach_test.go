package loader

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
)

// ways are the ways to attach that this kernel has: its own first choice, and
// what every kernel can do.
var ways = map[string]Options{
	firstChoice(): {},
	"clsact":      {ForceClsact: true, ForceGenericXDP: true},
}

// firstChoice is tcx since Linux 6.6. It is told by the version, so that a newer
// kernel on which tcx does not work fails the tests.
func firstChoice() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err == nil &&
		(major < 6 || major == 6 && minor < 6) {
		return "fallback"
	}
	return "tcx"
}

// hook is the one of tc programs that a way uses.
func hook(way string) string {
	if way == "tcx" {
		return "tcx"
	}
	return "clsact"
}

// links gives how many links a kernel's first choice makes for an uplink and a
// number of workloads: tc programs have one only with tcx.
func links(workloads int) int {
	if firstChoice() == "tcx" {
		return 3 + 2*workloads
	}
	return 1
}

// openDatapath opens the real programs.
func openDatapath(t *testing.T, options Options) *Datapath {
	t.Helper()
	d, err := Open(options)
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// shown gives attachments as "program hook mode".
func shown(attachments []Attachment) []string {
	var list []string
	for _, a := range attachments {
		list = append(list, fmt.Sprintf("%s %s %s %s", a.Interface, a.Program, a.Hook, a.Mode))
	}
	return list
}

func TestAttachEachWay(t *testing.T) {
	want := map[string][]string{
		"tcx": {
			"up0 uplink_egress tcx tcx", "up0 uplink_ingress tcx tcx", "up0 uplink_xdp xdp native",
			"zw0 workload_egress tcx tcx", "zw0 workload_ingress tcx tcx",
		},
		"fallback": {
			"up0 uplink_egress clsact clsact", "up0 uplink_ingress clsact clsact", "up0 uplink_xdp xdp native",
			"zw0 workload_egress clsact clsact", "zw0 workload_ingress clsact clsact",
		},
		"clsact": {
			"up0 uplink_egress clsact clsact", "up0 uplink_ingress clsact clsact", "up0 uplink_xdp xdp generic",
			"zw0 workload_egress clsact clsact", "zw0 workload_ingress clsact clsact",
		},
	}
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			up := veth(t, "up0", "world0")
			veth(t, "zw0", "eth0")
			d := openDatapath(t, options)
			got, err := d.AttachUplink("up0")
			must(t, err)
			if !slices.Equal(shown(got), want[way][:3]) {
				t.Errorf("uplink: %q", shown(got))
			}
			_, err = d.AttachWorkload("zw0")
			must(t, err)
			all, err := d.Attachments()
			must(t, err)
			if !slices.Equal(shown(all), want[way]) {
				t.Errorf("attached %q\nwanted %q", shown(all), want[way])
			}
			uplinks, err := d.Maps().AllUplinks()
			must(t, err)
			if _, ok := uplinks[uint32(up.Attrs().Index)]; !ok || len(uplinks) != 1 {
				t.Errorf("uplinks in the map: %v", uplinks)
			}
			must(t, d.DetachUplink("up0"))
			must(t, d.DetachWorkload("zw0"))
			must(t, d.DetachWorkload("zw0")) // again
			must(t, d.DetachUplink("gone0"))
			if all, err = d.Attachments(); err != nil || len(all) != 0 {
				t.Errorf("after detaching: %q %v", shown(all), err)
			}
		})
	}
}

// linkIDs gives the identity of every pinned link.
func linkIDs(t *testing.T, d *Datapath) map[string]link.ID {
	t.Helper()
	pins, err := readPins(d.path("links"))
	must(t, err)
	ids := map[string]link.ID{}
	for _, p := range pins {
		l, _, err := p.open()
		must(t, err)
		info, err := l.Info()
		must(t, err)
		must(t, l.Close())
		ids[p.program+" "+p.ifname] = info.ID
	}
	return ids
}

// programOn gives the id of the program that a pinned link runs.
func programsOn(t *testing.T, d *Datapath) map[string]uint32 {
	t.Helper()
	pins, err := readPins(d.path("links"))
	must(t, err)
	ids := map[string]uint32{}
	for _, p := range pins {
		l, _, err := p.open()
		must(t, err)
		info, err := l.Info()
		must(t, err)
		must(t, l.Close())
		ids[p.program+" "+p.ifname] = uint32(info.Program)
	}
	return ids
}

// A daemon that is killed leaves everything attached; the next one replaces the
// programs and no link's identity, whether it attaches again or not.
func TestReopenKeepsLinks(t *testing.T) {
	enter(t)
	dir := bpffs(t)
	veth(t, "up0", "world0")
	veth(t, "zw0.1", "eth0") // a name with a dot
	d := openDatapath(t, Options{BPFFS: dir})
	attachBoth(t, d, "zw0.1")
	before, programs := linkIDs(t, d), programsOn(t, d)
	if len(before) != links(1) {
		t.Fatalf("links: %v", before)
	}
	must(t, d.Close())

	again := openDatapath(t, Options{BPFFS: dir})
	compareLinks(t, "after Open", before, linkIDs(t, again))
	for name, id := range programsOn(t, again) {
		if programs[name] == id {
			t.Errorf("%s still runs the old program", name)
		}
	}
	attachBoth(t, again, "zw0.1")
	compareLinks(t, "after attaching", before, linkIDs(t, again))
}

func attachBoth(t *testing.T, d *Datapath, workload string) {
	t.Helper()
	_, err := d.AttachUplink("up0")
	must(t, err)
	_, err = d.AttachWorkload(workload)
	must(t, err)
}

func compareLinks(t *testing.T, when string, want, got map[string]link.ID) {
	t.Helper()
	for name, id := range want {
		if got[name] != id {
			t.Errorf("%s: link %s has id %d, had %d", when, name, got[name], id)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d links, had %d", when, len(got), len(want))
	}
}

// An interface that was made again under the same name gets its programs, and a
// program that somebody took away comes back.
func TestAttachHeals(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			dev := veth(t, "zw0", "eth0")
			d := openDatapath(t, options)
			_, err := d.AttachWorkload("zw0")
			must(t, err)
			must(t, netlink.LinkDel(dev))
			if all, err := d.Attachments(); err != nil || len(all) != 0 {
				t.Errorf("an interface that has gone has %q %v", shown(all), err)
			}
			veth(t, "zw0", "eth0")
			assertHeals(t, d, "made again")

			takeAway(t, d, way, "zw0")
			if all, err := d.Attachments(); err != nil || len(all) != 1 {
				t.Errorf("a program was taken away, attached are %q %v", shown(all), err)
			}
			assertHeals(t, d, "taken away")
		})
	}
}

func assertHeals(t *testing.T, d *Datapath, why string) {
	t.Helper()
	got, err := d.AttachWorkload("zw0")
	must(t, err)
	if len(got) != 2 {
		t.Errorf("%s: attached %q", why, shown(got))
	}
}

// takeAway detaches workload_egress as an operator might.
func takeAway(t *testing.T, d *Datapath, way, ifname string) {
	t.Helper()
	if way == "tcx" {
		l, _, err := d.pin(workloadEgress, ifname).open()
		must(t, err)
		must(t, l.Detach())
		must(t, l.Close())
		return
	}
	dev, err := netlink.LinkByName(ifname)
	must(t, err)
	must(t, d.detachClsact(workloadEgress, dev, ingress))
}

// Going from one way to the other leaves nothing of the first.
func TestChangeOfWay(t *testing.T) {
	enter(t)
	dir := bpffs(t)
	veth(t, "zw0", "eth0")
	for _, force := range []bool{false, true, false} {
		d := openDatapath(t, Options{BPFFS: dir, ForceClsact: force})
		got, err := d.AttachWorkload("zw0")
		must(t, err)
		want := hook(firstChoice())
		if force {
			want = "clsact"
		}
		if len(got) != 2 || got[0].Hook != want || got[1].Hook != want {
			t.Errorf("force clsact %v: %q", force, shown(got))
		}
		must(t, d.Close())
	}
}

// Others' filters and programs on the interface stay as they are, and ours come
// first.
func TestOthersAreLeftAlone(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			dev := veth(t, "zw0", "eth0")
			must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
				LinkIndex: dev.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
			}}))
			d := openDatapath(t, options)
			must(t, netlink.FilterAdd(&netlink.BpfFilter{
				FilterAttrs: netlink.FilterAttrs{
					LinkIndex: dev.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS,
					Handle: 1, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
				},
				Fd: d.programs[workloadEgress].FD(), Name: "theirs", DirectAction: true,
			}))
			_, err := d.AttachWorkload("zw0")
			must(t, err)
			must(t, d.DetachWorkload("zw0"))
			filters, err := netlink.FilterList(dev, netlink.HANDLE_MIN_INGRESS)
			must(t, err)
			if len(filters) != 1 || filters[0].Attrs().Handle != 1 {
				t.Errorf("filters: %v", filters)
			}
			must(t, Remove(options.BPFFS))
			filters, err = netlink.FilterList(dev, netlink.HANDLE_MIN_INGRESS)
			must(t, err)
			if len(filters) != 1 {
				t.Errorf("filters after Remove: %v", filters)
			}
		})
	}
}

// XDP is on the lowest interface only; a VLAN on it is announced in the map.
func TestUplinksAboveEachOther(t *testing.T) {
	enter(t)
	low := veth(t, "up0", "world0")
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = "up0.7", low.Attrs().Index
	if err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 7}); err != nil {
		t.Skipf("this kernel makes no VLAN link: %v", err)
	}
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	_, err := d.AttachUplink("up0")
	must(t, err)
	got, err := d.AttachUplink("up0.7")
	must(t, err)
	if len(got) != 2 {
		t.Errorf("VLAN above XDP: %q", shown(got))
	}
	uplinks, err := d.Maps().AllUplinks()
	must(t, err)
	vlan, err := netlink.LinkByName("up0.7")
	must(t, err)
	want := maps.UplinkVLANs{{Type: 0x8100, ID: 7}: uint32(vlan.Attrs().Index)}
	if have := uplinks[uint32(low.Attrs().Index)]; !reflect.DeepEqual(have, want) {
		t.Errorf("the lower uplink leaves %v to others, wanted %v", have, want)
	}
}

// An uplink that udev renames after it was locked keeps its links.
func TestUplinkIsRenamed(t *testing.T) {
	enter(t)
	dev := veth(t, "eth7", "world0")
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	_, err := d.AttachUplink("eth7")
	must(t, err)
	before := linkIDs(t, d)
	must(t, netlink.LinkSetDown(dev))
	must(t, netlink.LinkSetName(dev, "ens3"))
	_, err = d.AttachUplink("ens3")
	must(t, err)
	after := linkIDs(t, d)
	for _, program := range []string{uplinkXDP, uplinkIngress, uplinkEgress} {
		if before[program+" eth7"] != after[program+" ens3"] {
			t.Errorf("%s: link %d became %d", program, before[program+" eth7"], after[program+" ens3"])
		}
	}
	if len(after) != links(0) {
		t.Errorf("links: %v", after)
	}
}

func TestErrorsSayWhat(t *testing.T) {
	enter(t)
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	_, err := d.AttachUplink("none0")
	if err == nil || !strings.Contains(err.Error(), "attach uplink_ingress to none0") {
		t.Errorf("got %v", err)
	}
	_, err = Open(Options{BPFFS: "relative"})
	if err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("got %v", err)
	}
}

// A driver without native XDP gets the generic kind, and the log says so.
func TestFallsBackToGenericXDP(t *testing.T) {
	enter(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})) // a driver without XDP
	var log journal
	d := openDatapath(t, Options{BPFFS: bpffs(t), Log: log.logger()})
	got, err := d.AttachUplink("up0")
	must(t, err)
	if len(got) != 3 || got[2].Mode != "generic" {
		t.Errorf("attached %q", shown(got))
	}
	if want := "attach uplink_xdp to up0: driver has no native XDP (falling back to generic)"; !strings.Contains(log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, log.String())
	}
}

// Remove leaves no pin and no attachment.
func TestRemove(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			veth(t, "up0", "world0")
			veth(t, "zw0", "eth0")
			d := openDatapath(t, options)
			attachBoth(t, d, "zw0")
			must(t, d.Close())
			must(t, Remove(options.BPFFS))
			must(t, Remove(options.BPFFS)) // again
			entries, err := os.ReadDir(options.BPFFS)
			must(t, err)
			if len(entries) != 0 {
				t.Errorf("left in bpffs: %v", entries)
			}
			fresh := openDatapath(t, options)
			if all, err := fresh.Attachments(); err != nil || len(all) != 0 {
				t.Errorf("still attached: %q %v", shown(all), err)
			}
		})
	}
}
