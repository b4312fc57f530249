/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_NEIGHBOUR_H
#define ZOSNET_NEIGHBOUR_H

#include "report.h"
#include "visit.h"

#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2
#define ND_OPTIONS 4 /* more than RFC 4861 defines for one message */
#define ND_HOP_LIMIT 255

struct nd_message {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct {
		__u8 bytes[16];
	} target;
};

struct nd_option {
	__u8 type;
	__u8 length; /* in 8 octets */
	struct mac mac;
};

INLINE bool is_neighbour_discovery(const struct packet *p)
{
	return p->proto == IPPROTO_ICMPV6 && p->icmp_type >= ICMPV6_ROUTER_SOLICIT &&
	       p->icmp_type <= ICMPV6_REDIRECT;
}

INLINE bool is_multicast_listener(const struct packet *p)
{
	return p->proto == IPPROTO_ICMPV6 &&
	       ((p->icmp_type >= ICMPV6_MLD_QUERY && p->icmp_type <= ICMPV6_MLD_DONE) ||
		p->icmp_type == ICMPV6_MLD2_REPORT);
}

INLINE void binding_key_of(struct binding_key *key, const struct address *a, __u32 network)
{
	key->address = *a;
	key->zone = is_link_local(a) ? network : 0;
	key->reserved = 0;
}

INLINE struct binding *binding_of(const struct address *a, __u32 network)
{
	struct binding_key key;

	binding_key_of(&key, a, network);
	return bpf_map_lookup_elem(&bindings, &key);
}

/* Addresses that belong to the network itself: its gateway, the subnet-router
 * anycast (RFC 4291, 2.6.1), fe80::1. */
INLINE bool is_gateway(const struct network *n, const struct address *a)
{
	const __u64 *x = (const void *)a, *g = (const void *)&n->gateway;

	if (x[0] == g[0])
		return x[1] == g[1] || !x[1];
	return x[0] == bpf_cpu_to_be64(0xfe80000000000000ULL) && x[1] == bpf_cpu_to_be64(1);
}

/* A packet for this address stays on the network's own link. */
INLINE bool is_on_link(const struct network *n, const struct address *a)
{
	const __u64 *x = (const void *)a, *g = (const void *)&n->gateway;

	return is_multicast(a) || is_link_local(a) || x[0] == g[0];
}

/* An address that a VM may claim: in the network's /64 or link-local, and none
 * that is kept (the gateway's, the resolver's ::53). */
INLINE bool is_claimable(const struct network *n, const struct address *a)
{
	const __u64 *x = (const void *)a, *g = (const void *)&n->gateway;

	if (x[0] != g[0] && x[0] != bpf_cpu_to_be64(0xfe80000000000000ULL))
		return false;
	return x[1] && x[1] != bpf_cpu_to_be64(1) && x[1] != bpf_cpu_to_be64(0x53);
}

/* Duplicate address detection (RFC 4862, 5.4) is how a VM claims an address:
 * first come, up to a limit. */
__noinline int claim_address(struct __sk_buff *skb, struct visit *v, struct port *port,
			     const struct address *target)
{
	struct binding_key key;
	struct binding learned = {}, *held;
	struct network *n;

	if (!v || !port || !target)
		return DROP_ND_GUARD;
	n = find_network(port->network);
	held = binding_of(target, port->network);
	if (held)
		return held->ifindex == v->ifindex ? DROP_NONE : DROP_ADDRESS_TAKEN;
	if (!n || !is_claimable(n, target))
		return DROP_ADDRESS_TAKEN;
	if (!port->learnable)
		return DROP_UNKNOWN_IDENTITY;
	if (__sync_fetch_and_add(&port->learned, 1) >= port->learnable) {
		__sync_fetch_and_add(&port->learned, -1);
		return DROP_BINDING_LIMIT;
	}
	learned.network = port->network;
	learned.service = port->service;
	learned.workload = port->workload;
	learned.ifindex = v->ifindex;
	learned.kind = port->kind;
	learned.learned = 1;
	learned.mac = port->mac;
	binding_key_of(&key, target, port->network);
	if (bpf_map_update_elem(&bindings, &key, &learned, BPF_NOEXIST)) {
		__sync_fetch_and_add(&port->learned, -1);
		return DROP_ADDRESS_TAKEN;
	}
	v->packet.saddr = *target;
	v->workload = port->workload;
	emit(skb, v, EVENT_LEARN, DROP_NONE);
	return DROP_NONE;
}

