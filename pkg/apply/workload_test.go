package apply

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/policy"
)

// TestPath: a workload in a namespace that somebody else made has its interface
// there, and the namespace stays theirs.
func TestPath(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	path := filepath.Join(t.TempDir(), "container")
	check(t, makeNamespace(path, "theirs"))
	defer func() { check(t, removeNamespace(path)) }()
	in(t, path, func(h *netlink.Handle) error {
		return writeSysctl("net/ipv6/conf/default/disable_ipv6", "1")
	})
	attached := plan.Attachment{Network: "acme", Service: "web", Name: "c1", Kind: plan.WorkloadPath, NetnsPath: path, Host: 257}
	g := grid{networks: []string{"acme"}, attachments: []plan.Attachment{netns("acme", "web-1", 256), attached}}
	s := g.state(t)
	n.apply(s)
	n.unchanged(s)
	converse(t, "/run/netns/acme.web-1", path, ofTenants(s)[0].Address)

	g.attachments = g.attachments[:1]
	n.apply(g.state(t))
	in(t, path, func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if len(links) != 1 {
			t.Errorf("%d links are left in the namespace", len(links))
		}
		return err
	})
}

// TestFails: what stands in the way of an object is an error that names it and what
// to do, and everything else is in force.
func TestFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, s plan.State)
		says    []string
	}{
		{"a link of the tap's name", func(t *testing.T, s plan.State) {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "vm0"
			check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
		}, []string{"workload acme/vm", "vm0", "rename or remove it"}},
		{"a namespace of the workload's name", func(t *testing.T, s plan.State) {
			check(t, makeNamespace(web1, "theirs"))
		}, []string{"workload acme/web-1", web1, "ip netns delete acme.web-1"}},
		{"no namespace at the path", func(t *testing.T, s plan.State) {},
			[]string{"workload acme/path", "/nowhere", "detach"}},
		{"a directory at the namespace's path", func(t *testing.T, s plan.State) {
			check(t, os.Mkdir(web1, 0o755))
		}, []string{"workload acme/web-1", web1}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			if elsewhere(t) {
				return
			}
			s := grid{networks: []string{"acme"}, attachments: []plan.Attachment{
				netns("acme", "web-1", 256), netns("acme", "web-2", 257), tap("acme", "vm", "vm0", 258),
				{Network: "acme", Service: "db", Name: "path", Kind: plan.WorkloadPath, NetnsPath: "/nowhere", Host: 259},
			}}.state(t)
			c.prepare(t, s)
			n := startNode(t)
			_, err := n.Apply(t.Context(), s)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
			if !isUp(link(t, ofTenants(s)[3].Interface)) {
				t.Errorf("%s is not up", ofTenants(s)[3].Name)
			}
		})
	}
}

