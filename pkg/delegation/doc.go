// Package delegation is this node's part in the delegation of IPv6 address space: it
// registers and releases the prefixes that the node holds, gives blocks of them to nodes
// that ask, asks for blocks where the node needs some, gives back what it does not need,
// and tells what is to be routed where and whether it is. It also tells whose word makes a
// block another node's.
//
// A [Space] is what comes of that: which prefixes networks get /64s from, and which are
// the node's although no network has them. What is noted of it is in the node's own
// registry, so that giving a /64 asks nobody; what others must know, in the grid's.
//
// It must not know networks' documents, the plan, maps, programs or the API: who gives
// /64s to networks takes them from what [Space.Giving] says. The arithmetic is that of
// ipam.
package delegation
