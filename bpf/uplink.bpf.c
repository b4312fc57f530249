// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What comes from the world and goes to it. */
#include "lib/deliver.h"
#include "lib/host.h"

INLINE int drop_xdp(struct xdp_md *ctx, struct visit *v, enum drop_reason reason)
{
	__u32 index = reason;
	struct counter *c = bpf_map_lookup_elem(&lockdown_drops, &index);
	struct node *n = this_node();
	struct event *e;
	__u32 last;

	if (c)
		count(c, v->length);
	if (!n || !n->watched)
		return XDP_DROP;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count_lost();
		return XDP_DROP;
	}
	fill_event(e, v, EVENT_DROP, reason);
	last = last_captured(v->length);
	if (!bpf_xdp_load_bytes(ctx, 0, e->head, last + 1))
		e->captured = last + 1;
	bpf_ringbuf_submit(e, 0);
	return XDP_DROP;
}

#define LONGEST_FRAME 0xffff

/* A jumbo frame lies in several pieces, of which the program sees the first. How long
 * all are is asked for only where that seems too short. */
INLINE enum drop_reason parse_first_piece(struct xdp_md *ctx, const struct span *s, struct visit *v)
{
	enum drop_reason reason = parse(s, &v->packet, LONGEST_FRAME);
	__u32 end = v->packet.l3_offset + v->packet.length;

	if (reason != DROP_MALFORMED && end <= v->length)
		return reason;
	v->length = bpf_xdp_get_buff_len(ctx);
	return end > v->length ? DROP_MALFORMED : reason;
}

/* Some drivers leave the first piece empty. */
INLINE bool may_lack_headers(const struct span *s, const struct visit *v)
{
	__u32 first = s->end - s->data;

	return first < v->length && first < PARSE_BYTES;
}

/* Tenant traffic goes on to uplink_ingress, the rest is for the host. */
SEC("xdp.frags")
int uplink_xdp(struct xdp_md *ctx)
{
	struct span s = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct visit *v =
		visit_begin(VISIT_PACKET, HOOK_UPLINK_XDP, ctx->ingress_ifindex, s.end - s.data);
	enum drop_reason reason;

	if (!v)
		return XDP_DROP;
	reason = parse_first_piece(ctx, &s, v);
	if (may_lack_headers(&s, v))
		return XDP_PASS; /* uplink_ingress judges it as a whole */
	if (reason)
		return drop_xdp(ctx, v, reason);
	if (v->packet.ether_type == ETHERTYPE_IPV6 && prefix_of(&v->packet.daddr) == PREFIX_TENANT)
		return XDP_PASS;
	reason = lockdown(&s, v);
	return reason ? drop_xdp(ctx, v, reason) : XDP_PASS;
}

/* The lockdown again, for frames that XDP did not see: their VLAN tag was taken
 * off by the card, or the interface has no XDP. */
__noinline int host_judge(struct __sk_buff *skb, struct visit *v)
{
	__u32 want = skb->len < 2 * PARSE_BYTES ? skb->len : 2 * PARSE_BYTES;
	enum drop_reason reason;
	struct span s;

	if (!v)
		return TC_ACT_SHOT;
	if (v->packet.icmp_error)
		bpf_skb_pull_data(skb, want);
	s.data = (void *)(long)skb->data;
	s.end = (void *)(long)skb->data_end;
	reason = lockdown(&s, v);
	return reason ? drop(skb, v, reason) : TC_ACT_OK;
}

/* The outermost tag's VLAN. A frame of VLAN 0 has only a priority and is otherwise
 * untagged, also to the kernel (IEEE 802.1Q, 9.6). */
INLINE __u16 vlan_of(struct __sk_buff *skb, const struct packet *p)
{
	return skb->vlan_present ? skb->vlan_tci & VLAN_ID : p->vlan;
}

/* Takes the tag off a frame of VLAN 0. One with more tags, or of a VLAN, stays. */
__noinline int take_priority_off(struct __sk_buff *skb, struct visit *v)
{
	__u32 tags = skb->vlan_present ? 1 : 0;

	if (!v)
		return DROP_VLAN;
	tags += v->packet.tags;
	if (tags != 1 || vlan_of(skb, &v->packet) || bpf_skb_vlan_pop(skb))
		return DROP_VLAN;
	if (v->packet.tags) { /* it was in the frame itself */
		v->packet.tags = 0;
		v->packet.l3_offset -= sizeof(struct vlan_tag);
		v->packet.l4_offset -= sizeof(struct vlan_tag);
	}
	return DROP_NONE;
}

/* A VLAN interface above this one is an uplink of its own and judges its frames. */
INLINE bool is_for_vlan(struct __sk_buff *skb, const struct packet *p)
{
	struct uplink_key key = {.ifindex = skb->ifindex, .vlan = vlan_of(skb, p)};

	if (!key.vlan)
		return false;
	key.vlan_type = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : p->vlan_type;
	return bpf_map_lookup_elem(&uplinks, &key);
}

