/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_FRAGMENT_H
#define ZOSNET_FRAGMENT_H

#include "visit.h"

INLINE void fragment_slot(const struct packet *p, __u32 network, struct fragment_key *key)
{
	const __u32 *s = (const void *)&p->saddr, *d = (const void *)&p->daddr;
	__u32 h = p->fragment_id * 0x9e3779b1 ^ s[3] * 0x85ebca6b ^ d[3] * 0xc2b2ae35;

	key->network = network;
	key->slot = (h ^ h >> 16) & (FRAGMENT_SLOTS - 1);
}

/* Remembers the ports of a first fragment that was let through. */
__noinline int fragment_remember(struct visit *v, __u32 network)
{
	struct fragment_key key;
	struct fragment f = {};
	struct packet *p;

	if (!v)
		return -1;
	p = &v->packet;
	f.saddr = p->saddr;
	f.daddr = p->daddr;
	f.seen = visit_now(v);
	f.id = p->fragment_id;
	f.sport = p->sport;
	f.dport = p->dport;
	f.proto = p->proto;
	f.icmp_type = p->icmp_type;
	f.headers = p->fragment_offset;
	fragment_slot(p, network, &key);
	return bpf_map_update_elem(&fragments, &key, &f, BPF_ANY);
}

/* Gives a later fragment the ports of its first. One that reaches into the headers
 * there is none of its (RFC 5722). */
__noinline int fragment_recall(struct visit *v, __u32 network)
{
	struct fragment_key key;
	struct fragment *f;
	struct packet *p;

	if (!v)
		return DROP_FRAGMENT_WITHOUT_FIRST;
	p = &v->packet;
	fragment_slot(p, network, &key);
	f = bpf_map_lookup_elem(&fragments, &key);
	if (!f || f->id != p->fragment_id ||
	    (__s64)(visit_now(v) - f->seen) > (__s64)timeout.fragment ||
	    !address_equal(&f->saddr, &p->saddr) || !address_equal(&f->daddr, &p->daddr))
		return DROP_FRAGMENT_WITHOUT_FIRST;
	if (p->fragment_offset < f->headers)
		return DROP_FRAGMENT_OVERLAP;
	p->proto = f->proto; /* a later fragment may name an extension header */
	p->sport = f->sport;
	p->dport = f->dport;
	p->icmp_type = f->icmp_type;
	return DROP_NONE;
}

#endif
