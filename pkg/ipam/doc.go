// Package ipam is the arithmetic of allocations: a node's prefixes hold blocks,
// a block holds tenant /64s, a /64 holds workload addresses. Network ids and
// service ids, which the datapath uses as array indexes and map keys, are given
// out here too.
//
//	prefix  2001:db8:aaaa::/48            node.yaml
//	block   2001:db8:aaaa:100::/56        BlockBits, or the whole prefix if longer
//	        2001:db8:aaaa:100::/64        the block's first /64: the node's own
//	tenant  2001:db8:aaaa:101::/64        one network
//	        2001:db8:aaaa:101::1          its gateway, on the bridge
//	        2001:db8:aaaa:101::100        its first workload (FirstHost)
//
// Everything is a pure function of a State and a time that the caller passes
// in. The package must not know where a State is kept: no I/O, no clock, no
// randomness. The same State, arguments and time always give the same answer.
package ipam
