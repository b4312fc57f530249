/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_JUDGE_H
#define ZOSNET_JUDGE_H

#include "visit.h"

/* Never written; not const, since a function of its own takes only memory that
 * it may write. */
struct policy_vector no_entries;

INLINE const struct policy_vector *vector(struct policy_key *key, __u32 dimension, __u32 class)
{
	const struct policy_vector *vec;

	key->dimension = dimension;
	key->class = class;
	vec = bpf_map_lookup_elem(&policy_vectors, key);
	return vec ? vec : &no_entries;
}

/* Entries that name the endpoint's service; another network's only where an
 * entry names it, else it is like everybody outside. */
INLINE const struct policy_vector *service_vector(struct policy_key *key, __u32 dimension,
						  const struct endpoint *e)
{
	const struct policy_vector *vec;

	if (e->network == key->network)
		return vector(key, dimension, e->service);
	if (e->network != OUTSIDE) {
		vec = vector(key, dimension, e->service);
		if (vec->summary)
			return vec;
	}
	return vector(key, dimension, 0);
}

/* Entries that name the endpoint's address. */
INLINE const struct policy_vector *cidr_vector(struct policy_key *key, __u32 dimension,
					       const struct address *a)
{
	struct policy_cidr_key cidr = {
		.prefixlen = 192,
		.network = bpf_htonl(key->network),
		.policy = bpf_htonl(key->policy),
	};
	__u32 *class;

	__builtin_memcpy(&cidr.address, a, sizeof(cidr.address));
	class = bpf_map_lookup_elem(&policy_cidrs, &cidr);
	return class ? vector(key, dimension, *class) : &no_entries;
}

INLINE const struct policy_vector *port_vector(struct policy_key *key, __u32 proto, __be16 port)
{
	struct policy_port_key ports = {
		.prefixlen = 96,
		.network = bpf_htonl(key->network),
		.policy = bpf_htonl(key->policy),
		.proto = bpf_htons(proto),
		.port = port,
	};
	__u32 *class;

	class = bpf_map_lookup_elem(&policy_ports, &ports);
	return class ? vector(key, POLICY_PORT, *class) : &no_entries;
}

/* 64-bit De Bruijn sequence: the top six bits of its product with a power of two
 * are different for each. A table costs the verifier nothing, branches do. */
#define DE_BRUIJN 0x03f79d71b4cb0a89ULL

static const __u8 de_bruijn[64] = {
	0,  1,	48, 2,	57, 49, 28, 3,	61, 58, 50, 42, 38, 29, 17, 4,	62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,	63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,	13, 8,	7,  6,
};

/* The number of the lowest bit that is set; word is not 0. */
INLINE __u32 lowest(__u64 word)
{
	return de_bruijn[(word & -word) * DE_BRUIJN >> 58];
}

/* The first entry that all dimensions have, or NO_ENTRY. Not static: the verifier
 * then checks it once instead of once for each mix of arguments. */
__noinline __u32 first_entry(const struct policy_vector *from_service,
			     const struct policy_vector *from_cidr,
			     const struct policy_vector *to_service,
			     const struct policy_vector *to_cidr, const struct policy_vector *port)
{
	__u64 left;

	if (!from_service || !from_cidr || !to_service || !to_cidr || !port)
		return NO_ENTRY;
	left = (from_service->summary | from_cidr->summary) &
	       (to_service->summary | to_cidr->summary) & port->summary;
	for (int i = 0; i < POLICY_WORDS; i++) {
		__u64 word;
		__u32 w;

		if (!left)
			break;
		w = lowest(left);
		barrier_var(w); /* clang 19 knows the table, and would drop the mask */
		w &= POLICY_WORDS - 1;
		word = (from_service->words[w] | from_cidr->words[w]) &
		       (to_service->words[w] | to_cidr->words[w]) & port->words[w];
		if (word)
			return w * 64 + lowest(word);
		left &= left - 1;
	}
	return NO_ENTRY;
}

INLINE bool has_entry(const struct policy_vector *vec, __u32 entry)
{
	return vec->words[entry / 64 & (POLICY_WORDS - 1)] >> (entry & 63) & 1;
}

INLINE void count_rule(__u32 network, __u32 entry)
{
	struct rule_key key = {.network = network, .entry = entry};
	struct rule_count *c, first = {.flows = 1};

	c = bpf_map_lookup_elem(&rule_counts, &key);
	if (c)
		c->flows++;
	else
		bpf_map_update_elem(&rule_counts, &key, &first, BPF_NOEXIST);
}

/* One network's rules on the flow that v->from starts to v->to, or if swapped is
 * set the other way round; port is what the starter calls, or the ICMPv6 type.
 * What is not allowed is denied. */
__noinline int judge_side(struct visit *v, __u32 network, __u32 swapped, __u32 port,
			  struct verdict *out)
{
	const struct policy_vector *from_cidr = &no_entries, *to_cidr = &no_entries;
	const struct policy_vector *from_service, *to_service, *ports;
	struct network *n = bpf_map_lookup_elem(&networks, &network);
	struct policy_key key = {.network = network};
	struct endpoint *from, *to;

	if (!v || !out)
		return 0;
	from = swapped ? &v->to : &v->from;
	to = swapped ? &v->from : &v->to;
	out->network = network;
	out->entry = NO_ENTRY;
	out->allow = false;
	out->log = false;
	if (!n || !n->policy)
		return 0;
	key.policy = n->policy;
	from_service = service_vector(&key, POLICY_FROM_SERVICE, from);
	to_service = service_vector(&key, POLICY_TO_SERVICE, to);
	if (n->flags & NETWORK_HAS_CIDRS) {
		from_cidr = cidr_vector(&key, POLICY_FROM_CIDR, &from->address);
		to_cidr = cidr_vector(&key, POLICY_TO_CIDR, &to->address);
	}
	ports = port_vector(&key, v->key.proto, port);
	out->entry = first_entry(from_service, from_cidr, to_service, to_cidr, ports);
	if (out->entry == NO_ENTRY)
		return 0;
	out->allow = has_entry(vector(&key, POLICY_ALLOW, 0), out->entry);
	if (n->flags & NETWORK_HAS_LOGS)
		out->log = has_entry(vector(&key, POLICY_LOG, 0), out->entry);
	count_rule(network, out->entry);
	return 0;
}

/* Both networks' rules on the flow that v->from starts (v->to, if swapped). */
INLINE void judge(struct visit *v, bool swapped, __be16 port, struct verdict *out)
{
	__u32 from = swapped ? v->to.network : v->from.network;
	__u32 to = swapped ? v->from.network : v->to.network;

	if (from == to) {
		judge_side(v, from, swapped, port, out);
		out->reason = DROP_POLICY_INSIDE;
		return;
	}
	if (from != OUTSIDE) {
		judge_side(v, from, swapped, port, out);
		out->reason = DROP_POLICY_OUTBOUND;
		if (!out->allow)
			return;
	}
	if (to != OUTSIDE) {
		judge_side(v, to, swapped, port, out);
		out->reason = DROP_POLICY_INBOUND;
	}
}

#endif
