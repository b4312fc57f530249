/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_PARSE_H
#define ZOSNET_PARSE_H

#include "config.h"
#include "packet.h"

#define MAX_VLAN_TAGS 2
#define VLAN_ID 0x0fff
#define MAX_EXTENSION_HEADERS 6
#define PARSE_BYTES 320	    /* linear bytes that the longest accepted chain needs */
#define MIN_LATER_OFFSET 64 /* a later fragment below may reach into a TCP header */

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_SLOW 0x8809

struct vlan_tag {
	__be16 control;
	__be16 ether_type;
};

struct extension_header {
	__u8 next;
	__u8 length; /* in 8 octets, the first not counted; AH: in 4, less 2 */
	__u8 type;   /* routing */
	__u8 left;   /* routing: segments left */
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* 13 bits, 2 reserved, more-fragments */
	__be32 id;
};

struct tcp_header {
	__be16 sport;
	__be16 dport;
	__be32 sequence;
	__be32 acknowledged;
	__u8 data_offset; /* high nibble, in 4 octets */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct udp_header {
	__be16 sport;
	__be16 dport;
	__be16 length;
	__be16 checksum;
};

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
	__be16 sequence;
};

struct span { /* the linear part of a frame */
	void *data;
	void *end;
};

INLINE bool holds(const struct span *s, __u32 offset, __u32 bytes)
{
	return s->data + offset + bytes <= s->end;
}

/* These give where the IP packet begins by themselves: the verifier knows the bounds
 * of what a function holds, but not of what it reads back from a map. */
INLINE enum drop_reason parse_ethernet(const struct span *s, struct packet *p, __u32 *l3_offset)
{
	struct ethernet_header *eth = s->data;
	__u32 offset = sizeof(*eth);
	__u16 type;

	if ((void *)(eth + 1) > s->end)
		return DROP_MALFORMED;
	p->dmac = eth->dmac;
	p->smac = eth->smac;
	type = bpf_ntohs(eth->ether_type);
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		struct vlan_tag *tag = s->data + offset;

		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ)
			break;
		if ((void *)(tag + 1) > s->end)
			return DROP_MALFORMED;
		if (!p->tags) {
			p->vlan = bpf_ntohs(tag->control) & VLAN_ID;
			p->vlan_type = type;
		}
		type = bpf_ntohs(tag->ether_type);
		offset += sizeof(*tag);
		p->tags++;
	}
	if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ)
		return DROP_VLAN;
	p->ether_type = type;
	*l3_offset = offset;
	return DROP_NONE;
}

/* Reads the transport header at offset; left is what the IP packet still holds. */
INLINE enum drop_reason parse_transport(const struct span *s, struct packet *p, __u32 offset,
					__u32 left)
{
	void *l4 = s->data + offset;

	p->l4_offset = offset;
	switch (p->proto) {
	case IPPROTO_TCP: {
		struct tcp_header *tcp = l4;

		if (left < sizeof(*tcp) || (void *)(tcp + 1) > s->end)
			return DROP_MALFORMED;
		if ((tcp->data_offset >> 4) < 5 || (tcp->data_offset >> 4) * 4 > left)
			return DROP_MALFORMED;
		p->sport = tcp->sport;
		p->dport = tcp->dport;
		p->tcp_flags = tcp->flags & 0x3f;
		p->sequence = tcp->sequence;
		p->acknowledged = tcp->acknowledged;
		p->l4_length = (tcp->data_offset >> 4) * 4;
		return DROP_NONE;
	}
	case IPPROTO_SCTP:
		if (left < 12)
			return DROP_MALFORMED;
		goto ports;
	case IPPROTO_UDP:
ports : {
	struct udp_header *udp = l4;

	if (left < sizeof(*udp) || (void *)(udp + 1) > s->end)
		return DROP_MALFORMED;
	p->sport = udp->sport;
	p->dport = udp->dport;
	p->l4_length = p->proto == IPPROTO_SCTP ? 12 : sizeof(*udp);
	return DROP_NONE;
}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		struct icmp_header *icmp = l4;

		if (left < sizeof(*icmp) || (void *)(icmp + 1) > s->end)
			return DROP_MALFORMED;
		p->icmp_type = icmp->type;
		p->icmp_code = icmp->code;
		p->sport = icmp->id;
		p->l4_length = sizeof(*icmp);
		return DROP_NONE;
	}
	}
	return DROP_NONE;
}

/* What an ICMP message means to flows: an error, a query with its identifier, or
 * something that stands for itself under its type. */
