/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_OVERLAY_H
#define ZOSNET_OVERLAY_H

#include "route.h"

/* The hop to another node of the network, as wide as the kernel says that the
 * interface is now. Fails when it is there no more. */
INLINE int hop_to_overlay(struct __sk_buff *skb, struct visit *v, struct next_hop *hop,
			  const struct binding *to)
{
	__u32 network = to->network, ifindex = to->ifindex, mtu = 0;
	struct network *n = bpf_map_lookup_elem(&networks, &network);
	struct node *node = this_node();

	if (!n || !node)
		return -1;
	hop->dmac = n->gateway_mac; /* of what the stack has to carry: see to_router */
	if (bpf_check_mtu(skb, ifindex, &mtu, 0, 0) < 0)
		return -1;
	hop->kind = HOP_OVERLAY;
	hop->ifindex = ifindex;
	hop->epoch = node->route_epoch;
	hop->checked = v->now >> HOP_CHECKED_SHIFT;
	hop->routed = 1;
	hop->mtu = mtu < 0xffff ? mtu : 0xffff;
	return 0;
}

/* Gives the packet to the node's own router, which knows of other ways, or says that
 * it is too big. With the gateway's MAC no other port of the bridge gets it, which
 * the mark would open. */
INLINE int to_router(struct __sk_buff *skb, const struct mac *gateway, __u32 network)
{
	struct ethernet_header *eth = (void *)(long)skb->data;

	if (!link_header)
		return to_stack(skb, network);
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	eth->dmac = *gateway;
	return to_stack(skb, network);
}

#endif
