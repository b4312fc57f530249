/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_REPORT_H
#define ZOSNET_REPORT_H

#include "visit.h"

INLINE void count(struct counter *c, __u32 bytes)
{
	c->packets++;
	c->bytes += bytes;
}

INLINE void count_drop(__u32 network, enum drop_reason reason, __u32 bytes)
{
	struct drop_key key = {.network = network, .reason = reason};
	struct counter *c, first = {.packets = 1, .bytes = bytes};

	c = bpf_map_lookup_elem(&drops, &key);
	if (c)
		count(c, bytes);
	else
		bpf_map_update_elem(&drops, &key, &first, BPF_NOEXIST);
}

/* Counts a packet where it comes from and where it goes, but not outside. */
INLINE void count_traffic(__u32 sender, __u32 receiver, __u32 bytes)
{
	struct traffic *t = NULL;

	if (sender != OUTSIDE) {
		t = bpf_map_lookup_elem(&traffic, &sender);
		if (t)
			count(&t->egress, bytes);
	}
	if (receiver == OUTSIDE)
		return;
	if (receiver != sender)
		t = bpf_map_lookup_elem(&traffic, &receiver);
	if (t)
		count(&t->ingress, bytes);
}

INLINE void count_lost(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&events_lost, &zero);

	if (n)
		(*n)++;
}

INLINE void fill_event(struct event *e, const struct visit *v, enum event_kind kind,
		       enum drop_reason reason)
{
	const struct packet *p = &v->packet;

	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_boot_ns();
	e->saddr = p->saddr;
	e->daddr = p->daddr;
	e->kind = kind;
	e->reason = reason;
	e->hook = v->hook;
	e->ifindex = v->ifindex;
	e->network = v->network;
	e->entry = v->entry;
	e->judge = v->judge;
	e->workload = v->workload;
	e->length = v->length;
	e->sport = p->sport;
	e->dport = p->dport;
	e->proto = p->proto;
	e->icmp_type = p->icmp_type;
	e->mac = p->smac;
	e->ether_type = p->ether_type;
	e->link_header = link_header;
}

/* Where the last byte of a frame is that an event takes. 6.1's verifier wants to see
 * that no frame has 0 bytes, which it does not learn from a comparison with 0: what is
 * clamped is the last byte's place. */
INLINE __u32 last_captured(__u32 length)
{
	__u32 last = length - 1;

	barrier_var(last);
	return last < EVENT_BYTES ? last : EVENT_BYTES - 1;
}

__noinline int emit(struct __sk_buff *skb, struct visit *v, __u32 kind, __u32 reason)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	__u32 last;

	if (!e) {
		count_lost();
		return 0;
	}
	if (!v) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	fill_event(e, v, kind, reason);
	e->allowed = kind == EVENT_LOG && !reason;
	last = last_captured(skb->len);
	if (!bpf_skb_load_bytes(skb, 0, e->head, last + 1))
		e->captured = last + 1;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Counts a drop, and shows it where somebody watches. */
__noinline int drop(struct __sk_buff *skb, struct visit *v, __u32 reason)
{
	struct node *n = this_node();

	if (!v)
		return TC_ACT_SHOT;
	count_drop(v->network, reason, v->length);
	if (n && n->watched)
		emit(skb, v, EVENT_DROP, reason);
	return TC_ACT_SHOT;
}

#endif
