package spec

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Limits of one network.
const (
	MaxServices = 256
	MaxRules    = 4000  // rules, access (for each device and service) and expose entries together
	MaxCIDRs    = 20000 // CIDRs in all its rules together; MaxDocument has room for them at 45 bytes each
)

// networkDecoder is a network while it is decoded.
type networkDecoder struct {
	*Network
	subjects map[string]SelectorKind // what a name stands for in this network
	portless map[string]bool         // services that name no ports
	cidrs    int
}

// DecodeNetwork decodes and validates a NETWORK.yaml. The name of the file is
// only for the places in errors. An error is of type Errors and lists every
// problem. The warnings are about rules that can have no effect.
func DecodeNetwork(file string, data []byte) (*Network, []Warning, error) {
	d := &document{file: file, where: Where{}}
	n := &networkDecoder{
		Network: &Network{
			Default: Default{Inside: Allow, Inbound: Deny, Outbound: Allow},
			Where:   d.where,
		},
		subjects: map[string]SelectorKind{"any": SelectAny, "inside": SelectInside, "outside": SelectOutside},
		portless: map[string]bool{},
	}
	if top, ok := d.root(data); ok {
		n.decode(top)
	}
	if err := d.err(); err != nil {
		return nil, nil, err
	}
	return n.Network, n.ineffective(), nil
}

func (n *networkDecoder) decode(top value) {
	n.Pos = top.pos()
	top.fields(
		field{"network", expectName, func(v value) { n.Name, _ = v.name() }},
		field{"nodes", "a list of the nodes it spans", n.decodeNodes},
		field{"exit", "", func(v value) { n.Exit, _ = v.name() }},
		field{"default", "", n.decodeDefault},
		field{"services", "", n.decodeServices},
		field{"access", "", n.decodeAccessList},
		field{"rules", "", n.decodeRules},
		field{"expose", "", n.decodeExposeList},
	)
	if count := len(n.Rules) + n.admissions() + len(n.Expose); count > MaxRules {
		top.wrong(fmt.Sprintf("%d rules, access and expose entries", count), fmt.Sprintf("at most %d", MaxRules))
	}
	if n.cidrs > MaxCIDRs {
		top.wrong(fmt.Sprintf("%d CIDRs", n.cidrs), fmt.Sprintf("at most %d in one network: fewer and wider ones", MaxCIDRs))
	}
}

// admissions counts what access admits: one for each device and service.
func (n *Network) admissions() (count int) {
	for _, a := range n.Access {
		count += max(len(a.Allow), 1)
	}
	return count
}

func (n *networkDecoder) decodeNodes(v value) {
	const expected = "a list of one or more nodes"
	n.Nodes = v.distinct(expected, func(item value) (string, bool) {
		v.d.where[item.path] = item.pos()
		return item.name()
	})
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
		v.wrong("an empty list", expected)
	}
}

func (n *networkDecoder) decodeDefault(v value) {
	n.Default.Pos = v.pos()
	action := func(into *Action) func(value) {
		return func(v value) {
			text, _ := v.matching("allow or deny", func(s string) bool { return s == string(Allow) || s == string(Deny) })
			*into = Action(text)
		}
	}
	v.fields(
		field{"inside", "", action(&n.Default.Inside)},
		field{"inbound", "", action(&n.Default.Inbound)},
		field{"outbound", "", action(&n.Default.Outbound)},
	)
}

func (n *networkDecoder) decodeServices(v value) {
	for _, e := range v.entries() {
		service := Service{Name: e.name, Pos: e.key.pos()}
		if _, ok := e.key.name(); ok {
			n.subjects[e.name] = SelectService
		}
		n.portless[e.name] = true
		if !e.null() {
			e.fields(field{"ports", "", func(v value) {
				service.Ports = v.ports()
				n.portless[e.name] = false
			}})
		}
		n.Services = append(n.Services, service)
	}
	if count := len(n.Services); count > MaxServices {
		v.wrong(fmt.Sprintf("%d services", count), fmt.Sprintf("at most %d", MaxServices))
	}
}
