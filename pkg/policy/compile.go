package policy

import (
	"fmt"
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
)

// Compile turns a network's document into the form that the datapath reads. The
// ids name what is on this node: a NETWORK/SERVICE without an id matches nothing
// (it is not here, or not yet). An IPv4 CIDR and an IPv4 exposure match nothing
// that the datapath sees, but keep their entries.
//
// It fails where a service or an access device of the network has no id, and where there are more
// than MaxEntries entries.
func Compile(doc *spec.Network, ids IDs) (Program, error) {
	entries := EntriesOf(doc, ids.Resolver != 0)
	if len(entries) > MaxEntries {
		return Program{}, fmt.Errorf("compile policy of network %s: %d entries, the datapath takes %d; use fewer rules",
			doc.Name, len(entries), MaxEntries)
	}
	c := newCompiler(doc, ids, len(entries))
	if err := c.addServices(); err != nil {
		return Program{}, err
	}
	c.addPeers()
	position := 0
	for _, rules := range [][]spec.Rule{ownRules(doc, ids.Resolver != 0), doc.Rules} {
		for _, r := range rules {
			c.match(&c.from, position, r.From)
			c.match(&c.to, position, r.To)
			c.ports.add(position, r.Ports, len(r.Ports) == 0)
			position++
		}
	}
	for _, a := range admissions(doc) {
		c.admit(position, a)
		position++
	}
	for _, e := range doc.Expose {
		c.expose(position, e)
		position++
	}
	for i, side := range defaultSides {
		c.fallback(position+i, side)
	}
	if len(doc.Access) > 0 {
		c.refuse(position + len(defaultSides))
	}
	return c.program(entries), nil
}

// sides holds, for one of from and to, what each class of services matches, and
// which entries name which CIDRs.
type sides struct {
	services map[uint32]Bits
	cidrs    []namedCIDR
}

// compiler is a network while it is compiled.
type compiler struct {
	doc       *spec.Network
	ids       IDs
	words     int
	own       []uint32 // ids of its services
	devices   []uint32 // and of its access devices
	elsewhere []uint32 // 0, and ids of other networks' services that it names
	from, to  sides
	ports     portSweep
}

func newCompiler(doc *spec.Network, ids IDs, entries int) *compiler {
	words := (entries + 63) / 64
	return &compiler{
		doc: doc, ids: ids, words: words,
		from:  sides{services: map[uint32]Bits{}},
		to:    sides{services: map[uint32]Bits{}},
		ports: newPortSweep(words),
	}
}

func (c *compiler) addClass(id uint32) {
	c.from.services[id] = make(Bits, c.words)
	c.to.services[id] = make(Bits, c.words)
}

func (c *compiler) addServices() error {
	for _, s := range c.doc.Services {
		id, ok := c.ids.Services[s.Name]
		if !ok || id == 0 {
			return fmt.Errorf("compile policy of network %s: service %s has no id; apply the network's document first",
				c.doc.Name, s.Name)
		}
		c.own = append(c.own, id)
		c.addClass(id)
	}
	if id := c.ids.Resolver; id != 0 {
		c.own = append(c.own, id)
		c.addClass(id)
	}
	for _, a := range c.doc.Access {
		id, ok := c.ids.Access[a.Name]
		if !ok || id == 0 {
			return fmt.Errorf("compile policy of network %s: access device %s has no id; apply the network's document first",
				c.doc.Name, a.Name)
		}
		c.devices = append(c.devices, id)
		c.addClass(id)
	}
	return nil
}

// addPeers finds the other networks' services that rules name.
func (c *compiler) addPeers() {
	c.elsewhere = []uint32{0}
	c.addClass(0)
	for _, r := range c.doc.Rules {
		for _, s := range slices.Concat(r.From, r.To) {
			id := c.peer(s)
			if _, known := c.from.services[id]; !known {
				c.elsewhere = append(c.elsewhere, id)
				c.addClass(id)
			}
		}
	}
}

// peer gives the id of a NETWORK/SERVICE, or 0 where there is none.
func (c *compiler) peer(s spec.Selector) uint32 {
	if s.Kind != spec.SelectPeerService {
		return 0
	}
	return c.ids.Peer[s.Network][s.Name]
}

// match sets an entry's bit in every class that one of the selectors matches.
func (c *compiler) match(side *sides, position int, selectors []spec.Selector) {
	for _, s := range selectors {
		switch s.Kind {
		case spec.SelectAny:
			side.set(position, c.own)
			side.set(position, c.devices)
			side.set(position, c.elsewhere)
		case spec.SelectInside:
			side.set(position, c.own)
		case spec.SelectOutside:
			side.set(position, c.elsewhere)
		case spec.SelectService:
			if id := c.ids.Service(s.Name); id != 0 {
				side.set(position, []uint32{id})
			}
		case spec.SelectAccess:
			side.set(position, []uint32{c.ids.Access[s.Name]})
		case spec.SelectPeerService:
			if id := c.peer(s); id != 0 {
				side.set(position, []uint32{id})
			}
		case spec.SelectCIDR:
			if s.CIDR.Addr().Is6() {
				side.cidrs = append(side.cidrs, namedCIDR{s.CIDR.Masked(), position})
			}
		}
	}
}

func (s *sides) set(position int, classes []uint32) {
	for _, class := range classes {
		s.services[class].Set(position)
	}
}

// expose admits outside to a service. What the IPv4 proxy admits comes from the
// proxy and never as a packet from outside.
func (c *compiler) expose(position int, e spec.Expose) {
	id := c.ids.Services[e.Service]
	if e.IPv4 != "" || id == 0 {
		return
	}
	ports := e.Ports
	if len(ports) == 0 {
		service, _ := c.doc.Service(e.Service)
		ports = service.Ports
	}
	c.from.set(position, c.elsewhere)
	c.to.set(position, []uint32{id})
	c.ports.add(position, ports, false)
}

// admit lets an access device reach a service.
func (c *compiler) admit(position int, a admission) {
	c.from.set(position, []uint32{c.ids.Access[a.device]})
	c.to.set(position, []uint32{c.ids.Services[a.service]})
	c.ports.add(position, a.ports, false)
}

// refuse matches everything: it stands last, and the defaults decide all between
// workloads and outside.
func (c *compiler) refuse(position int) {
	for _, side := range []*sides{&c.from, &c.to} {
		for _, ids := range [][]uint32{c.own, c.devices, c.elsewhere} {
			side.set(position, ids)
		}
	}
	c.ports.add(position, nil, true)
}

// fallback is the default of a side.
func (c *compiler) fallback(position int, side Side) {
	from, to := c.own, c.own
	switch side {
	case Inbound:
		from = c.elsewhere
	case Outbound:
		to = c.elsewhere
	}
	c.from.set(position, from)
	c.to.set(position, to)
	c.ports.add(position, nil, true)
}

func (c *compiler) program(entries []Entry) Program {
	p := Program{
		Network: c.ids.Network, Entries: entries,
		FromService: c.from.services, ToService: c.to.services,
		Allow: make(Bits, c.words), Log: make(Bits, c.words),
	}
	for i, e := range entries {
		if e.Allow {
			p.Allow.Set(i)
		}
		if e.Log {
			p.Log.Set(i)
		}
	}
	p.CIDRs, p.FromCIDR, p.ToCIDR = classifyCIDRs(c.from.cidrs, c.to.cidrs, c.words)
	p.Ports, p.PortClasses = c.ports.classify()
	return p
}
