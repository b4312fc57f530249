// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a workload sends, and what reaches it through the stack. */
#include "lib/deliver.h"

#define DHCPV6_CLIENT bpf_htons(546)

/* The workload's packet is in a form that its network carries at all. */
INLINE enum drop_reason check_frame(struct __sk_buff *skb, const struct visit *v,
				    const struct port *port)
{
	const struct packet *p = &v->packet;

	if (skb->vlan_present || p->tags)
		return DROP_VLAN;
	if (!mac_equal(&p->smac, &port->mac))
		return DROP_SPOOFED_MAC;
	if (p->ether_type != ETHERTYPE_IPV6)
		return DROP_NOT_IPV6;
	return DROP_NONE;
}

/* The source address is this workload's. */
INLINE enum drop_reason check_source(struct visit *v, const struct port *port)
{
	const struct address *a = &v->packet.saddr;
	struct network *n = find_network(port->network);
	struct binding *b = identify(v, &v->from, a, port->network);

	if (!b)
		return n &&
				       (is_link_local(a) ||
					*(const __u64 *)a == *(const __u64 *)&n->gateway) &&
				       !is_gateway(n, a)
			       ? DROP_UNKNOWN_IDENTITY
			       : DROP_SPOOFED_ADDRESS;
	return b->ifindex == v->ifindex ? DROP_NONE : DROP_SPOOFED_ADDRESS;
}

/* A link-local source is known on its own link only (RFC 4291, 2.5.6). */
INLINE enum drop_reason check_scope(const struct visit *v, const struct port *port)
{
	if (!is_link_local(&v->packet.saddr))
		return DROP_NONE;
	return v->to.network != port->network || v->to.kind == PORT_OVERLAY ? DROP_NO_ROUTE
									    : DROP_NONE;
}

/* Who the packet is for: a workload of this node or, of its own network, on another,
 * or somebody outside. */
INLINE enum drop_reason find_receiver(struct visit *v, const struct port *port)
{
	const struct address *a = &v->packet.daddr;
	struct binding *b = identify(v, &v->to, a, port->network);

	if (b) {
		if (b->ifindex == v->ifindex)
			return DROP_SPOOFED_ADDRESS;
		/* a network's overlay carries nobody else's packets */
		if (b->kind == PORT_OVERLAY && b->network != port->network)
			return DROP_NO_ROUTE;
		return check_scope(v, port);
	}
	__builtin_memset(&v->to, 0, sizeof(v->to));
	v->to.address = *a;
	if (is_link_local(a))
		return DROP_UNASSIGNED;
	if (is_unroutable(a))
		return DROP_NO_ROUTE;
	switch (prefix_of(a)) {
	case PREFIX_TENANT:
		return DROP_UNASSIGNED;
	case PREFIX_NODE:
		return DROP_HOST;
	}
	return check_scope(v, port);
}

/* What a DHCPv6 server says to a client, from whatever port (RFC 7610, 3). */
INLINE bool is_dhcp_server(const struct packet *p)
{
	return p->proto == IPPROTO_UDP && p->fragment != FRAGMENT_LATER &&
	       p->dport == DHCPV6_CLIENT;
}

