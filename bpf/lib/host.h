/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_HOST_H
#define ZOSNET_HOST_H

#include "fragment.h"
#include "neighbour.h"
#include "track.h"
#include "visit.h"

#define DHCPV4_SERVER bpf_htons(67)
#define DHCPV4_CLIENT bpf_htons(68)
#define DHCPV6_CLIENT bpf_htons(546)
#define DHCPV6_SERVER bpf_htons(547)

/* The version of the failsafe list in force: a trial's until its deadline, which
 * passes here whether or not a daemon runs. */
INLINE __u32 lockdown_version(const struct node *n)
{
	if (n->trial_deadline && bpf_ktime_get_boot_ns() < n->trial_deadline)
		return n->lockdown_trial;
	return n->lockdown;
}

/* The port is open to everybody. */
INLINE bool is_open_port(__u32 version, const struct address *stranger, __u32 proto, __u16 port)
{
	struct lockdown_port_key key = {.version = version,
					.family = is_ipv4(stranger) ? 4 : 6,
					.proto = proto,
					.port = port};

	return bpf_map_lookup_elem(&lockdown_ports, &key);
}

/* The failsafe lets this stranger use this port of the host. */
INLINE bool failsafe_allows(const struct address *stranger, __u32 proto, __be16 host_port)
{
	struct lockdown_key key = {.prefixlen = 160};
	struct node *n = this_node();
	struct lockdown_allow *allow;
	__u16 port = bpf_ntohs(host_port);
	__u32 version = n ? lockdown_version(n) : 0;

	if (!version)
		return false;
	if (is_open_port(version, stranger, proto, port))
		return true;
	key.version = bpf_htonl(version);
	__builtin_memcpy(&key.address, stranger, sizeof(key.address));
	allow = bpf_map_lookup_elem(&lockdown_allow, &key);
	if (!allow)
		return false;
	for (__u32 i = 0; i < LOCKDOWN_RANGES && i < allow->count; i++) {
		const struct lockdown_range *r = &allow->ranges[i];

		if (!r->proto || (r->proto == proto && r->first <= port && port <= r->last))
			return true;
	}
	return false;
}

INLINE void host_flow_key_of(struct host_flow_key *key, const struct packet *p, bool outgoing)
{
	key->local = outgoing ? p->saddr : p->daddr;
	key->remote = outgoing ? p->daddr : p->saddr;
	key->local_port = outgoing ? p->sport : p->dport;
	key->remote_port = outgoing ? p->dport : p->sport;
	key->proto = p->proto;
}

INLINE struct host_flow *host_flow_of(struct visit *v, const struct packet *p, bool outgoing)
{
	struct host_flow_key key;
	struct host_flow *f;

	host_flow_key_of(&key, p, outgoing);
	f = bpf_map_lookup_elem(&host_flows, &key);
	if (!f || (__s64)(visit_now(v) - f->last_seen) > (__s64)flow_timeout(key.proto, f->state))
		return NULL;
	return f;
}

INLINE void host_flow_seen(struct host_flow *f, const struct packet *p, __u64 now)
{
	f->last_seen = now;
	if (p->proto != IPPROTO_TCP)
		return;
	if (p->tcp_flags & TCP_RST)
		f->state = FLOW_CLOSED;
	else if (p->tcp_flags & TCP_FIN)
		f->state = FLOW_CLOSING;
}

/* A stranger's packet belongs to a flow that the host started. */
INLINE bool is_reply(struct visit *v)
{
	struct packet *p = &v->packet;
	struct host_flow *f;

	if (is_syn(p) || (p->proto == IPPROTO_ICMPV6 && p->icmp_type == ICMPV6_ECHO_REQUEST) ||
	    (p->proto == IPPROTO_ICMP &&
	     (p->icmp_type == ICMP4_ECHO_REQUEST || p->icmp_type == ICMP4_TIMESTAMP)))
		return false;
	f = host_flow_of(v, p, false);
	if (!f)
		return false;
	f->last_seen = visit_now(v); /* only the host ends it: a stranger's RST may be forged */
	if (f->state < FLOW_ESTABLISHED)
		f->state = FLOW_ESTABLISHED;
	f->replied = 1;
	if (p->fragment == FRAGMENT_FIRST)
		fragment_remember(v, OUTSIDE);
	return true;
}