/* Every link-layer address that the message speaks of is the port's. */
__noinline int check_nd_options(struct __sk_buff *skb, __u32 offset, __u32 end,
				const struct port *port)
{
	struct nd_option option;

	if (!port)
		return DROP_ND_GUARD;
	for (int i = 0; i < ND_OPTIONS && offset < end; i++) {
		if (offset + sizeof(option) > end ||
		    bpf_skb_load_bytes(skb, offset, &option, sizeof(option)) || !option.length)
			return DROP_ND_GUARD;
		if ((option.type == ND_OPTION_SOURCE || option.type == ND_OPTION_TARGET) &&
		    (option.length != 1 || !mac_equal(&option.mac, &port->mac)))
			return DROP_ND_GUARD;
		offset += option.length * 8;
	}
	return offset == end ? DROP_NONE : DROP_ND_GUARD;
}

/* What a workload may say in neighbour discovery: solicit, and speak for its own
 * addresses (RFC 4861, 7.1; RFC 6980 forbids fragments). */
__noinline int guard_neighbour(struct __sk_buff *skb, struct visit *v, struct port *port)
{
	struct nd_message nd;
	struct address target;
	struct network *n;
	struct packet *p;
	struct binding *b;
	bool unspecified;
	__u32 end;

	if (!v || !port)
		return DROP_ND_GUARD;
	p = &v->packet;
	end = p->l3_offset + p->length;
	unspecified = is_unspecified(&p->saddr);
	if (p->icmp_type == ICMPV6_ROUTER_ADVERT)
		return DROP_RA_GUARD;
	if (p->icmp_type == ICMPV6_REDIRECT)
		return DROP_REDIRECT_GUARD;
	if (p->hop_limit != ND_HOP_LIMIT || p->fragment != FRAGMENT_NONE || p->icmp_code)
		return DROP_ND_GUARD;
	if (!unspecified) {
		b = binding_of(&p->saddr, port->network);
		if (!b || b->ifindex != v->ifindex)
			return DROP_ND_GUARD;
	}
	n = find_network(port->network);
	if (!n || !is_on_link(n, &p->daddr)) /* else the stack would route it */
		return DROP_ND_GUARD;
	if (p->icmp_type == ICMPV6_ROUTER_SOLICIT)
		return check_nd_options(skb, p->l4_offset + 8, end, port);
	if (p->l4_offset + sizeof(nd) > end ||
	    bpf_skb_load_bytes(skb, p->l4_offset, &nd, sizeof(nd)))
		return DROP_MALFORMED;
	__builtin_memcpy(&target, &nd.target, sizeof(target));
	if (is_multicast(&target))
		return DROP_ND_GUARD;
	if (check_nd_options(skb, p->l4_offset + sizeof(nd), end, port))
		return DROP_ND_GUARD;
	if (p->icmp_type == ICMPV6_NEIGHBOR_SOLICIT)
		return unspecified ? claim_address(skb, v, port, &target) : DROP_NONE;
	b = binding_of(&target, port->network);
	if (unspecified || !b || b->ifindex != v->ifindex)
		return DROP_ND_GUARD;
	return DROP_NONE;
}

/* MLD (RFC 2710, 3810): a report, link-local or before there is an address. */
INLINE enum drop_reason guard_listener(struct visit *v, const struct port *port)
{
	const struct packet *p = &v->packet;
	struct binding *b;

	if (p->icmp_type == ICMPV6_MLD_QUERY || p->hop_limit != 1 || !is_multicast(&p->daddr) ||
	    p->fragment != FRAGMENT_NONE)
		return DROP_MULTICAST;
	if (is_unspecified(&p->saddr))
		return DROP_NONE;
	b = binding_of(&p->saddr, port->network);
	return b && b->ifindex == v->ifindex ? DROP_NONE : DROP_SPOOFED_ADDRESS;
}

#endif
