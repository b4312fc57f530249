package apply

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
)

// TestRemoveAll: all that apply made goes, however the programs were attached, and
// nothing of others: their links, routes, and filters beside ours.
func TestRemoveAll(t *testing.T) {
	for _, row := range []struct {
		name   string
		clsact bool
	}{{"as the kernel offers", false}, {"clsact", true}} {
		t.Run(row.name, func(t *testing.T) {
			if elsewhere(t) {
				return
			}
			addForeign(t)
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "up1"
			veth := netlink.NewVeth(attrs)
			veth.PeerName = "world1"
			check(t, netlink.LinkAdd(veth))
			for _, command := range []string{
				"tc qdisc add dev up1 clsact",
				"tc filter add dev up1 ingress prio 7 protocol ip bpf bytecode '1,6 0 0 0'",
			} {
				if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
			}
			before := dumpKernel(t) + traffic(t)

			n := &node{t: t, dir: t.TempDir()}
			defer func() { check(t, unix.Unmount(n.bpffs(), unix.MNT_DETACH)) }()
			var err error
			n.datapath, err = loader.Open(loader.Options{BPFFS: n.bpffs(), ForceClsact: row.clsact, Log: discard})
			check(t, err)
			n.Applier, err = New(Config{Datapath: n.datapath, RunDir: filepath.Join(n.dir, "run"), Log: discard})
			check(t, err)
			g := two
			g.uplinks = []string{"up0", "up1"}
			n.apply(g.state(t))
			attachments, err := n.datapath.Attachments()
			check(t, err)
			clsact := slices.ContainsFunc(attachments, func(a loader.Attachment) bool { return a.Hook == "clsact" })
			if made := strings.Contains(traffic(t), "uplink_ingress"); made != clsact || row.clsact && !clsact {
				t.Fatalf("filters of ours: %v, attached by clsact: %v, forced to: %v", made, clsact, row.clsact)
			}
			n.close()

			removal := Removal{BPFFS: n.bpffs(), RunDir: filepath.Join(n.dir, "run"), Networks: true, Log: discard}
			for range 2 { // the second finds nothing
				_, err = Remove(removal)
				check(t, err)
			}
			if diff := cmp.Diff(before, dumpKernel(t)+traffic(t)); diff != "" {
				t.Errorf("before and after (-before +after):\n%s", diff)
			}
		})
	}
}

// traffic gives qdiscs and filters.
func traffic(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `tc qdisc show; for l in up0 up1; do tc filter show dev $l ingress; tc filter show dev $l egress; done 2>&1`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return "\n" + string(out)
}