INLINE bool is_dhcp(const struct packet *p, bool outgoing)
{
	__be16 client = outgoing ? p->sport : p->dport, server = outgoing ? p->dport : p->sport;

	if (p->proto != IPPROTO_UDP || p->fragment == FRAGMENT_LATER)
		return false;
	if (p->ether_type == ETHERTYPE_IPV4)
		return client == DHCPV4_CLIENT && server == DHCPV4_SERVER;
	return client == DHCPV6_CLIENT && server == DHCPV6_SERVER;
}

INLINE struct dhcp_key dhcp_key_of(const struct packet *p)
{
	return (struct dhcp_key){.family = p->ether_type == ETHERTYPE_IPV4 ? 4 : 6};
}

INLINE void dhcp_asked(struct visit *v)
{
	struct dhcp_key key = dhcp_key_of(&v->packet);
	__u64 now = visit_now(v);

	bpf_map_update_elem(&dhcp_requests, &key, &now, BPF_ANY);
}

INLINE enum drop_reason check_dhcp_answer(struct visit *v)
{
	struct dhcp_key key = dhcp_key_of(&v->packet);
	__u64 *asked;

	asked = bpf_map_lookup_elem(&dhcp_requests, &key);
	return asked && visit_now(v) - *asked < timeout.dhcp ? DROP_NONE : DROP_DHCP_UNSOLICITED;
}

/* What the host must hear on its link to have an address and a route at all (RFC
 * 4861, RFC 2710): solicitations and advertisements, and who listens to what. */
INLINE bool is_link_control(const struct packet *p)
{
	if (p->ether_type != ETHERTYPE_IPV6 || p->fragment != FRAGMENT_NONE)
		return false;
	if (p->proto == IPPROTO_ICMPV6 && p->icmp_type == ICMPV6_MLD_QUERY)
		return p->hop_limit == 1 && is_link_local(&p->saddr);
	return p->proto == IPPROTO_ICMPV6 && p->hop_limit == ND_HOP_LIMIT && !p->icmp_code &&
	       (p->icmp_type == ICMPV6_NEIGHBOR_SOLICIT || p->icmp_type == ICMPV6_NEIGHBOR_ADVERT ||
		(p->icmp_type == ICMPV6_ROUTER_ADVERT && is_link_local(&p->saddr)));
}

INLINE bool is_lacp(const struct packet *p)
{
	static const struct mac slow = {{0x01, 0x80, 0xc2, 0x00, 0x00, 0x02}}; /* IEEE 802.3 57A */

	return p->ether_type == ETHERTYPE_SLOW && mac_equal(&p->dmac, &slow);
}

/* An ICMP error about a flow that the host started, or about what it says to whom
 * the failsafe allows. */
INLINE bool quotes_host_flow(const struct span *s, struct visit *v)
{
	struct visit *quoted;

	if (v->packet.fragment != FRAGMENT_NONE)
		return false;
	quoted = visit_begin(VISIT_QUOTED, v->hook, v->ifindex, 0);
	if (!quoted)
		return false;
	quoted->packet.ether_type = v->packet.ether_type;
	if (parse_quoted(s, &v->packet, &quoted->packet) ||
	    quoted->packet.fragment == FRAGMENT_LATER ||
	    !address_equal(&quoted->packet.saddr, &v->packet.daddr))
		return false;
	return host_flow_of(v, &quoted->packet, true) ||
	       failsafe_allows(&quoted->packet.daddr, quoted->packet.proto, quoted->packet.sport);
}

