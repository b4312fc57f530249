package apply

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dumpKernel gives links, addresses, routes and names of namespaces as text, without
// what changes by itself.
func dumpKernel(t *testing.T) string {
	t.Helper()
	var lines []string
	links, err := netlink.LinkList()
	check(t, err)
	for _, l := range links {
		a := l.Attrs()
		master := ""
		if m, err := netlink.LinkByIndex(a.MasterIndex); a.MasterIndex != 0 && err == nil {
			master = m.Attrs().Name
		}
		lines = append(lines, fmt.Sprintf("link %s %s mtu %d alias %q master %q up %t", a.Name, l.Type(), a.MTU, a.Alias, master, isUp(l)))
		addresses, err := netlink.AddrList(l, netlink.FAMILY_V6)
		check(t, err)
		for _, address := range addresses {
			lines = append(lines, fmt.Sprintf("address %s dev %s", address.IPNet, a.Name))
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	check(t, err)
	for _, r := range routes {
		if r.Table != unix.RT_TABLE_MAIN {
			continue
		}
		dev, kind := "", ""
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			dev = l.Attrs().Name
		}
		if r.Type == unix.RTN_UNREACHABLE {
			kind = "unreachable "
		}
		lines = append(lines, fmt.Sprintf("route %s%s dev %s metric %d", kind, prefixOf(r.Dst), dev, r.Priority))
	}
	names, err := os.ReadDir(namespaceDir)
	check(t, err)
	for _, name := range names {
		lines = append(lines, "namespace "+name.Name())
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// dumpNode gives all that apply answers for: besides links and routes what is
// attached, the maps' entries, sysctls, and what the workloads have. Indexes,
// versions and generations, which change with a repair, are left out.
func dumpNode(t *testing.T, n *node) string {
	t.Helper()
	lines := []string{dumpKernel(t)}
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	attached, err := n.datapath.Attachments()
	check(t, err)
	for _, a := range attached {
		add("program %s on %s by %s", a.Program, a.Interface, a.Hook)
	}
	links, err := readLinks()
	check(t, err)
	for name, l := range links.byName {
		if l.Type() == "bridge" {
			add("bridge %s %+v", name, links.spanning(l))
		}
	}
	for _, p := range portStates(t) {
		add("bridge port %s", p)
	}
	m := n.datapath.Maps()
	name := func(index uint32) string {
		if l, err := netlink.LinkByIndex(int(index)); err == nil {
			return l.Attrs().Name
		}
		return "none"
	}
	ports, err := m.AllPorts()
	check(t, err)
	for index, p := range ports {
		add("port %s %+v", name(index), p)
	}
	uplinks, err := m.AllUplinks()
	check(t, err)
	for index, u := range uplinks {
		add("uplink %s %+v", name(index), u)
	}
	all, err := m.AllBindings()
	check(t, err)
	for key, b := range all {
		on := name(b.Ifindex)
		b.Ifindex = 0
		add("binding %s zone %d on %s %+v", key.Address.Addr(), key.Zone, on, b)
	}
	contents, err := readContents(m)
	check(t, err)
	networks, err := m.AllNetworks()
	check(t, err)
	for id, entry := range networks {
		bridge, policy := name(entry.Bridge), contents[versionOf{id, entry.Policy}]
		entry.Bridge, entry.Generation, entry.Policy = 0, 0, 0
		add("network %d on %s %+v, versions %d, %d policy entries %x", id, bridge, entry, len(m.PolicyVersions(id)), policy.Entries, policy.Sum)
	}
	space, err := readSpace(m)
	check(t, err)
	for prefix, kind := range space {
		add("prefix %s %d", prefix, kind)
	}
	lockdown, err := m.ReadNode()
	check(t, err)
	add("lockdown is the ledger's %t", lockdown.Lockdown == 0 || lockdown.Lockdown == n.ledger.Lockdown.Number)
	sort.Strings(lines[1:])
	return strings.Join(lines, "\n") + "\n" + dumpSysctls(t, sysctlRoot) + dumpPauses(t)
}

// portStates gives whether each port of a bridge forwards.
func portStates(t *testing.T) (states []string) {
	t.Helper()
	out, err := exec.Command("bridge", "-o", "link").CombinedOutput()
	if err != nil {
		t.Fatalf("bridge -o link: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		_, rest, _ := strings.Cut(line, ": ") // the index
		name, rest, _ := strings.Cut(rest, ": ")
		_, state, found := strings.Cut(rest, "state ")
		if !found {
			t.Fatalf("no state in %q", line)
		}
		name, _, _ = strings.Cut(name, "@")
		states = append(states, name+" "+strings.Fields(state)[0])
	}
	return states
}

// dumpSysctls gives what apply sets of the interfaces' sysctls, as the calling thread
// sees them.
func dumpSysctls(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	for _, pattern := range []string{
		"net/ipv6/conf/*/disable_ipv6", "net/ipv6/conf/*/addr_gen_mode", "net/ipv6/conf/*/accept_ra", "net/ipv6/conf/*/forwarding",
		"net/ipv4/conf/*/arp_ignore", "net/ipv4/conf/*/arp_announce",
	} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		check(t, err)
		for _, path := range paths {
			value, err := os.ReadFile(path)
			check(t, err)
			lines = append(lines, strings.TrimPrefix(path, root)+" = "+string(value))
		}
	}
	return strings.Join(lines, "")
}

// dumpPauses gives links, addresses and default routes of the pause namespaces.
func dumpPauses(t *testing.T) string {
	t.Helper()
	names, err := os.ReadDir(namespaceDir)
	check(t, err)
	var lines []string
	for _, name := range names {
		path := filepath.Join(namespaceDir, name.Name())
		namespace, err := openNamespace(path)
		if err != nil {
			continue
		}
		check(t, namespace.Close())
		in(t, path, func(h *netlink.Handle) error {
			links, err := h.LinkList()
			if err != nil {
				return err
			}
			for _, l := range links {
				lines = append(lines, fmt.Sprintf("%s: link %s mtu %d mac %s up %t", path, l.Attrs().Name, l.Attrs().MTU, l.Attrs().HardwareAddr, isUp(l)))
			}
			addresses, err := readAddresses(h)
			if err != nil {
				return err
			}
			for _, list := range addresses {
				for _, a := range list {
					lines = append(lines, fmt.Sprintf("%s: address %s", path, a))
				}
			}
			routes, err := h.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: RouteProtocol}, netlink.RT_FILTER_PROTOCOL)
			for _, r := range routes {
				lines = append(lines, fmt.Sprintf("%s: route %s via %s", path, prefixOf(r.Dst), r.Gw))
			}
			return err
		})
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