// TestFailsClosed: what cannot be guarded stays shut.
func TestFailsClosed(t *testing.T) {
	attached := grid{networks: []string{"acme"}, attachments: []plan.Attachment{netns("acme", "web-1", 256)}}
	shut := func(t *testing.T, s plan.State) {
		t.Helper()
		l, err := netlink.LinkByName(ofTenants(s)[0].Interface)
		if err == nil && (isUp(l) || l.Attrs().MasterIndex != 0) {
			t.Errorf("the workload's interface is up, or a port of the bridge: %+v", l.Attrs())
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, n *node, s *plan.State)
		shut    func(t *testing.T, s plan.State)
	}{
		{"programs that cannot be attached to a workload", func(t *testing.T, n *node, s *plan.State) {
			check(t, os.Mkdir(n.bpffs()+"/links/workload_ingress-"+ofTenants(*s)[0].Interface, 0o700))
		}, shut},
		{"programs that a workload has lost for good", func(t *testing.T, n *node, s *plan.State) {
			n.apply(*s)
			pin := n.bpffs() + "/links/workload_ingress-" + ofTenants(*s)[0].Interface
			check(t, os.Remove(pin))
			check(t, os.Mkdir(pin, 0o700))
		}, func(t *testing.T, s plan.State) {
			if isUp(link(t, ofTenants(s)[0].Interface)) {
				t.Error("the workload's interface is up")
			}
		}},
		{"a policy that cannot be written", func(t *testing.T, n *node, s *plan.State) {
			s.Networks[0].Policy.Allow = make(policy.Bits, 65)
			s.Networks[0].Policy.Allow.Set(4096)
		}, shut},
		{"programs that cannot be attached to an uplink", func(t *testing.T, n *node, s *plan.State) {
			check(t, os.Mkdir(n.bpffs()+"/links/uplink_egress-up0", 0o700))
		}, func(t *testing.T, s plan.State) {
			value, err := readSysctl(forwardingSysctl)
			check(t, err)
			if value != "0" {
				t.Errorf("forwarding is %s while an uplink has no programs", value)
			}
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			if elsewhere(t) {
				return
			}
			n, s := startNode(t), attached.state(t)
			c.prepare(t, n, &s)
			if _, err := n.Apply(t.Context(), s); err == nil {
				t.Fatal("no error")
			}
			c.shut(t, s)
		})
	}
}

// TestOldRulesStay: rules that cannot be written leave those in force that were.
func TestOldRulesStay(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n, s := startNode(t), two.state(t)
	n.apply(s)
	before := n.entry(1)
	s.Networks[0].Policy.Allow = make(policy.Bits, 65)
	s.Networks[0].Policy.Allow.Set(4096)
	if _, err := n.Apply(t.Context(), s); err == nil {
		t.Fatal("no error")
	}
	if after := n.entry(1); after.Policy != before.Policy {
		t.Errorf("policy version %d is in force, was %d", after.Policy, before.Policy)
	}
	converse(t, "/run/netns/acme.web-1", "/run/netns/acme.web-2", ofTenants(s)[1].Address)
}

// TestHalfMade: what a daemon that was killed in the middle of making one object left
// is used or made anew.
func TestHalfMade(t *testing.T) {
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, s plan.State)
	}{
		{"a bridge and nothing of it", func(t *testing.T, s plan.State) {
			check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs(s.Networks[0].Bridge)}))
		}},
		{"the file of a namespace", func(t *testing.T, s plan.State) {
			check(t, os.WriteFile(web1, nil, 0o444))
		}},
		{"a namespace without a veth", func(t *testing.T, s plan.State) {
			home, err := homeNamespace()
			check(t, err)
			check(t, makeNamespace(web1, (&pass{home: home}).pauseAlias("acme", "web-1")))
		}},
		{"a veth whose other end is here", func(t *testing.T, s plan.State) {
			veth := netlink.NewVeth(attrs(ofTenants(s)[1].Interface))
			veth.PeerName = "zwpeer-aaaaaaa"
			check(t, netlink.LinkAdd(veth))
		}},
		{"a link of another kind", func(t *testing.T, s plan.State) {
			check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs(ofTenants(s)[1].Interface)}))
		}},
		{"a bridge that is none", func(t *testing.T, s plan.State) {
			check(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs(s.Networks[0].Bridge), Mode: netlink.TUNTAP_MODE_TAP}))
		}},
		{"a tap under its first name", func(t *testing.T, s plan.State) {
			check(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs(makingName("vm0")), Mode: netlink.TUNTAP_MODE_TAP}))
		}},
		{"a tap with its alias only", func(t *testing.T, s plan.State) {
			check(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs("vm0"), Mode: netlink.TUNTAP_MODE_TAP}))
			check(t, netlink.LinkSetAlias(link(t, "vm0"), workloadAlias("acme", "vm")))
		}},
		{"a tap of another workload", func(t *testing.T, s plan.State) {
			check(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs("vm0"), Mode: netlink.TUNTAP_MODE_TAP}))
			check(t, netlink.LinkSetAlias(link(t, "vm0"), workloadAlias("beta", "vm")))
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			if elsewhere(t) {
				return
			}
			n := startNode(t)
			s := grid{networks: []string{"acme"}, attachments: []plan.Attachment{
				netns("acme", "web-1", 256), tap("acme", "vm", "vm0", 258),
			}}.state(t)
			n.apply(s)
			whole := dumpKernel(t)
			n.apply(grid{}.state(t))
			c.make(t, s)
			n.apply(s)
			n.unchanged(s)
			if now := dumpKernel(t); now != whole {
				t.Errorf("is\n%s\nwant\n%s", now, whole)
			}
		})
	}
}

