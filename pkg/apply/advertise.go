package apply

import (
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/apply/advert"
	"github.com/zosnet/zosnet/pkg/plan"
)

// farewell is the time that VMs' programs have to take the last advertisement from
// their taps before those go.
const farewell = 50 * time.Millisecond

// advertised gives what a network with taps advertises on its bridge.
func (p *pass) advertised(n plan.Network) advert.Network {
	return advert.Network{
		Interface: n.Bridge, Index: p.links.index(n.Bridge), MAC: n.BridgeMAC[:],
		Router: routerAddress.Addr(), Prefix: n.Prefix, MTU: n.MTU,
		Resolver: n.Resolver, Search: n.Domain(),
	}
}

func routerObject(network string) string { return "router advertisements of " + network }

// withdrawRouters ends the advertisements of networks that have no taps any more,
// while the taps are still there to hear it. Advertisements are the daemon's and not
// the kernel's, so they are no changes of it.
func (p *pass) withdrawRouters() {
	var heard <-chan time.Time
	for name, router := range p.routers {
		wanted := slices.ContainsFunc(p.want.Networks, func(n plan.Network) bool { return n.Name == name && n.AdvertiseRA })
		if wanted {
			continue
		}
		delete(p.routers, name)
		if err := router.Withdraw(); err != nil {
			p.config.Log.Warn("the last router advertisement was not sent", "network", name, "error", err)
		}
		heard = time.After(farewell)
	}
	if heard != nil {
		<-heard
	}
}

// startRouters begins the advertisements of networks with taps, anew where the
// bridge is another.
func (p *pass) startRouters() {
	for _, n := range p.want.Networks {
		if !n.AdvertiseRA || p.failed[bridgeObject(n)] || p.failed[networkObject(n.Name)] {
			continue
		}
		want := p.advertised(n)
		running := p.routers[n.Name]
		if running != nil && running.Network().Equal(want) {
			continue
		}
		if running != nil {
			running.Stop()
			delete(p.routers, n.Name)
		}
		router, err := advert.Start(want, p.config.Log)
		if !p.failIf(routerObject(n.Name), err) {
			p.routers[n.Name] = router
		}
	}
}