INLINE void classify_icmp(struct packet *p)
{
	__be16 id = p->sport;
	bool query = false;

	if (p->proto == IPPROTO_ICMPV6) {
		p->icmp_error = p->icmp_type < 128;
		query = p->icmp_type == ICMPV6_ECHO_REQUEST || p->icmp_type == ICMPV6_ECHO_REPLY;
	} else if (p->proto == IPPROTO_ICMP) {
		p->icmp_error = p->icmp_type == ICMP4_UNREACHABLE ||
				p->icmp_type == ICMP4_TIME_EXCEEDED ||
				p->icmp_type == ICMP4_PARAMETER_PROBLEM;
		query = p->icmp_type == ICMP4_ECHO_REQUEST || p->icmp_type == ICMP4_ECHO_REPLY ||
			p->icmp_type == ICMP4_TIMESTAMP || p->icmp_type == ICMP4_TIMESTAMP_REPLY;
	} else {
		return;
	}
	p->sport = query ? id : 0;
	p->dport = query ? id : bpf_htons(p->icmp_type);
}

/* Walks the extension headers from offset (RFC 8200, 4). *proto and *offset end
 * at the transport header. */
INLINE enum drop_reason walk_extensions(const struct span *s, struct packet *p, __u8 *proto,
					__u32 *offset)
{
#pragma unroll
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		struct extension_header *ext = s->data + *offset;

		switch (*proto) {
		case IPPROTO_HOPOPTS:
			if (i)
				return DROP_EXTENSION_HEADERS;
			break;
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_AH:
			break;
		case IPPROTO_FRAGMENT: {
			struct fragment_header *frag = (void *)ext;
			__u16 field;

			if ((void *)(frag + 1) > s->end)
				return DROP_MALFORMED;
			if (p->fragment != FRAGMENT_NONE)
				return DROP_EXTENSION_HEADERS;
			field = bpf_ntohs(frag->offset);
			p->fragment_id = frag->id;
			*proto = frag->next;
			*offset += sizeof(*frag);
			if (field >> 3) {
				p->fragment = FRAGMENT_LATER;
				p->fragment_offset = field & 0xfff8;
				return (field & 0xfff8) < MIN_LATER_OFFSET ? DROP_FRAGMENT_OVERLAP
									   : DROP_NONE;
			}
			if (field & 1) { /* else atomic: an ordinary packet (RFC 6946) */
				p->fragment = FRAGMENT_FIRST;
				p->fragment_offset =
					*offset; /* parse_ipv6 makes the length of it */
			}
			continue;
		}
		default:
			return DROP_NONE;
		}
		if ((void *)(ext + 1) > s->end)
			return DROP_MALFORMED;
		if (*proto == IPPROTO_ROUTING && ext->left) /* RFC 5095 and its kin */
			return DROP_EXTENSION_HEADERS;
		*offset += *proto == IPPROTO_AH ? (ext->length + 2) * 4 : (ext->length + 1) * 8;
		*proto = ext->next;
	}
	switch (*proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
	case IPPROTO_FRAGMENT:
		return DROP_EXTENSION_HEADERS;
	}
	return DROP_NONE;
}

INLINE enum drop_reason parse_ipv6(const struct span *s, struct packet *p, __u32 l3_offset,
				   __u32 frame_length)
{
	struct ipv6hdr *ip6 = s->data + l3_offset;
	__u32 offset = l3_offset + sizeof(*ip6);
	struct ipv6_addresses *addresses;
	enum drop_reason reason;
	__u32 end;

	if ((void *)(ip6 + 1) > s->end || ip6->version != 6)
		return DROP_MALFORMED;
	end = offset + bpf_ntohs(ip6->payload_len);
	if (end > frame_length)
		return DROP_MALFORMED;
	p->length = end - l3_offset;
	addresses = (void *)&ip6->saddr;
	p->saddr = addresses->saddr;
	p->daddr = addresses->daddr;
	p->hop_limit = ip6->hop_limit;
	p->proto = ip6->nexthdr;
	reason = walk_extensions(s, p, &p->proto, &offset);
	if (reason)
		return reason;
	if (offset > end)
		return DROP_MALFORMED;
	if (offset + sizeof(struct tcp_header) > PARSE_BYTES)
		return DROP_EXTENSION_HEADERS;
	if (p->fragment == FRAGMENT_LATER)
		return DROP_NONE;
	reason = parse_transport(s, p, offset, end - offset);
	if (p->fragment == FRAGMENT_FIRST)
		p->fragment_offset = offset + p->l4_length - p->fragment_offset;
	classify_icmp(p);
	return reason;
}

