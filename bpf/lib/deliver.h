/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_DELIVER_H
#define ZOSNET_DELIVER_H

#include "fragment.h"
#include "judge.h"
#include "neighbour.h"
#include "overlay.h"
#include "report.h"
#include "route.h"
#include "track.h"

/* Where a new flow is put together, since the stack is too small. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct flow);
	__uint(max_entries, 1);
} new_flow SEC(".maps");

/* Finds out who has an address, and sets an end of the visit to that. The generation
 * is noted before anything that a verdict is made of: whoever changes that and then
 * counts the generation up finds no verdict of old facts under the new number. Which
 * network's it is has to be looked up first, so that is read twice. */
INLINE struct binding *identify(struct visit *v, struct endpoint *e, const struct address *a,
				__u32 network)
{
	struct binding *b = binding_of(a, network);
	__u32 expected;

	if (!b)
		return NULL;
	expected = b->network;
	e->generation = generation_of(expected);
	read_in_order(v);
	b = binding_of(a, network);
	if (!b || b->network != expected)
		return NULL;
	e->address = *a;
	e->network = b->network;
	e->service = b->service;
	e->ifindex = b->ifindex;
	e->kind = b->kind;
	e->mac = b->mac;
	return b;
}

INLINE __u32 prefix_of(const struct address *a)
{
	struct prefix_key key = {.prefixlen = 128};
	__u32 *kind;

	__builtin_memcpy(&key.address, a, sizeof(key.address));
	kind = bpf_map_lookup_elem(&prefixes, &key);
	return kind ? *kind : 0;
}

/* The known, current flow of this packet may carry it on. */
INLINE bool flow_carries(const struct flow *f, const struct visit *v)
{
	if (f->denied || !flow_current(f) || flow_expired(f, v->key.proto, v->now))
		return false;
	return !is_start(&v->packet) || (from_starter(f, v) && f->state < FLOW_CLOSING);
}

/* Another flow of the same ports begins: from the other end, or after the last. */
INLINE bool begins_another(const struct flow *f, const struct visit *v)
{
	if (!from_starter(f, v))
		return is_start(&v->packet);
	return is_syn(&v->packet) && (f->denied || f->state >= FLOW_CLOSING);
}

INLINE int drop_hop_limit(struct __sk_buff *skb, struct visit *v, __u32 sender_network)
{
	if (sender_network != OUTSIDE) /* its gateway says so */
		return to_kernel(skb);
	return drop(skb, v, DROP_HOP_LIMIT);
}

/* Too big for its hop: the kernel says so, or knows of a wider one. Within one
 * network it has nothing to carry. */
INLINE int carry_too_big(struct __sk_buff *skb, __u32 sender_network, __u32 receiver_network)
{
	return sender_network == receiver_network ? to_kernel(skb)
						  : to_stack(skb, receiver_network);
}

/* Sends a packet that is allowed to its hop. */
INLINE int carry(struct __sk_buff *skb, struct visit *v, const struct next_hop *hop,
		 __u32 sender_network, __u32 receiver_network)
{
	if (hop->routed && v->packet.hop_limit <= 1) {
		v->network = receiver_network;
		return drop_hop_limit(skb, v, sender_network);
	}
	if (!fits(skb, &v->packet, hop)) {
		if (hop->kind == HOP_OVERLAY)
			return to_router(skb, &hop->dmac, receiver_network);
		return carry_too_big(skb, sender_network, receiver_network);
	}
	/* a card's sum over the whole packet (CHECKSUM_COMPLETE) has the hop limit in it */
	if (sender_network == OUTSIDE)
		bpf_csum_update(skb, ~(__u32)bpf_htons(1));
	count_traffic(sender_network, receiver_network, v->length);
	if (hop->kind == HOP_NONE)
		return send_by_neighbour(skb, hop);
	return send(skb, &v->packet, hop, receiver_network);
}

/* Looks the way to the flow's receiver up again, in the kernel's own tables. A hop
 * on an uplink is confirmed by the neighbour code itself. Where an overlay's interface
 * is gone, the kernel may know another. */
__noinline int carry_anew(struct __sk_buff *skb, struct visit *v, struct flow *f)
{
	struct flow_end *to, *from;
	struct next_hop hop = {};
	struct binding *b;
	int reason;

	if (!v || !f)
		return TC_ACT_SHOT;
	to = receiver_of(f, v);
	from = sender_of(f, v);
	v->network = from->network ? from->network : to->network; /* whose drop it may be */
	if (to->network != OUTSIDE) {
		b = binding_of(&v->packet.daddr, to->network);
		if (!b)
			return drop(skb, v, DROP_UNASSIGNED);
		if (b->kind == PORT_OVERLAY) {
			if (hop_to_overlay(skb, v, &hop, b))
				return to_router(skb, &hop.dmac, to->network);
		} else {
			hop_to_workload(&hop, b, from->network);
		}
		to->hop = hop;
		to->ifindex = b->ifindex;
		return carry(skb, v, &hop, from->network, to->network);
	}
	reason = hop_to_world(skb, v, from->network, &hop);
	if (reason)
		return drop(skb, v, reason);
	to->hop = hop;
	hop.kind = HOP_NONE;
	return carry(skb, v, &hop, from->network, OUTSIDE);
}

