/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_TRACK_H
#define ZOSNET_TRACK_H

#include "visit.h"

INLINE __u64 flow_timeout(__u32 proto, __u32 state)
{
	if (proto == IPPROTO_TCP) {
		if (state == FLOW_ESTABLISHED)
			return timeout.tcp_established;
		if (state == FLOW_CLOSING)
			return timeout.tcp_closing;
		if (state == FLOW_CLOSED)
			return timeout.tcp_closed;
		return timeout.tcp_opening;
	}
	if (proto == IPPROTO_ICMPV6 || proto == IPPROTO_ICMP)
		return timeout.icmp;
	return state == FLOW_OPENING ? timeout.other_opening : timeout.other;
}

INLINE bool flow_expired(const struct flow *f, __u32 proto, __u64 now)
{
	__u64 idle = f->denied ? timeout.denied : flow_timeout(proto, f->state);

	return (__s64)(now - f->last_seen) > (__s64)idle;
}

/* The key of the packet's flow. Any order of the two ends will do, so the one
 * that costs least is taken. */
INLINE void flow_key_of(struct visit *v, __u32 zone)
{
	const struct packet *p = &v->packet;
	const __u64 *s = (const void *)&p->saddr, *d = (const void *)&p->daddr;
	struct flow_key *k = &v->key;

	v->from_low = s[1] != d[1] ? s[1] < d[1] : s[0] < d[0];
	if (v->from_low) {
		k->low = p->saddr;
		k->high = p->daddr;
		k->low_port = p->sport;
		k->high_port = p->dport;
	} else {
		k->low = p->daddr;
		k->high = p->saddr;
		k->low_port = p->dport;
		k->high_port = p->sport;
	}
	k->zone = zone;
	k->proto = p->proto;
	k->reserved = 0;
}

INLINE struct flow_end *sender_of(struct flow *f, const struct visit *v)
{
	return v->from_low ? &f->low : &f->high;
}

INLINE struct flow_end *receiver_of(struct flow *f, const struct visit *v)
{
	return v->from_low ? &f->high : &f->low;
}

INLINE bool from_starter(const struct flow *f, const struct visit *v)
{
	return !!f->started_low == v->from_low;
}