/* The lockdown: what a packet for the host must be to reach it. */
INLINE enum drop_reason lockdown(const struct span *s, struct visit *v)
{
	struct packet *p = &v->packet;
	enum drop_reason reason;

	if (p->ether_type == ETHERTYPE_ARP || is_lacp(p))
		return DROP_NONE;
	if (p->ether_type != ETHERTYPE_IPV4 && p->ether_type != ETHERTYPE_IPV6)
		return DROP_LOCKDOWN;
	/* else IPv4's failsafe would admit it */
	if (p->ether_type == ETHERTYPE_IPV6 && is_ipv4(&p->saddr))
		return DROP_LOCKDOWN;
	if (p->fragment == FRAGMENT_LATER) {
		reason = fragment_recall(v, OUTSIDE);
		if (reason)
			return reason;
	}
	if (failsafe_allows(&p->saddr, p->proto, p->dport)) {
		if (p->fragment == FRAGMENT_FIRST)
			fragment_remember(v, OUTSIDE);
		return DROP_NONE;
	}
	if (is_link_control(p))
		return DROP_NONE;
	if (is_dhcp(p, false))
		return check_dhcp_answer(v);
	if (p->icmp_error)
		return quotes_host_flow(s, v) ? DROP_NONE : DROP_LOCKDOWN;
	return is_reply(v) ? DROP_NONE : DROP_LOCKDOWN;
}

/* Remembers a flow that the host starts, or finds the one that its packet belongs
 * to. Anything else that the host would say is an answer to a stranger. */
__noinline int host_speaks(struct visit *v)
{
	struct host_flow_key key;
	struct host_flow *f, fresh = {};
	struct packet *p;

	if (!v)
		return DROP_HOST_REPLY;
	p = &v->packet;
	f = host_flow_of(v, p, true);
	if (f && !is_syn(p)) {
		host_flow_seen(f, p, visit_now(v));
		return DROP_NONE;
	}
	if (p->proto == IPPROTO_TCP) {
		if (!is_syn(p))
			return DROP_HOST_REPLY;
	} else if (p->proto == IPPROTO_ICMPV6) {
		if (p->icmp_type != ICMPV6_ECHO_REQUEST)
			return DROP_HOST_REPLY;
	} else if (p->proto == IPPROTO_ICMP) {
		if (p->icmp_type != ICMP4_ECHO_REQUEST && p->icmp_type != ICMP4_TIMESTAMP)
			return DROP_HOST_REPLY;
	} else if (p->proto != IPPROTO_UDP) {
		return DROP_HOST_REPLY;
	}
	host_flow_key_of(&key, p, true);
	fresh.last_seen = visit_now(v);
	bpf_map_update_elem(&host_flows, &key, &fresh, BPF_ANY);
	return DROP_NONE;
}

/* What the host may say on its link without being asked or known. */
INLINE bool is_link_talk(const struct packet *p)
{
	if (p->ether_type == ETHERTYPE_ARP || is_lacp(p))
		return true;
	if (p->ether_type != ETHERTYPE_IPV6 || p->proto != IPPROTO_ICMPV6 ||
	    p->fragment != FRAGMENT_NONE)
		return false;
	switch (p->icmp_type) {
	case ICMPV6_ROUTER_SOLICIT:
	case ICMPV6_NEIGHBOR_SOLICIT:
	case ICMPV6_NEIGHBOR_ADVERT:
		return p->hop_limit == ND_HOP_LIMIT;
	case ICMPV6_MLD_REPORT:
	case ICMPV6_MLD_DONE:
	case ICMPV6_MLD2_REPORT:
		return p->hop_limit == 1;
	}
	return false;
}

/* Whether the host may say this. */
INLINE enum drop_reason check_host_speech(struct visit *v)
{
	struct packet *p = &v->packet;

	if (is_link_talk(p))
		return DROP_NONE;
	if (p->ether_type != ETHERTYPE_IPV4 && p->ether_type != ETHERTYPE_IPV6)
		return DROP_HOST_REPLY;
	if (p->fragment == FRAGMENT_LATER && fragment_recall(v, OUTSIDE))
		return DROP_HOST_REPLY;
	if (p->fragment == FRAGMENT_FIRST)
		fragment_remember(v, OUTSIDE);
	if (failsafe_allows(&p->daddr, p->proto, p->sport))
		return DROP_NONE;
	if (is_dhcp(p, true)) {
		dhcp_asked(v);
		return DROP_NONE;
	}
	if (p->icmp_error)
		return DROP_HOST_REPLY;
	return host_speaks(v);
}

#endif
