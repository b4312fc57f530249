package policy

import (
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
)

// ResolverService is what the network's own resolver is called as a service. No
// document can name one so: names begin with a letter.
const ResolverService = "53"

// resolverRules stand before everything that a document says, in a network that has
// a resolver: it is there for this network and nobody else, and asks others only
// what is forwarded.
var resolverRules = func() []spec.Rule {
	inside := []spec.Selector{{Kind: spec.SelectInside}}
	outside := []spec.Selector{{Kind: spec.SelectOutside}}
	all := []spec.Selector{{Kind: spec.SelectAny}}
	resolver := []spec.Selector{{Kind: spec.SelectService, Name: ResolverService}}
	questions := []spec.Ports{
		{Proto: spec.ProtoUDP, First: 53, Last: 53}, {Proto: spec.ProtoTCP, First: 53, Last: 53},
	}
	ping := spec.Ports{Proto: spec.ProtoICMPv6, First: uint16(icmpEchoRequest), Last: uint16(icmpEchoRequest)}
	return []spec.Rule{
		{Action: spec.Allow, From: inside, To: resolver, Ports: append([]spec.Ports{ping}, questions...)},
		{Action: spec.Deny, From: all, To: resolver},
		{Action: spec.Allow, From: resolver, To: outside, Ports: questions},
		{Action: spec.Deny, From: resolver, To: all},
	}
}()

// ownRules gives the rules that a network has without anybody writing them. Its access
// devices ask its resolver as its workloads do.
func ownRules(doc *spec.Network, resolver bool) []spec.Rule {
	if !resolver {
		return nil
	}
	if len(doc.Access) == 0 {
		return resolverRules
	}
	rules := slices.Clone(resolverRules)
	rules[0].From = slices.Clone(rules[0].From)
	for _, a := range doc.Access {
		rules[0].From = append(rules[0].From, spec.Selector{Kind: spec.SelectAccess, Name: a.Name})
	}
	return rules
}
