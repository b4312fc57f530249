package wireguard

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Access is what a person's device needs to join a network.
type Access struct {
	Network, Name string // of the network, and of the person in it

	PrivateKey PrivateKey // zero: it never left the person
	PublicKey  PublicKey  // of the person; not needed beside a private key
	Address    netip.Addr // of the device in the network
	DNS        []netip.Addr
	Search     string // the domain of the network's names; empty: none
	MTU        int

	Peer       PublicKey // of the node where the access ends
	Endpoint   netip.AddrPort
	AllowedIPs []netip.Prefix // the network's, and nothing else
	Keepalive  time.Duration  // 0: none
}

// Config gives the configuration that `wg-quick up` takes (wg-quick(8)). Without a
// private key a comment stands in its place, which says whose it must be.
func (a Access) Config() (string, error) {
	if err := a.check(); err != nil {
		return "", fmt.Errorf("configuration of %s for network %s: %w", a.Name, a.Network, err)
	}
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s in network %s", a.Name, a.Network)
	line("[Interface]")
	line("%s", a.keyLine())
	line("Address = %v", netip.PrefixFrom(a.Address, a.Address.BitLen()))
	if servers := a.dns(); servers != "" {
		line("DNS = %s", servers)
	}
	line("MTU = %d", a.MTU)
	line("")
	line("[Peer]")
	line("PublicKey = %v", a.Peer)
	line("Endpoint = %v", a.Endpoint)
	line("AllowedIPs = %s", strings.ReplaceAll(join(sortPrefixes(a.AllowedIPs)), ",", ", "))
	if a.Keepalive > 0 {
		line("PersistentKeepalive = %d", int(a.Keepalive.Seconds()))
	}
	return b.String(), nil
}

// Unfinished gives what of a configuration there is before it is known where the device
// joins: whose it is, and its key.
func (a Access) Unfinished() string {
	return fmt.Sprintf("# %s in network %s; what is missing here is not known yet: zosnet access show %s --network %s\n[Interface]\n%s\n",
		a.Name, a.Network, a.Name, a.Network, a.keyLine())
}

func (a Access) keyLine() string {
	if a.PrivateKey.IsZero() {
		return fmt.Sprintf("# PrivateKey = the one of which %v is the public key", a.PublicKey)
	}
	return "PrivateKey = " + a.PrivateKey.text()
}

// dns gives the servers, and the search domain: wg-quick takes a word that is no
// address for one. Without a server it would be of no use.
func (a Access) dns() string {
	var words []string
	for _, server := range a.DNS {
		words = append(words, server.String())
	}
	if len(words) > 0 && a.Search != "" {
		words = append(words, a.Search)
	}
	return strings.Join(words, ", ")
}

func (a Access) check() error {
	switch {
	case strings.ContainsAny(a.Network+a.Name+a.Search, "\r\n#,= "):
		return errors.New("its names hold what a line of a configuration cannot")
	case a.PrivateKey.IsZero() && a.PublicKey.IsZero():
		return errors.New("it has neither a private key nor a public one")
	case a.Peer.IsZero():
		return errors.New("the node where it ends has no public key")
	case !a.Address.IsValid():
		return errors.New("it has no address")
	case !a.Endpoint.IsValid():
		return errors.New("the node where it ends has no endpoint: choose one that can be reached (--at)")
	case a.MTU < minMTU:
		return fmt.Errorf("its MTU is %d, and IPv6 wants %d", a.MTU, minMTU)
	case len(a.AllowedIPs) == 0:
		return errors.New("the network has no prefix yet")
	}
	return CheckAllowedIPs([]Peer{{PublicKey: a.Peer, AllowedIPs: a.AllowedIPs}})
}