/* Everything that is not the next packet of a known flow. */
__noinline int workload_judge(struct __sk_buff *skb, struct visit *v)
{
	enum drop_reason reason;
	struct network *n;
	struct port *port;

	if (!v)
		return TC_ACT_SHOT;
	port = find_port(v->ifindex);
	if (!port)
		return drop(skb, v, DROP_UNKNOWN_PORT);
	v->network = port->network;
	n = find_network(v->network);
	reason = check_frame(skb, v, port);
	if (reason || !n)
		return drop(skb, v, reason);
	if (is_neighbour_discovery(&v->packet)) {
		reason = guard_neighbour(skb, v, port);
		return reason ? drop(skb, v, reason) : to_stack(skb, v->network);
	}
	if (is_multicast_listener(&v->packet)) {
		reason = guard_listener(v, port);
		return reason ? drop(skb, v, reason) : to_stack(skb, v->network);
	}
	if (is_dhcp_server(&v->packet))
		return drop(skb, v, DROP_DHCP_GUARD);
	reason = check_source(v, port);
	if (reason)
		return drop(skb, v, reason);
	if (is_multicast(&v->packet.daddr))
		return drop(skb, v, DROP_MULTICAST);
	if (v->packet.icmp_error)
		return deliver_error(skb, v, v->network);
	if (is_gateway(n, &v->packet.daddr)) {
		if (v->packet.proto == IPPROTO_ICMPV6 && v->packet.icmp_type == ICMPV6_ECHO_REQUEST)
			return to_kernel(skb);
		return drop(skb, v, DROP_HOST);
	}
	reason = find_receiver(v, port);
	if (!reason && v->packet.fragment == FRAGMENT_LATER)
		reason = fragment_recall(v, v->to.network ? v->to.network : v->network);
	if (reason)
		return drop(skb, v, reason);
	return deliver_judged(skb, v);
}

/* The network of an interface, for packets that cannot be read. */
__noinline int workload_unreadable(struct __sk_buff *skb, struct visit *v, __u32 reason)
{
	struct port *port;

	if (!v)
		return TC_ACT_SHOT;
	port = find_port(v->ifindex);
	if (port)
		v->network = port->network;
	return drop(skb, v, port ? reason : DROP_UNKNOWN_PORT);
}

INLINE bool sent_by(const struct flow_end *end, const struct visit *v)
{
	return end->ifindex == v->ifindex && mac_equal(&end->hop.dmac, &v->packet.smac);
}

SEC("tc")
int workload_egress(struct __sk_buff *skb)
{
	struct visit *v = visit_begin(VISIT_PACKET, HOOK_WORKLOAD_EGRESS, skb->ifindex, skb->len);
	enum drop_reason reason;
	struct flow *f;

	if (!v)
		return TC_ACT_SHOT;
	skb->mark = 0;
	reason = visit_skb(skb, v);
	if (reason)
		return workload_unreadable(skb, v, reason);
	if (skb->vlan_present || v->packet.tags || v->packet.fragment == FRAGMENT_LATER)
		return workload_judge(skb, v);
	flow_key_of(v, 0);
	f = bpf_map_lookup_elem(&flows, &v->key);
	if (f && sent_by(sender_of(f, v), v) && flow_carries(f, v))
		return deliver(skb, v, f);
	return workload_judge(skb, v);
}

/* What the network's own gateway may say to a workload: neighbour discovery,
 * router advertisements, listener reports, echo replies and errors. */
INLINE bool is_from_gateway(const struct packet *p, const struct network *n)
{
	if (p->ether_type != ETHERTYPE_IPV6 || p->proto != IPPROTO_ICMPV6 || p->tags ||
	    !is_gateway(n, &p->saddr))
		return false;
	switch (p->icmp_type) {
	case ICMPV6_NEIGHBOR_SOLICIT:
	case ICMPV6_NEIGHBOR_ADVERT:
	case ICMPV6_ROUTER_ADVERT:
	case ICMPV6_MLD2_REPORT:
	case ICMPV6_ECHO_REPLY:
		return true;
	}
	return p->icmp_error;
}

SEC("tc")
int workload_ingress(struct __sk_buff *skb)
{
	struct visit *v = visit_begin(VISIT_PACKET, HOOK_WORKLOAD_INGRESS, skb->ifindex, skb->len);
	struct network *n;
	struct port *port;

	if (!v)
		return TC_ACT_SHOT;
	port = find_port(v->ifindex);
	if (!port)
		return drop(skb, v, DROP_UNKNOWN_PORT);
	if (skb->mark == (MARK_JUDGED | port->network))
		return TC_ACT_OK;
	v->network = port->network;
	n = find_network(v->network);
	if (n && !visit_skb(skb, v) && is_from_gateway(&v->packet, n))
		return TC_ACT_OK;
	return drop(skb, v, DROP_UNJUDGED);
}

char _license[] SEC("license") = "Dual BSD/GPL";
