// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What comes from a network's other nodes and access devices and goes to them, through
 * an interface without a link header (link_header is 0). */
#include "lib/deliver.h"
#include "lib/mss.h"

INLINE bool is_tcp_syn(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN);
}

/* The packet is in a form that an overlay carries at all. */
INLINE enum drop_reason check_packet(const struct packet *p)
{
	if (p->ether_type != ETHERTYPE_IPV6)
		return DROP_NOT_IPV6;
	if (is_neighbour_discovery(p)) /* never leaves its link: RFC 4890, 4.3.4 */
		return DROP_ND_GUARD;
	if (is_multicast_listener(p) || is_multicast(&p->daddr))
		return DROP_MULTICAST;
	return DROP_NONE;
}

/* The source is a workload's that is behind an overlay of this network. Who sends an
 * error may be a router on the way, so its source has only to be nobody else's. */
INLINE enum drop_reason check_remote(struct visit *v, __u32 network)
{
	const struct address *a = &v->packet.saddr;
	struct binding *b;

	if (is_bogus_source(a))
		return DROP_SPOOFED_ADDRESS;
	b = identify(v, &v->from, a, OUTSIDE);
	if (!b) {
		if (prefix_of(a))
			return DROP_SPOOFED_ADDRESS;
		return v->packet.icmp_error ? DROP_NONE : DROP_UNKNOWN_IDENTITY;
	}
	if (b->network != network || b->kind != PORT_OVERLAY)
		return DROP_SPOOFED_ADDRESS;
	return DROP_NONE;
}

/* The packet is for a workload of this network on this node or, where nodes that do
 * not reach each other meet here, on another. */
INLINE enum drop_reason find_receiver(struct visit *v, const struct overlay *o)
{
	const struct address *a = &v->packet.daddr;
	struct network *n = find_network(o->network);
	struct binding *b;

	if (is_link_local(a))
		return DROP_NO_ROUTE;
	b = identify(v, &v->to, a, OUTSIDE);
	if (b && (b->network != o->network || (b->kind == PORT_OVERLAY && !o->relay)))
		return DROP_NO_ROUTE;
	if (b)
		return address_equal(a, &v->packet.saddr) ? DROP_SPOOFED_ADDRESS : DROP_NONE;
	if (n && is_gateway(n, a))
		return DROP_HOST;
	switch (prefix_of(a)) {
	case PREFIX_TENANT:
		return DROP_UNASSIGNED;
	case PREFIX_NODE:
		return DROP_HOST;
	}
	return DROP_NO_ROUTE;
}

/* An access device pings the gateway of the /64 that it has its address in. */
INLINE bool pings_gateway(const struct packet *p, const struct overlay *o)
{
	struct network *n = find_network(o->network);

	return o->entrance && n && p->proto == IPPROTO_ICMPV6 &&
	       p->icmp_type == ICMPV6_ECHO_REQUEST && address_equal(&p->daddr, &n->gateway);
}

/* Everything that is not the next packet of a known flow. */
__noinline int overlay_judge(struct __sk_buff *skb, struct visit *v, __u32 reason)
{
	struct overlay *o;

	if (!v)
		return TC_ACT_SHOT;
	o = find_overlay(v->ifindex);
	if (!o)
		return drop(skb, v, DROP_UNKNOWN_PORT);
	v->network = o->network;
	if (!reason)
		reason = check_packet(&v->packet);
	if (!reason)
		reason = check_remote(v, o->network);
	if (!reason && pings_gateway(&v->packet, o))
		return to_kernel(skb);
	if (!reason)
		reason = find_receiver(v, o);
	if (reason)
		return drop(skb, v, reason);
	if (v->packet.icmp_error)
		return deliver_error(skb, v, o->network);
	if (v->packet.fragment == FRAGMENT_LATER) {
		reason = fragment_recall(v, o->network);
		if (reason)
			return drop(skb, v, reason);
	}
	return deliver_judged(skb, v);
}

/* The flow's sender is behind this interface, or behind the network's other one. */
INLINE bool sent_over(const struct flow_end *end, const struct visit *v)
{
	return end->ifindex == v->ifindex || same_overlay(end->ifindex, v->ifindex);
}

