package underlay

import (
	"fmt"
	"net/netip"
)

// Finding is what was found, in one word.
type Finding string

// The findings. Only with the first does the upstream's routing lead here.
const (
	Routed         Finding = "routed"
	NoDefault      Finding = "no-default-route" // nothing leaves this machine
	GatewaySilent  Finding = "gateway-silent"   // the router is not on the link
	OnLink         Finding = "on-link"          // the router looks for neighbours in it
	NoRoute        Finding = "no-route"         // a router says that it knows no way
	Rejected       Finding = "rejected"         // a router says that it is forbidden
	Loop           Finding = "loop"             // routers send it round
	Lost           Finding = "lost"             // it went away and no word came back
	OtherUplink    Finding = "other-uplink"     // it comes by another than it leaves by
	SourceFiltered Finding = "source-filtered"  // it is routed here, but what is sent from it gets lost
)

// Result is what became of packets that were sent into a prefix.
type Result struct {
	Finding Finding
	Target  netip.Addr   // in the prefix
	Source  netip.Addr   // of this machine
	Uplink  string       // that they left by; with OtherUplink the one that they should
	Gateway netip.Addr   // that they were given to
	By      netip.Addr   // the router that said so; the zero Addr: none did
	Hops    []netip.Addr // routers on the way, in order; the zero Addr: it did not say
}

// Advice says in a sentence what was found and what to do.
func (r Result) Advice() string {
	switch r.Finding {
	case Routed:
		return "it is routed here, and what is sent from it gets through"
	case NoDefault:
		return "this machine has no default route for IPv6, so nothing could be sent: set one, or see why the router's advertisements do not come"
	case GatewaySilent:
		return fmt.Sprintf("the router %v does not answer on %s: is the cable, the VLAN or its address right?", r.Gateway, r.Uplink)
	case OnLink:
		return fmt.Sprintf("%v looks for the address among its neighbours: it has the prefix on its link. Ask for a route to %v instead", r.By, r.Source)
	case NoRoute:
		return fmt.Sprintf("%v has no route for it: send its operator what `zosnet routes` prints", r.By)
	case Rejected:
		return fmt.Sprintf("%v refuses to forward it: ask its operator to route it to %v and to let it through", r.By, r.Source)
	case Loop:
		return fmt.Sprintf("it goes round by way of %v: it is announced, but the last router has no route to %v and sends it back by its default", r.By, r.Source)
	case OtherUplink:
		return fmt.Sprintf("it comes, or leaves, by %s, which is not where the default route of IPv6 leads among the uplinks: mend the routing, or `uplinks` in node.yaml", r.Uplink)
	case SourceFiltered:
		who := "the upstream"
		if r.By.IsValid() {
			who = r.By.String()
		}
		return fmt.Sprintf("it is routed here, but %s drops what is sent from it: ask for the prefix to be let through by its filter of sources (BCP 38, reverse path)", who)
	case Lost:
	}
	if len(r.Hops) == 0 {
		return fmt.Sprintf("the router %v takes it and says nothing: it sends it nowhere, or filters it; send its operator what `zosnet routes` prints", r.Gateway)
	}
	return fmt.Sprintf("it goes as far as %v and does not come back: from there on nobody has a route to %v, or it is filtered", r.Hops[len(r.Hops)-1], r.Source)
}