INLINE bool is_syn(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* A packet with which only who starts a flow can begin. */
INLINE bool is_start(const struct packet *p)
{
	return is_syn(p) || p->icmp_type == ICMPV6_ECHO_REQUEST;
}

INLINE __u32 generation_of(__u32 network)
{
	struct network *n = bpf_map_lookup_elem(&networks, &network);

	return n ? n->generation : 0;
}

/* Judged by the rules of now, on both sides. */
INLINE bool flow_current(const struct flow *f)
{
	__u32 low = generation_of(f->low.network);

	if (f->low.network == f->high.network)
		return f->low.generation == low && f->high.generation == low;
	return f->low.generation == low && f->high.generation == generation_of(f->high.network);
}

/* Takes the way of the next set of a share that is free, expired or idle the
 * longest, for key. Gives the set, or -1. CPUs take different sets, so that two
 * do not meet in one unless a whole share goes round in between. */
__noinline int share_claim(const struct flow_key *key, __u32 network, __u32 share, __u64 now)
{
	struct network *n = bpf_map_lookup_elem(&networks, &network);
	struct flow_hands *hands = bpf_map_lookup_elem(&flow_hands, &network);
	struct flow_set_key set_key = {.network = network, .share = share};
	static const struct flow_set empty;
	struct flow_set *set;
	__u64 oldest = ~0ULL;
	__u32 way = 0;

	if (!key || !n || !hands || !n->flow_sets)
		return -1;
	/* Checked right before its use, from one register: what clang puts aside on
	 * the stack in between, 6.1's verifier forgets the bounds of. */
	barrier_var(share);
	if (share >= FLOW_SHARES)
		return -1;
	set_key.set = __sync_fetch_and_add(&hands->next[share], 1) & (n->flow_sets - 1);
	set = bpf_map_lookup_elem(&flow_sets, &set_key);
	if (!set) {
		bpf_map_update_elem(&flow_sets, &set_key, &empty, BPF_NOEXIST);
		set = bpf_map_lookup_elem(&flow_sets, &set_key);
		if (!set)
			return -1;
	}
	for (__u32 i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = NULL;

		if (set->ways[i].proto)
			f = bpf_map_lookup_elem(&flows, &set->ways[i]);
		if (!f || f->owner != network || f->share != share || f->set != set_key.set) {
			way = i;
			oldest = 0;
			break;
		}
		if (flow_expired(f, set->ways[i].proto, now)) {
			way = i;
			oldest = 1;
			break;
		}
		if (f->last_seen < oldest) {
			oldest = f->last_seen;
			way = i;
		}
	}
	if (way >= FLOW_WAYS)
		return -1;
	if (oldest)
		bpf_map_delete_elem(&flows, &set->ways[way]);
	set->ways[way] = *key;
	return set_key.set;
}

INLINE __u32 share_of(bool inbound, __u32 proto, __u32 state)
{
	__u32 share = SHARE_OPENING_IN;

	if (state >= FLOW_ESTABLISHED)
		share = proto == IPPROTO_TCP ? SHARE_TCP_IN : SHARE_OTHER_IN;
	return inbound ? share : share + 1;
}

INLINE bool started_inbound(const struct flow *f)
{
	return !(f->share & 1);
}

/* Moves a flow that has proved itself out of the room for unanswered ones. */
__noinline int flow_promote(struct visit *v, struct flow *f)
{
	__u32 share;
	int set;

	if (!v || !f)
		return -1;
	share = share_of(started_inbound(f), v->key.proto, FLOW_ESTABLISHED);
	set = share_claim(&v->key, f->owner, share, v->now);
	if (set < 0)
		return -1;
	f->set = set;
	f->share = share;
	f->state = FLOW_ESTABLISHED;
	return 0;
}

#define TCP_WINDOW 65536 /* without scaling */

/* A stranger's RST or FIN counts only with a number that the other end waits for,
 * or little more (RFC 5961, 3.2). Else who guesses the ports could have a
 * connection forgotten that its ends go on with. */
INLINE bool may_end(struct flow *f, const struct visit *v)
{
	__u32 awaited = bpf_ntohl(receiver_of(f, v)->acknowledged);

	return sender_of(f, v)->ifindex || bpf_ntohl(v->packet.sequence) - awaited < TCP_WINDOW;
}

/* TCP's states, as far as a middle needs them. An opening flow is established
 * when the starter acknowledges the answer's sequence number: a stranger who
 * forges his address has not seen it. One that was picked up in the middle is
 * when the other end acknowledges too, which it does for a real connection only. */
INLINE void flow_tcp(struct visit *v, struct flow *f)
{
	const struct packet *p = &v->packet;

	if (p->tcp_flags & (TCP_RST | TCP_FIN)) {
		__u8 state = p->tcp_flags & TCP_RST ? FLOW_CLOSED : FLOW_CLOSING;

		if (f->state < state && may_end(f, v))
			f->state = state;
	} else if (f->state == FLOW_OPENING || f->state == FLOW_ANSWERED) {
		bool answer = !from_starter(f, v), ack = p->tcp_flags & TCP_ACK;

		if (answer && ack && (p->tcp_flags & TCP_SYN)) {
			f->sequence = bpf_ntohl(p->sequence) + 1;
			f->state = FLOW_ANSWERED;
		} else if (ack &&
			   (f->state == FLOW_OPENING
				    ? answer
				    : !answer && bpf_ntohl(p->acknowledged) == f->sequence)) {
			flow_promote(v, f);
		}
	}
}

/* Question, answer, and on: a stranger who forges his address sees no answer, so
 * that alone counts for nothing. One-way packets of a workload's own are as good as
 * answered after 16. */
INLINE void flow_exchange(struct visit *v, struct flow *f)
{
	if (!from_starter(f, v))
		f->state = FLOW_ANSWERED;
	else if (f->state == FLOW_ANSWERED ||
		 (sender_of(f, v)->packets > 16 && !started_inbound(f)))
		flow_promote(v, f);
}

/* Counts the packet in its flow and moves the flow's state. */
INLINE void flow_seen(struct visit *v, struct flow *f)
{
	struct flow_end *from = sender_of(f, v);

	f->last_seen = v->now;
	from->packets++;
	from->bytes += v->length;
	if (v->packet.proto == IPPROTO_TCP) {
		from->acknowledged = v->packet.acknowledged;
		if (f->state != FLOW_ESTABLISHED || (v->packet.tcp_flags & (TCP_FIN | TCP_RST)))
			flow_tcp(v, f);
		return;
	}
	if (f->state < FLOW_ESTABLISHED && v->packet.fragment != FRAGMENT_LATER)
		flow_exchange(v, f);
}

#endif