/* The whole way of an established flow's packet. */
INLINE int deliver(struct __sk_buff *skb, struct visit *v, struct flow *f)
{
	struct flow_end *to = receiver_of(f, v), *from = sender_of(f, v);
	struct node *node = this_node();

	flow_seen(v, f);
	if (v->packet.fragment == FRAGMENT_FIRST)
		fragment_remember(v, to->network ? to->network : from->network);
	if (!node || to->hop.kind == HOP_NONE || to->hop.epoch != node->route_epoch ||
	    (to->hop.kind >= HOP_UPLINK && !is_fresh(&to->hop, v->now)))
		return carry_anew(skb, v, f);
	return carry(skb, v, &to->hop, from->network, to->network);
}

INLINE void end_from(struct flow_end *end, const struct endpoint *e)
{
	end->ifindex = e->ifindex;
	end->network = e->network;
	end->generation = e->generation;
	end->hop.dmac = e->mac;
}

/* Sets both ends of a flow to who they are now. */
INLINE void bind_ends(struct flow *f, const struct visit *v)
{
	end_from(sender_of(f, v), &v->from);
	end_from(receiver_of(f, v), &v->to);
}

/* The port that rules see: the one that the starter calls, or the ICMPv6 type. */
INLINE __be16 rule_port(const struct flow_key *k, bool started_low)
{
	if (k->proto == IPPROTO_ICMPV6 && k->low_port == k->high_port)
		return bpf_htons(ICMPV6_ECHO_REQUEST);
	return started_low ? k->high_port : k->low_port;
}

/* What may not start a flow, whatever the rules say. */
INLINE enum drop_reason check_start(const struct packet *p)
{
	__u8 flags = p->tcp_flags;

	if (p->fragment == FRAGMENT_LATER)
		return DROP_FRAGMENT_WITHOUT_FIRST;
	if (p->proto == IPPROTO_ICMPV6 &&
	    (p->icmp_type == ICMPV6_ECHO_REPLY || p->icmp_type == ICMPV6_NODE_INFO_REPLY))
		return DROP_ICMP_NO_QUERY;
	if (p->proto != IPPROTO_TCP)
		return DROP_NONE;
	if (!(flags & (TCP_SYN | TCP_RST | TCP_ACK)) ||
	    ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST))) ||
	    ((flags & TCP_FIN) && !(flags & TCP_ACK)))
		return DROP_TCP_FLAGS;
	if ((flags & TCP_RST) || ((flags & TCP_SYN) && (flags & TCP_ACK)))
		return DROP_TCP_STATE;
	return DROP_NONE;
}

/* Puts the flow that v->from starts into its room. */
__noinline int start_flow(struct visit *v, __u32 denied)
{
	__u32 zero = 0, owner, share;
	struct flow *f = bpf_map_lookup_elem(&new_flow, &zero);
	struct flow_key key;
	int set;

	if (!v || !f)
		return -1;
	owner = v->from.network ? v->from.network : v->to.network;
	__builtin_memset(f, 0, sizeof(*f));
	bind_ends(f, v);
	f->last_seen = v->now;
	f->owner = owner;
	f->started_low = v->from_low;
	f->denied = !!denied;
	f->state = FLOW_OPENING;
	share = share_of(v->from.network == OUTSIDE, v->packet.proto, f->state);
	set = share_claim(&v->key, owner, share, v->now);
	if (set < 0)
		return -1;
	f->share = share;
	f->set = set;
	key = v->key;
	return bpf_map_update_elem(&flows, &key, f, BPF_ANY);
}

INLINE int log_verdict(struct __sk_buff *skb, struct visit *v, const struct verdict *verdict)
{
	v->entry = verdict->entry;
	v->judge = verdict->network;
	if (!v->network)
		v->network = verdict->network;
	if (verdict->log)
		emit(skb, v, EVENT_LOG, verdict->allow ? DROP_NONE : verdict->reason);
	return 0;
}

/* A packet without a flow: judged, and if allowed the flow starts here. */
__noinline int deliver_new(struct __sk_buff *skb, struct visit *v)
{
	struct verdict verdict = {};
	struct flow *f;
	int reason;

	if (!v)
		return TC_ACT_SHOT;
	reason = check_start(&v->packet);
	if (reason)
		return drop(skb, v, reason);
	judge(v, false, rule_port(&v->key, v->from_low), &verdict);
	log_verdict(skb, v, &verdict);
	if (!verdict.allow) {
		/* else the other side's next segment would start it from there */
		if (v->packet.proto == IPPROTO_TCP && !is_syn(&v->packet))
			start_flow(v, true);
		return drop(skb, v, verdict.reason);
	}
	if (start_flow(v, false))
		return drop(skb, v, DROP_FLOW_LIMIT);
	f = find_flow(&v->key);
	if (!f)
		return drop(skb, v, DROP_FLOW_LIMIT);
	return deliver(skb, v, f);
}

