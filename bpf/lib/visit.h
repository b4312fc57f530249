/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_VISIT_H
#define ZOSNET_VISIT_H

#include <linux/pkt_cls.h>

#include "maps.h"
#include "parse.h"

#define NO_ENTRY (~0U)

/* One packet's visit to one program. It lies in a map, since the stack is small. */
struct visit {
	struct packet packet;
	struct flow_key key;
	struct endpoint from; /* set once the packet is judged */
	struct endpoint to;
	__u64 now;  /* ns, coarse monotonic, once visit_now was asked */
	__u64 tick; /* jiffies at now; both outlive the visit */
	__u32 hook; /* enum hook */
	__u32 ifindex;
	__u32 network;	/* 0 until it is known */
	__u32 entry;	/* policy entry that decided, or NO_ENTRY */
	__u32 judge;	/* network of that entry */
	__u32 workload; /* that an address was learned of */
	__u32 length;	/* bytes of the frame */
	__u32 order;	/* see read_in_order */
	bool from_low;	/* the sender is the low end of key */
};

enum visit_slot {
	VISIT_PACKET,
	VISIT_QUOTED, /* what an ICMP error quotes */
	VISIT_SLOTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct visit);
	__uint(max_entries, VISIT_SLOTS);
} visits SEC(".maps");

INLINE struct visit *visit_begin(__u32 slot, __u32 hook, __u32 ifindex, __u32 length)
{
	struct visit *v = bpf_map_lookup_elem(&visits, &slot);

	if (!v)
		return NULL;
	__builtin_memset(&v->packet, 0, sizeof(v->packet));
	v->hook = hook;
	v->ifindex = ifindex;
	v->length = length;
	v->network = OUTSIDE;
	v->entry = NO_ENTRY;
	v->judge = OUTSIDE;
	v->workload = 0;
	return v;
}

/* The time of the visit. The coarse clock goes on with each tick, so it is read once
 * in a tick: reading jiffies is one instruction, the clock some calls. */
INLINE __u64 visit_now(struct visit *v)
{
	__u64 tick = bpf_jiffies64();

	if (v->tick != tick) {
		v->tick = tick;
		v->now = bpf_ktime_get_coarse_ns();
	}
	return v->now;
}

/* What is read after this is not read before it: an exchange is a full barrier on
 * every processor. */
INLINE void read_in_order(struct visit *v)
{
	__sync_lock_test_and_set(&v->order, 1);
}

INLINE struct node *this_node(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&node, &zero);
}

/* These copy their keys to the stack. What a function of its own gets a pointer to
 * is plain memory to the verifier, and 6.1's takes that for no map's key. */
INLINE struct port *find_port(__u32 ifindex)
{
	return bpf_map_lookup_elem(&ports, &ifindex);
}

INLINE struct overlay *find_overlay(__u32 ifindex)
{
	return bpf_map_lookup_elem(&overlays, &ifindex);
}

/* Both interfaces are overlays, and of one network. */
INLINE bool same_overlay(__u32 ifindex, __u32 other)
{
	struct overlay *a = find_overlay(ifindex), *b = find_overlay(other);

	return a && b && a->network == b->network;
}

INLINE struct network *find_network(__u32 network)
{
	return bpf_map_lookup_elem(&networks, &network);
}

INLINE struct flow *find_flow(const struct flow_key *key)
{
	struct flow_key copy = *key;

	return bpf_map_lookup_elem(&flows, &copy);
}

#define PLAIN_HEADERS (sizeof(struct ipv6hdr) + sizeof(struct tcp_header))

/* The part of the frame that the parser may need is linear. Most frames have
 * their headers there; only those with extension headers may need more. */
INLINE bool is_linear(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip6 = data + link_header;

	if (end - data == skb->len || data + PARSE_BYTES <= end)
		return true;
	if ((void *)ip6 + PLAIN_HEADERS > end)
		return false;
	return ip6->nexthdr == IPPROTO_TCP || ip6->nexthdr == IPPROTO_UDP;
}

/* Parses the frame, and sets the visit's time. */
INLINE enum drop_reason visit_skb(struct __sk_buff *skb, struct visit *v)
{
	struct span s;

	visit_now(v);
	if (!is_linear(skb))
		bpf_skb_pull_data(skb, skb->len < PARSE_BYTES ? skb->len : PARSE_BYTES);
	s.data = (void *)(long)skb->data;
	s.end = (void *)(long)skb->data_end;
	return parse(&s, &v->packet, skb->len);
}

#endif
