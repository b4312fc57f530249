// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Both ends of a measurement: a source of frames, and a sink that counts. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum limit {
	FLOWS = 1024, /* a power of two */
	FIRST_PORT = 1024,
	STAMPS = 4096,
};

const volatile __u32 cable; /* ifindex that emit sends to */
const volatile __u16 ethernet[sizeof(struct ethhdr) / 2];

__u32 turn;
__u64 stamps[STAMPS]; /* ns, when each turn of all flows began */

/* Gives the frame the next flow's source port, and a checksum that is right
 * (RFC 1624): connection tracking would not follow it otherwise. */
static __always_inline void next_flow(struct udphdr *udp)
{
	__be16 port = bpf_htons(FIRST_PORT + (turn++ & (FLOWS - 1)));
	__u32 sum = (__u16)~udp->check + (__u16)~udp->source + port;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	udp->check = ~sum;
	udp->source = port;
}

/* Sends a frame out of the cable. Its memory is used again after it has arrived, as
 * whoever carried it left it. */
SEC("xdp")
int emit(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip6 + 1);

	if ((void *)(udp + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (!(turn & (FLOWS - 1)) && turn / FLOWS < STAMPS)
		stamps[turn / FLOWS & (STAMPS - 1)] = bpf_ktime_get_ns();
	for (int i = 0; i < sizeof(ethernet) / 2; i++)
		((__u16 *)eth)[i] = ethernet[i];
	ip6->hop_limit = 64;
	next_flow(udp);
	return bpf_redirect(cable, 0);
}

/* Where it is attached, a veth takes frames, and hands them on like packets. */
SEC("xdp")
int take(struct xdp_md *ctx)
{
	return XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} arrived SEC(".maps");

/* Counts UDP where it arrives and ends it there, so that its receiver costs no
 * more than the wire would. */
SEC("tc")
int sink(struct __sk_buff *skb)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	__u32 zero = 0;
	__u64 *count;

	if ((void *)(ip6 + 1) > (void *)(long)skb->data_end ||
	    eth->h_proto != bpf_htons(ETH_P_IPV6) || ip6->nexthdr != IPPROTO_UDP)
		return TC_ACT_UNSPEC;
	count = bpf_map_lookup_elem(&arrived, &zero);
	if (count)
		(*count)++;
	return TC_ACT_SHOT;
}

const enum limit *limit_type __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