/* A packet of a flow that was judged by other rules, or that is refused: judged
 * again as its starter began it. */
__noinline int deliver_again(struct __sk_buff *skb, struct visit *v, struct flow *f)
{
	struct verdict verdict = {.reason = DROP_FLOW_DENIED};

	if (!v || !f)
		return TC_ACT_SHOT;
	if (!flow_current(f)) {
		judge(v, !from_starter(f, v), rule_port(&v->key, f->started_low), &verdict);
		log_verdict(skb, v, &verdict);
		f->denied = !verdict.allow;
	}
	bind_ends(f, v);
	f->low.hop.kind = HOP_NONE;
	f->high.hop.kind = HOP_NONE;
	if (!f->denied)
		return deliver(skb, v, f);
	f->last_seen = v->now;
	return drop(skb, v, verdict.reason);
}

/* Everything that is not the plain next packet of a known flow, once its sender
 * and receiver are known. */
INLINE int deliver_judged(struct __sk_buff *skb, struct visit *v)
{
	struct flow *f;

	flow_key_of(v, zone_of(&v->packet.saddr, &v->packet.daddr, v->from.network));
	f = find_flow(&v->key);
	if (!f || flow_expired(f, v->key.proto, v->now))
		return deliver_new(skb, v);
	if (begins_another(f, v))
		return deliver_new(skb, v);
	return deliver_again(skb, v, f);
}

/* Whether an ICMP error is about a flow that is allowed, and goes to who sent the
 * packet that it quotes. Only from where that packet went can it come: from the
 * workload itself, from the overlay, from anywhere outside (a router on the way), or,
 * when the node speaks, from here. */
__noinline int quotes_flow(struct __sk_buff *skb, struct visit *v, __u32 network)
{
	struct flow_end *end;
	struct visit *quoted;
	struct flow *f;
	struct span s;
	__u32 want;
	bool heard;

	if (!v || v->packet.fragment != FRAGMENT_NONE)
		return 0;
	quoted = visit_begin(VISIT_QUOTED, v->hook, v->ifindex, 0);
	if (!quoted)
		return 0;
	want = v->packet.l4_offset + sizeof(struct icmp_header) + PARSE_BYTES;
	bpf_skb_pull_data(skb, want < skb->len ? want : skb->len);
	s.data = (void *)(long)skb->data;
	s.end = (void *)(long)skb->data_end;
	if (parse_quoted(&s, &v->packet, &quoted->packet) ||
	    quoted->packet.fragment == FRAGMENT_LATER ||
	    !address_equal(&quoted->packet.saddr, &v->packet.daddr))
		return 0;
	flow_key_of(quoted, zone_of(&quoted->packet.saddr, &quoted->packet.daddr, network));
	f = bpf_map_lookup_elem(&flows, &quoted->key);
	if (!f)
		return 0;
	heard = v->hook != HOOK_UPLINK_EGRESS && v->hook != HOOK_OVERLAY_EGRESS;
	end = heard ? receiver_of(f, quoted) : sender_of(f, quoted);
	if (end->ifindex != (network == OUTSIDE ? 0 : v->ifindex) &&
	    !(!link_header && same_overlay(end->ifindex, v->ifindex)))
		return 0;
	return !f->denied && flow_current(f) && !flow_expired(f, quoted->key.proto, v->now);
}

/* An ICMPv6 error about an allowed flow reaches that flow's end (RFC 4890, 4.3.1). */
__noinline int deliver_error(struct __sk_buff *skb, struct visit *v, __u32 network)
{
	struct next_hop hop = {};
	struct binding *b;
	int reason;

	if (!v)
		return TC_ACT_SHOT;
	if (!quotes_flow(skb, v, network))
		return drop(skb, v, DROP_ICMP_UNRELATED);
	b = binding_of(&v->packet.daddr, network);
	if (is_link_local(&v->packet.saddr) &&
	    (!b || b->network != network || b->kind == PORT_OVERLAY))
		return drop(skb, v, DROP_ICMP_UNRELATED);
	if (b && b->kind == PORT_OVERLAY) {
		if (b->network != network)
			return drop(skb, v, DROP_ICMP_UNRELATED);
		if (hop_to_overlay(skb, v, &hop, b))
			return to_router(skb, &hop.dmac, network);
		return carry(skb, v, &hop, network, network);
	}
	if (b) {
		hop_to_workload(&hop, b, network);
		return carry(skb, v, &hop, network, b->network);
	}
	if (network == OUTSIDE)
		return drop(skb, v, DROP_UNASSIGNED);
	reason = hop_to_world(skb, v, network, &hop);
	if (reason)
		return drop(skb, v, reason);
	return carry(skb, v, &hop, network, OUTSIDE);
}

#endif