SEC("tc")
int overlay_ingress(struct __sk_buff *skb)
{
	struct visit *v = visit_begin(VISIT_PACKET, HOOK_OVERLAY_INGRESS, skb->ifindex, skb->len);
	enum drop_reason reason;
	struct flow *f;

	if (!v)
		return TC_ACT_SHOT;
	skb->mark = 0;
	reason = visit_skb(skb, v);
	if (reason || v->packet.fragment == FRAGMENT_LATER)
		return overlay_judge(skb, v, reason);
	if (is_tcp_syn(&v->packet))
		clamp_mss(skb, v);
	flow_key_of(v, 0);
	f = bpf_map_lookup_elem(&flows, &v->key);
	if (f && sent_over(sender_of(f, v), v) && flow_carries(f, v))
		return deliver(skb, v, f);
	return overlay_judge(skb, v, DROP_NONE);
}

/* The kernel answers what a remote workload sent: that it is too big, or that its
 * hop limit is used up. It does so as the network's gateway (RFC 4443, 3.2 and 3.3). */
__noinline int answer_as_gateway(struct __sk_buff *skb, struct visit *v, __u32 network)
{
	struct network *n = find_network(network);
	struct address gateway;
	__u32 source, checksum;
	__s64 difference;

	if (!v || !n || !v->packet.icmp_error || v->packet.proto != IPPROTO_ICMPV6)
		return DROP_UNJUDGED;
	if (!quotes_flow(skb, v, network))
		return DROP_UNJUDGED;
	gateway = n->gateway;
	if (address_equal(&v->packet.saddr, &gateway))
		return DROP_NONE;
	source = v->packet.l3_offset + __builtin_offsetof(struct ipv6hdr, saddr);
	checksum = v->packet.l4_offset + __builtin_offsetof(struct icmp_header, checksum);
	difference = bpf_csum_diff((void *)&v->packet.saddr, sizeof(v->packet.saddr),
				   (void *)&gateway, sizeof(gateway), 0);
	if (bpf_skb_store_bytes(skb, source, &gateway, sizeof(gateway), 0) ||
	    bpf_l4_csum_replace(skb, checksum, 0, difference, BPF_F_PSEUDO_HDR))
		return DROP_UNJUDGED;
	return DROP_NONE;
}

/* What the gateway answers to an access device's ping. */
INLINE bool is_gateway_reply(const struct packet *p, const struct overlay *o)
{
	struct network *n = find_network(o->network);

	return o->entrance && n && p->proto == IPPROTO_ICMPV6 &&
	       p->icmp_type == ICMPV6_ECHO_REPLY && address_equal(&p->saddr, &n->gateway);
}

/* Whether the packet must be read: for a SYN, or because this does not tell. */
INLINE bool may_be_syn(struct __sk_buff *skb)
{
	struct ipv6hdr *ip6 = (void *)(long)skb->data + link_header;
	struct tcp_header *tcp = (void *)(ip6 + 1);

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
		return true;
	switch (ip6->nexthdr) {
	case IPPROTO_TCP:
		return tcp->flags & TCP_SYN;
	case IPPROTO_UDP:
	case IPPROTO_ICMPV6:
		return false;
	}
	return true;
}

/* Nothing enters an overlay that no program has judged for its network. */
SEC("tc")
int overlay_egress(struct __sk_buff *skb)
{
	struct visit *v;
	struct overlay *o = find_overlay(skb->ifindex);
	bool judged_here = o && skb->mark == (MARK_JUDGED | o->network);
	enum drop_reason reason;

	if (judged_here && !may_be_syn(skb))
		return TC_ACT_OK;
	v = visit_begin(VISIT_PACKET, HOOK_OVERLAY_EGRESS, skb->ifindex, skb->len);
	if (!v)
		return TC_ACT_SHOT;
	if (!o)
		return drop(skb, v, DROP_UNKNOWN_PORT);
	v->network = o->network;
	reason = visit_skb(skb, v);
	if (judged_here) {
		if (!reason && is_tcp_syn(&v->packet))
			clamp_mss(skb, v);
		return TC_ACT_OK;
	}
	if (!reason && is_gateway_reply(&v->packet, o))
		return TC_ACT_OK;
	if (!reason)
		reason = answer_as_gateway(skb, v, o->network);
	return reason ? drop(skb, v, DROP_UNJUDGED) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