INLINE enum drop_reason parse_ipv4(const struct span *s, struct packet *p, __u32 l3_offset,
				   __u32 frame_length)
{
	struct iphdr *ip = s->data + l3_offset;
	enum drop_reason reason;
	__u32 header, field;

	if ((void *)(ip + 1) > s->end || ip->version != 4 || ip->ihl < 5)
		return DROP_MALFORMED;
	header = ip->ihl * 4;
	p->length = bpf_ntohs(ip->tot_len);
	if (p->length < header || l3_offset + p->length > frame_length)
		return DROP_MALFORMED;
	map_ipv4(&p->saddr, ip->saddr);
	map_ipv4(&p->daddr, ip->daddr);
	p->hop_limit = ip->ttl;
	p->proto = ip->protocol;
	field = bpf_ntohs(ip->frag_off);
	p->fragment_id = ip->id;
	if (field & 0x1fff) {
		p->fragment = FRAGMENT_LATER;
		p->fragment_offset = (field & 0x1fff) * 8;
		return (field & 0x1fff) * 8 < MIN_LATER_OFFSET ? DROP_FRAGMENT_OVERLAP : DROP_NONE;
	}
	if (field & 0x2000)
		p->fragment = FRAGMENT_FIRST;
	reason = parse_transport(s, p, l3_offset + header, p->length - header);
	classify_icmp(p);
	return reason;
}

/* An IP packet that comes without a header of its link. */
INLINE enum drop_reason parse_bare(const struct span *s, struct packet *p, __u32 *l3_offset)
{
	const __u8 *first = s->data;

	if ((void *)(first + 1) > s->end)
		return DROP_MALFORMED;
	*l3_offset = 0;
	switch (*first >> 4) {
	case 4:
		p->ether_type = ETHERTYPE_IPV4;
		return DROP_NONE;
	case 6:
		p->ether_type = ETHERTYPE_IPV6;
		return DROP_NONE;
	}
	return DROP_MALFORMED;
}

/* Reads a frame; everything but IPv4 and IPv6 ends at its ether_type. */
INLINE enum drop_reason parse(const struct span *s, struct packet *p, __u32 frame_length)
{
	__u32 l3_offset = 0;
	enum drop_reason reason =
		link_header ? parse_ethernet(s, p, &l3_offset) : parse_bare(s, p, &l3_offset);

	if (reason)
		return reason;
	p->l3_offset = l3_offset;
	if (p->ether_type == ETHERTYPE_IPV6)
		return parse_ipv6(s, p, l3_offset, frame_length);
	if (p->ether_type == ETHERTYPE_IPV4)
		return parse_ipv4(s, p, l3_offset, frame_length);
	return DROP_NONE;
}

/* Reads the packet that an ICMP error quotes into the flow that it is about:
 * only addresses, protocol and ports are filled. */
INLINE enum drop_reason parse_quoted(const struct span *s, const struct packet *outer,
				     struct packet *p)
{
	__u32 offset = outer->l4_offset + sizeof(struct icmp_header);
	enum drop_reason reason;
	struct udp_header *ports;
	struct icmp_header *icmp;

	if (offset > PARSE_BYTES)
		return DROP_MALFORMED;
	if (outer->proto == IPPROTO_ICMPV6) {
		struct ipv6hdr *ip6 = s->data + offset;

		if ((void *)(ip6 + 1) > s->end || ip6->version != 6)
			return DROP_MALFORMED;
		__builtin_memcpy(&p->saddr, &ip6->saddr, sizeof(p->saddr));
		__builtin_memcpy(&p->daddr, &ip6->daddr, sizeof(p->daddr));
		p->proto = ip6->nexthdr;
		offset += sizeof(*ip6);
		reason = walk_extensions(s, p, &p->proto, &offset);
		if (reason)
			return reason;
	} else {
		struct iphdr *ip = s->data + offset;

		if ((void *)(ip + 1) > s->end || ip->version != 4 || ip->ihl < 5)
			return DROP_MALFORMED;
		map_ipv4(&p->saddr, ip->saddr);
		map_ipv4(&p->daddr, ip->daddr);
		p->proto = ip->protocol;
		p->fragment_id = ip->id;
		if (bpf_ntohs(ip->frag_off) & 0x1fff)
			p->fragment = FRAGMENT_LATER;
		offset += ip->ihl * 4;
	}
	if (p->fragment == FRAGMENT_LATER)
		return DROP_NONE;
	switch (p->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		ports = s->data + offset;
		if ((void *)ports + 4 > s->end)
			return DROP_MALFORMED;
		p->sport = ports->sport;
		p->dport = ports->dport;
		return DROP_NONE;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		icmp = s->data + offset;
		if ((void *)(icmp + 1) > s->end)
			return DROP_MALFORMED;
		p->icmp_type = icmp->type;
		p->sport = icmp->id;
		classify_icmp(p);
		return p->icmp_error ? DROP_ICMP_UNRELATED : DROP_NONE; /* RFC 4443, 2.4 (e.1) */
	}
	return DROP_NONE;
}

#endif
