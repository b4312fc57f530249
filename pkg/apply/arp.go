package apply

import (
	"maps"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/loader"
)

const ipv4Sysctls = "net/ipv4/conf/"

// arpSysctls keep a link from learning what the node has besides it (kernel,
// ip-sysctl). By default Linux answers ARP on any link for every address that it
// has, and asks with whichever of them a packet came from. IPv6 needs nothing: a
// solicitation is answered for the addresses of its own link only (ndisc_recv_ns).
var arpSysctls = []struct {
	key, value string
	enough     []string // values that say no more than ours does
}{
	{"arp_ignore", "1", []string{"2", "8"}}, // answer for this link's own addresses
	{"arp_announce", "2", nil},              // ask with an address of the link that is asked
}

// setARP keeps the uplinks' ARP to themselves, and gives links that are no uplinks
// any more their own values back.
func (p *pass) setARP() {
	p.keepARP()
	for _, name := range slices.Sorted(maps.Keys(p.ledger.Sysctls)) {
		ifname, _, _ := strings.Cut(strings.TrimPrefix(name, ipv4Sysctls), "/")
		if isARP(name) && !slices.ContainsFunc(p.uplinks, func(u loader.Uplink) bool { return u.Name == ifname }) {
			p.restoreSysctl(name, p.ledger.Sysctls[name])
		}
	}
}

// keepARP sets what is not enough yet, and notes what it was.
func (p *pass) keepARP() {
	for _, u := range p.uplinks {
		for _, s := range arpSysctls {
			name := ipv4Sysctls + u.Name + "/" + s.key
			have, err := readSysctl(name)
			if p.failIf("sysctl "+name, err) || have == "" || have == s.value || slices.Contains(s.enough, have) {
				continue
			}
			p.setSysctl(name, have, s.value)
		}
	}
}

// isARP tells an uplink's sysctl from those that make the node a router.
func isARP(name string) bool { return strings.HasPrefix(name, ipv4Sysctls) }
