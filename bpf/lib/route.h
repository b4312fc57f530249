/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_ROUTE_H
#define ZOSNET_ROUTE_H

#include "report.h"
#include "track.h"

#define AF_INET6 10

/* The kernel has confirmed a moment ago that the hop is still there. */
INLINE bool is_fresh(const struct next_hop *hop, __u64 now)
{
	__u32 age = (__u32)(now >> HOP_CHECKED_SHIFT) - hop->checked;

	return age <= timeout.neighbour >> HOP_CHECKED_SHIFT;
}

INLINE void judged(struct __sk_buff *skb, __u32 network)
{
	skb->mark = MARK_JUDGED | network;
}

/* Gives the packet to the kernel's own stack: it carries or answers what the fast
 * path cannot. The mark lets it out to the network (or, OUTSIDE, an uplink). */
INLINE int to_stack(struct __sk_buff *skb, __u32 network)
{
	judged(skb, network);
	return TC_ACT_OK;
}

/* Gives the packet to the kernel for an answer of its own. Without a mark no program
 * lets it further, to whichever MAC it was sent and wherever a route leads. */
INLINE int to_kernel(struct __sk_buff *skb)
{
	skb->mark = 0;
	return TC_ACT_OK;
}

/* The hop to a workload of this node. */
INLINE void hop_to_workload(struct next_hop *hop, const struct binding *to, __u32 sender_network)
{
	__u32 network = to->network;
	struct network *n = bpf_map_lookup_elem(&networks, &network);
	struct node *node = this_node();

	hop->kind = to->kind == PORT_TAP ? HOP_PORT : HOP_PEER;
	hop->ifindex = to->ifindex;
	hop->dmac = to->mac;
	hop->routed = !link_header || sender_network != to->network;
	hop->mtu = n ? n->mtu : 1280;
	if (n)
		hop->smac = n->gateway_mac;
	if (node)
		hop->epoch = node->route_epoch;
}

INLINE bool is_uplink(__u32 ifindex)
{
	struct uplink_key key = {.ifindex = ifindex};

	return bpf_map_lookup_elem(&uplinks, &key);
}

/* Asks the kernel's routes and neighbours for the way to the world. The input
 * device is the network's bridge, as for what the stack itself forwards. A hop of
 * kind HOP_NONE comes back when the kernel has to find the neighbour first; its
 * ifindex is then the uplink. */
__noinline int hop_to_world(struct __sk_buff *skb, struct visit *v, __u32 network,
			    struct next_hop *hop)
{
	struct network *n = bpf_map_lookup_elem(&networks, &network);
	struct node *node = this_node();
	struct bpf_fib_lookup fib = {};
	struct packet *p;
	long result;

	if (!n || !node || !v || !hop)
		return DROP_NO_ROUTE;
	p = &v->packet;
	fib.family = AF_INET6;
	fib.tot_len = 1280; /* asks for the route's MTU; the packet is measured later */
	fib.l4_protocol = p->proto;
	fib.ifindex = n->bridge;
	__builtin_memcpy(fib.ipv6_src, &p->saddr, sizeof(fib.ipv6_src));
	__builtin_memcpy(fib.ipv6_dst, &p->daddr, sizeof(fib.ipv6_dst));
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	switch (result) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH: /* no neighbour yet: the kernel will ask */
		break;
	case BPF_FIB_LKUP_RET_NOT_FWDED: /* one of the node's own addresses */
		return DROP_HOST;
	default:
		return DROP_NO_ROUTE;
	}
	if (!is_uplink(fib.ifindex))
		return DROP_NO_ROUTE;
	hop->ifindex = fib.ifindex;
	hop->epoch = node->route_epoch;
	hop->checked = v->now >> HOP_CHECKED_SHIFT;
	hop->routed = 1;
	hop->kind = HOP_NONE;
	hop->mtu = 1280;
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		hop->kind = HOP_UPLINK;
		hop->mtu = fib.mtu_result;
		__builtin_memcpy(&hop->dmac, fib.dmac, sizeof(hop->dmac));
		__builtin_memcpy(&hop->smac, fib.smac, sizeof(hop->smac));
	}
	return DROP_NONE;
}

#define GSO_BY_FRAGS 0xffff /* SCTP: segments are of various sizes */

/* The packet, or each segment that it will be cut into, fits the hop. */
INLINE bool fits(struct __sk_buff *skb, const struct packet *p, const struct next_hop *hop)
{
	if (!skb->gso_size)
		return p->length <= hop->mtu;
	if (skb->gso_size == GSO_BY_FRAGS) /* they were cut for this link */
		return !hop->routed;
	return p->l4_offset - p->l3_offset + p->l4_length + skb->gso_size <= hop->mtu;
}

/* From one node of a network to another: a packet without an Ethernet header, which
 * gets none. */
INLINE bool count_down(struct __sk_buff *skb)
{
	struct ipv6hdr *ip6 = (void *)(long)skb->data;

	if ((void *)(ip6 + 1) > (void *)(long)skb->data_end)
		return false;
	ip6->hop_limit--;
	return true;
}

/* Writes the hop into the frame. A packet that came without an Ethernet header gets
 * one first. */
INLINE bool rewrite(struct __sk_buff *skb, const struct packet *p, const struct next_hop *hop)
{
	struct ethernet_header *eth;
	struct ipv6hdr *ip6;

	if (p->l3_offset != link_header)
		return false;
	if (!link_header && hop->kind == HOP_OVERLAY)
		return count_down(skb);
	if (!link_header && bpf_skb_change_head(skb, sizeof(*eth), 0))
		return false;
	eth = (void *)(long)skb->data;
	ip6 = (void *)(eth + 1);
	if ((void *)(ip6 + 1) > (void *)(long)skb->data_end)
		return false;
	eth->dmac = hop->dmac;
	if (hop->routed || !link_header)
		eth->smac = hop->smac;
	if (!link_header)
		eth->ether_type = bpf_htons(ETHERTYPE_IPV6);
	if (hop->routed)
		ip6->hop_limit--;
	return true;
}

/* Sends the packet to a hop that is known. network is the receiver's. */
INLINE int send(struct __sk_buff *skb, const struct packet *p, const struct next_hop *hop,
		__u32 network)
{
	if (!rewrite(skb, p, hop))
		return TC_ACT_SHOT;
	if (hop->kind == HOP_PEER) {
		skb->mark = 0;
		/* the sender's frame was for the bridge or a neighbour on it: not
		 * this host's, so the receiving stack would ignore it */
		if (skb->pkt_type != 0)
			bpf_skb_change_type(skb, 0);
		return bpf_redirect_peer(hop->ifindex, 0);
	}
	judged(skb, network);
	return bpf_redirect(hop->ifindex, 0);
}

/* Lets the kernel's neighbour table do the last step: it asks for a neighbour it
 * does not know, and confirms one that it has not heard of for a while. */
INLINE int send_by_neighbour(struct __sk_buff *skb, const struct next_hop *hop)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv6hdr *ip6 = (void *)(eth + 1);

	if ((void *)(ip6 + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	ip6->hop_limit--;
	judged(skb, OUTSIDE);
	return bpf_redirect_neigh(hop->ifindex, NULL, 0, 0);
}

#endif
