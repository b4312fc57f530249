package resolver

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/miekg/dns"
)

const (
	// Domain is what every network's names end in. It is reserved for private use
	// (ICANN resolution 2024.07.29.06).
	Domain = "internal"

	// ttl is how many seconds an answer may be kept, the negative ones too: a change
	// is seen within it.
	ttl = 1

	// serverLabel names the resolver itself. No service, workload or node can be
	// called that: their names begin with a letter.
	serverLabel = "53"

	apexDomain = Domain + "."

	// zoneEnd is the last line of a whole file: one that was cut short may read well.
	zoneEnd = "; end\n"
)

// Network is what a network's names follow from.
type Network struct {
	Name      string
	Resolver  netip.Addr              // where this zone is served
	Prefixes  map[string]netip.Prefix // by node: the network's /64 there
	Services  []string                // all of them, also those without a workload
	Workloads []Workload
}

// Workload is one of a network's, on any node.
type Workload struct {
	Name      string
	Service   string
	Node      string
	Addresses []netip.Addr // those outside the network's /64s are left out
	Healthy   bool         // its node is there; else it is found by its own name and by its addresses only
}

// Zone gives a network's names as a master file. Names that have no address have
// a TXT record, so that they exist. The same network gives the same bytes; its
// serial number is the checksum of the rest, for there is no secondary to compare it.
func (n Network) Zone() []byte {
	text := n.unnumbered()
	serial := strconv.FormatUint(uint64(crc32.ChecksumIEEE(text)), 10)
	return bytes.ReplaceAll(text, []byte(serialMark), []byte(serial))
}

// serialMark stands where the serial number will be. No name can have it: they are in
// small letters.
const serialMark = "SERIAL"

func (n Network) unnumbered() []byte {
	z := zoneText{origin: n.Name + "." + apexDomain, names: map[string]map[netip.Addr]bool{}, kinds: map[string]string{}}
	fmt.Fprintf(&z.text, "; Names of network %s. Made by zosnet: what is changed here is overwritten.\n$TTL %d\n", n.Name, ttl)
	z.soa(apexDomain)
	z.soa(z.origin)
	z.record(serverLabel+"."+z.origin, "AAAA", n.Resolver.String())
	n.collect(&z)
	for _, name := range slices.Sorted(maps.Keys(z.kinds)) {
		z.record(name, "TXT", fmt.Sprintf("%q", z.kinds[name]))
		for _, a := range slices.SortedFunc(maps.Keys(z.names[name]), netip.Addr.Compare) {
			z.record(name, "AAAA", a.String())
		}
	}
	n.reverse(&z)
	z.text.WriteString(zoneEnd)
	return z.text.Bytes()
}

// collect names everything that is to be found by name.
func (n Network) collect(z *zoneText) {
	for _, service := range n.Services {
		z.add("service", service)
		for node := range n.Prefixes {
			z.add("service", service, node)
		}
	}
	for node := range n.Prefixes {
		z.add("node", node) // a service of that name is one as well: the first kind stays
	}
	for _, w := range n.Workloads {
		addresses := n.own(w.Addresses)
		z.add("workload", w.Name)
		z.point(addresses, w.Name)
		if w.Healthy {
			z.point(addresses, w.Service)
			z.point(addresses, w.Service, w.Node)
		}
	}
}

// own gives those addresses that are in the network's /64s.
func (n Network) own(addresses []netip.Addr) []netip.Addr {
	var list []netip.Addr
	for _, a := range addresses {
		for _, p := range n.Prefixes {
			if p.Contains(a) {
				list = append(list, a)
				break
			}
		}
	}
	return list
}

// reverse adds the network's /64s under ip6.arpa.
func (n Network) reverse(z *zoneText) {
	for _, p := range slices.SortedFunc(maps.Values(n.Prefixes), netip.Prefix.Compare) {
		z.soa(reverseName(p.Addr())[2*(32-p.Bits()/4):])
	}
	z.record(reverseName(n.Resolver), "PTR", serverLabel+"."+z.origin)
	sorted := slices.SortedFunc(slices.Values(n.Workloads), func(a, b Workload) int { return cmp.Compare(a.Name, b.Name) })
	for _, w := range sorted {
		for _, a := range slices.SortedFunc(slices.Values(n.own(w.Addresses)), netip.Addr.Compare) {
			z.record(reverseName(a), "PTR", w.Name+"."+z.origin)
		}
	}
}

// reverseName is an IPv6 address under ip6.arpa: 32 labels of a digit (RFC 3596,
// section 2.5).
func reverseName(a netip.Addr) string {
	name, err := dns.ReverseAddr(a.String())
	if err != nil {
		panic(fmt.Sprintf("%s has no reverse name: %v", a, err)) // every address has one
	}
	return name
}

// zoneText is a master file being written.
type zoneText struct {
	origin string
	text   bytes.Buffer
	kinds  map[string]string // by name: what it is
	names  map[string]map[netip.Addr]bool
}

// name puts labels in front of the network's own name.
func (z *zoneText) name(labels []string) string {
	name := z.origin
	for _, label := range slices.Backward(labels) {
		name = label + "." + name
	}
	return name
}

func (z *zoneText) add(kind string, labels ...string) {
	name := z.name(labels)
	if _, known := z.kinds[name]; !known {
		z.kinds[name] = kind
	}
}

func (z *zoneText) point(addresses []netip.Addr, labels ...string) {
	name := z.name(labels)
	z.add("service", labels...)
	if z.names[name] == nil {
		z.names[name] = map[netip.Addr]bool{}
	}
	for _, a := range addresses {
		z.names[name][a] = true
	}
}

// soa begins a zone. Its times matter to nobody, for there is no secondary; the
// last is how long a negative answer may be kept (RFC 2308, section 4).
func (z *zoneText) soa(apex string) {
	server := serverLabel + "." + z.origin
	z.record(apex, "SOA", fmt.Sprintf("%s hostmaster.%s %s 3600 600 86400 %d", server, z.origin, serialMark, ttl))
	z.record(apex, "NS", server)
}

func (z *zoneText) record(name, kind, data string) {
	fmt.Fprintf(&z.text, "%s IN %s %s\n", name, kind, data)
}

// madeHere begins the files that are not for people to change.
const madeHere = "# Made by zosnet.\n"

// ResolvConf gives the resolv.conf(5) of a workload of a network.
func ResolvConf(network string, server netip.Addr) []byte {
	return fmt.Appendf(nil, madeHere+"nameserver %s\nsearch %s.%s\noptions timeout:2 attempts:2\n", server, network, Domain)
}

// Forward gives the file that names the servers which other names are forwarded to.
func Forward(servers []netip.Addr) []byte {
	text := []byte(madeHere)
	for _, s := range servers {
		text = fmt.Appendf(text, "nameserver %s\n", s)
	}
	return text
}
