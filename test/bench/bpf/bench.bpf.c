// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the benchmarks measure the datapath against, and what feeds it packets. */
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stddef.h>

#include "../../../bpf/lib/parse.h"

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("xdp")
int empty_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int parse_tc(struct __sk_buff *skb)
{
	struct span s = {(void *)(long)skb->data, (void *)(long)skb->data_end};
	struct packet p = {};

	return parse(&s, &p, skb->len) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("xdp")
int parse_xdp(struct xdp_md *ctx)
{
	struct span s = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct packet p = {};

	return parse(&s, &p, s.end - s.data) ? XDP_DROP : XDP_PASS;
}

/* A run of the kernel hands one frame to a program again and again, as the program
 * left it. A feeder makes the next packet of it first. */
struct feed {
	__u32 flows; /* how many take turns, a power of two: the low bits of port */
	__u32 next;
	__u16 sport; /* host order: the first flow's */
	__u8 hop_limit;
	__u8 reserved;
	__u8 smac[6];
	__u8 dmac[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct feed);
	__uint(max_entries, 1);
} feeds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} subject SEC(".maps");

INLINE bool make_next(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip6 + 1); /* TCP has its ports there too */
	__u32 zero = 0;
	struct feed *f = bpf_map_lookup_elem(&feeds, &zero);

	if (!f || (void *)(udp + 1) > end)
		return false;
	__builtin_memcpy(eth->h_source, f->smac, sizeof(f->smac));
	__builtin_memcpy(eth->h_dest, f->dmac, sizeof(f->dmac));
	ip6->hop_limit = f->hop_limit;
	udp->source = bpf_htons(f->sport + (f->next++ & (f->flows - 1)));
	return true;
}

SEC("tc")
int feed_next(struct __sk_buff *skb)
{
	if (make_next((void *)(long)skb->data, (void *)(long)skb->data_end))
		bpf_tail_call(skb, &subject, 0);
	return TC_ACT_UNSPEC;
}

/* The part of struct __sk_buff that a run can be given (bpf_prog_test_run_skb in
 * net/bpf/test_run.c takes a prefix of it); all but mark and ifindex stay 0. */
struct context {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
};

_Static_assert(offsetof(struct context, mark) == offsetof(struct __sk_buff, mark), "mark");
_Static_assert(offsetof(struct context, ifindex) == offsetof(struct __sk_buff, ifindex), "ifindex");

const struct context *context_type __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