/* Everything from the world that is not the next packet of a known flow. */
__noinline int uplink_judge(struct __sk_buff *skb, struct visit *v)
{
	enum drop_reason reason;
	struct binding *b;
	__u32 network;

	if (!v)
		return TC_ACT_SHOT;
	if (v->packet.ether_type != ETHERTYPE_IPV6 || prefix_of(&v->packet.daddr) != PREFIX_TENANT)
		return host_judge(skb, v);
	b = identify(v, &v->to, &v->packet.daddr, OUTSIDE);
	if (!b || b->kind == PORT_OVERLAY)
		return drop(skb, v, DROP_UNASSIGNED);
	network = v->to.network;
	v->network = network;
	if ((skb->vlan_present || v->packet.tags) && take_priority_off(skb, v))
		return drop(skb, v, DROP_VLAN);
	if (is_bogus_source(&v->packet.saddr) || prefix_of(&v->packet.saddr))
		return drop(skb, v, DROP_SPOOFED_ADDRESS);
	b = binding_of(&v->packet.saddr, OUTSIDE);
	if (b && b->network == network) /* it would join a flow of the overlay */
		return drop(skb, v, DROP_SPOOFED_ADDRESS);
	if (is_neighbour_discovery(&v->packet)) /* never leaves its link: RFC 4890, 4.3.4 */
		return drop(skb, v, DROP_ND_GUARD);
	if (is_multicast_listener(&v->packet))
		return drop(skb, v, DROP_MULTICAST);
	if (v->packet.icmp_error)
		return deliver_error(skb, v, OUTSIDE);
	if (v->packet.fragment == FRAGMENT_LATER) {
		reason = fragment_recall(v, network);
		if (reason)
			return drop(skb, v, reason);
	}
	__builtin_memset(&v->from, 0, sizeof(v->from));
	v->from.address = v->packet.saddr;
	return deliver_judged(skb, v);
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	struct visit *v = visit_begin(VISIT_PACKET, HOOK_UPLINK_INGRESS, skb->ifindex, skb->len);
	enum drop_reason reason;
	struct flow *f;

	if (!v)
		return TC_ACT_SHOT;
	skb->mark = 0;
	reason = visit_skb(skb, v);
	if (reason)
		return drop(skb, v, reason);
	if (is_for_vlan(skb, &v->packet))
		return TC_ACT_OK;
	if (v->packet.ether_type != ETHERTYPE_IPV6 || v->packet.fragment == FRAGMENT_LATER ||
	    skb->vlan_present || v->packet.tags)
		return uplink_judge(skb, v);
	flow_key_of(v, 0);
	f = bpf_map_lookup_elem(&flows, &v->key);
	if (f && !sender_of(f, v)->ifindex && flow_carries(f, v))
		return deliver(skb, v, f);
	return uplink_judge(skb, v);
}

/* The kernel has just told a stranger's flow that its packet was too big, from an
 * address of the host: the network's gateway is who says so (RFC 4443, 3.2). */
__noinline int speak_as_gateway(struct __sk_buff *skb, struct visit *v)
{
	__u32 source = v ? v->packet.l3_offset + __builtin_offsetof(struct ipv6hdr, saddr) : 0;
	__u32 checksum =
		v ? v->packet.l4_offset + __builtin_offsetof(struct icmp_header, checksum) : 0;
	struct network *n;
	struct binding *b;
	__s64 difference;
	struct visit *quoted;
	__u32 network, slot = VISIT_QUOTED;

	if (!v || v->packet.icmp_type != ICMPV6_PACKET_TOO_BIG || !quotes_flow(skb, v, OUTSIDE))
		return DROP_HOST_REPLY;
	quoted = bpf_map_lookup_elem(&visits, &slot);
	if (!quoted)
		return DROP_HOST_REPLY;
	b = binding_of(&quoted->packet.daddr, OUTSIDE);
	if (!b)
		return DROP_HOST_REPLY;
	network = b->network;
	n = bpf_map_lookup_elem(&networks, &network);
	if (!n)
		return DROP_HOST_REPLY;
	difference = bpf_csum_diff((void *)&v->packet.saddr, sizeof(v->packet.saddr),
				   (void *)&n->gateway, sizeof(n->gateway), 0);
	if (bpf_skb_store_bytes(skb, source, &n->gateway, sizeof(n->gateway), 0) ||
	    bpf_l4_csum_replace(skb, checksum, 0, difference, BPF_F_PSEUDO_HDR))
		return DROP_HOST_REPLY;
	return DROP_NONE;
}

SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	struct visit *v;
	enum drop_reason reason;

	if (skb->mark == MARK_JUDGED)
		return TC_ACT_OK;
	v = visit_begin(VISIT_PACKET, HOOK_UPLINK_EGRESS, skb->ifindex, skb->len);
	if (!v)
		return TC_ACT_SHOT;
	reason = visit_skb(skb, v);
	if (reason)
		return drop(skb, v, reason);
	if (v->packet.ether_type == ETHERTYPE_IPV6 && v->packet.icmp_error &&
	    !speak_as_gateway(skb, v))
		return TC_ACT_OK;
	if (v->packet.ether_type == ETHERTYPE_IPV6 && prefix_of(&v->packet.saddr) == PREFIX_TENANT)
		return drop(skb, v, DROP_TENANT_LEAK);
	reason = check_host_speech(v);
	return reason ? drop(skb, v, reason) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
