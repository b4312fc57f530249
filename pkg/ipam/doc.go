// Package ipam is the arithmetic of allocations: a registered prefix holds blocks,
// which are given to nodes; a block holds tenant /64s, a /64 holds workload
// addresses. Network ids and service ids, which the datapath uses as array indexes
// and map keys, are given out here too.
//
//	prefix  2001:db8:aaaa::/48            registered by its holder
//	block   2001:db8:aaaa:100::/56        BlockBits, or the whole prefix if longer
//	        2001:db8:aaaa:100::/64        the block's first /64: the node's own
//	tenant  2001:db8:aaaa:101::/64        one network on one node
//	        2001:db8:aaaa:101::1          its gateway, on the bridge
//	        2001:db8:aaaa:101::100        its first workload (FirstHost)
//
// A Holding is what a holder has registered and given away, a State what a node has
// given to networks from its own blocks. A node needs nobody for the latter.
//
// Everything is a pure function of such a value and a time that the caller passes
// in. The package must not know where the values are kept: no I/O, no clock, no
// randomness. The same values, arguments and time always give the same answer.
package ipam