// TestTap: a VM's program finds a tap that it can open, with one queue and a virtio
// header, and it is still there when the program ends.
func TestTap(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	s := grid{networks: []string{"acme"}, attachments: []plan.Attachment{tap("acme", "vm", "vm0", 258)}}.state(t)
	n.apply(s)
	check(t, unix.Close(openTap(t, "vm0")))
	n.unchanged(s)
	made := link(t, "vm0").(*netlink.Tuntap)
	if made.NonPersist || made.Flags&netlink.TUNTAP_MULTI_QUEUE != 0 {
		t.Errorf("the tap is %+v", made)
	}
}

// openTap opens a tap as a VM's program does.
func openTap(t *testing.T, name string) (fd int) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	check(t, err)
	request, err := unix.NewIfreq(name)
	check(t, err)
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Fatalf("open tap %s: %v", name, err)
	}
	return fd
}

// TestRenumbered: an address of an earlier plan goes from eth0, one that the tenant
// added stays.
func TestRenumbered(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme"}, attachments: []plan.Attachment{netns("acme", "web-1", 256)}}
	n.apply(g.state(t))
	own := netip.MustParsePrefix("2001:db8:5::5/128")
	in(t, web1, func(h *netlink.Handle) error {
		l, err := h.LinkByName(endpointName)
		if err != nil {
			return err
		}
		return h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(own)})
	})
	g.attachments[0].Host = 300
	s := g.state(t)
	n.apply(s)
	n.unchanged(s)
	in(t, web1, func(h *netlink.Handle) error {
		e, err := observeEndpoint(h, ofTenants(s)[0])
		want := append(plannedAddresses(ofTenants(s)[0]), own)
		if !sameSet(e.addresses, want) {
			t.Errorf("eth0 has %v, want %v", e.addresses, want)
		}
		if !slices.Contains(e.addresses, netip.PrefixFrom(ofTenants(s)[0].Address, 64)) {
			t.Errorf("%s is missing", ofTenants(s)[0].Address)
		}
		return err
	})
}

// Whoever names a namespace first, the daemon or iproute2, the other's can be removed.
func TestNamesBesideIproute2(t *testing.T) {
	if elsewhere(t) {
		return
	}
	ip := func(verb string) {
		out, err := exec.Command("ip", "netns", verb, "theirs").CombinedOutput()
		if err != nil {
			t.Errorf("ip netns %s: %v: %s", verb, err, out)
		}
	}
	ours := filepath.Join(namespaceDir, "acme.web-1")
	for _, oursFirst := range []bool{true, false} {
		check(t, unix.Mount("run", filepath.Dir(namespaceDir), "tmpfs", 0, ""))
		if !oursFirst {
			ip("add")
		}
		check(t, makeNamespace(ours, "ours"))
		if oursFirst {
			ip("add")
		}
		if err := removeNamespace(ours); err != nil {
			t.Errorf("ours first: %v: %v", oursFirst, err)
		}
		ip("del")
		if left, err := os.ReadDir(namespaceDir); err != nil || len(left) > 0 {
			t.Errorf("ours first: %v: %v are left, %v", oursFirst, left, err)
		}
	}
}
