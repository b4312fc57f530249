/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_MSS_H
#define ZOSNET_MSS_H

#include "visit.h"

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTION_MSS_LENGTH 4
#define TCP_OPTION_BYTES 40 /* the most that fit a header: RFC 9293, 3.1 */

/* What a maximum segment size leaves to the headers: RFC 9293, 3.7.1. */
#define MSS_HEADERS (sizeof(struct ipv6hdr) + sizeof(struct tcp_header))

struct tcp_option {
	__u8 kind;
	__u8 length;
};

/* Where the value of a SYN's maximum segment size lies, or 0. */
__noinline int find_mss(struct __sk_buff *skb, __u32 offset, __u32 end)
{
	struct tcp_option option;

	for (int i = 0; i < TCP_OPTION_BYTES; i++) {
		if (offset + sizeof(option) > end ||
		    bpf_skb_load_bytes(skb, offset, &option, sizeof(option)))
			return 0;
		if (option.kind == TCP_OPTION_NOP) {
			offset++;
			continue;
		}
		if (option.kind == TCP_OPTION_END || option.length < sizeof(option))
			return 0;
		if (option.kind == TCP_OPTION_MSS)
			return option.length == TCP_OPTION_MSS_LENGTH &&
					       offset + TCP_OPTION_MSS_LENGTH <= end
				       ? offset + sizeof(option)
				       : 0;
		offset += option.length;
	}
	return 0;
}

/* Lowers the maximum segment size that a SYN or its answer announces to what fits
 * the overlay that the packet enters or leaves by. Who announces none gets 1,220
 * bytes, which fit every overlay. */
__noinline int clamp_mss(struct __sk_buff *skb, struct visit *v)
{
	__u32 at, mtu = 0, most;
	__be16 announced, lowered;
	int found;

	if (!v || bpf_check_mtu(skb, 0, &mtu, 0, 0) < 0 || mtu <= MSS_HEADERS || mtu > 0xffff)
		return 0;
	found = find_mss(skb, v->packet.l4_offset + sizeof(struct tcp_header),
			 v->packet.l4_offset + v->packet.l4_length);
	if (found <= 0)
		return 0;
	at = found;
	most = mtu - MSS_HEADERS;
	if (bpf_skb_load_bytes(skb, at, &announced, sizeof(announced)) ||
	    bpf_ntohs(announced) <= most)
		return 0;
	lowered = bpf_htons(most);
	if (bpf_skb_store_bytes(skb, at, &lowered, sizeof(lowered), 0))
		return 0;
	if ((at - v->packet.l4_offset) & 1) { /* its bytes lie in two words of the sum */
		announced = bpf_htons(announced);
		lowered = bpf_htons(lowered);
	}
	bpf_l4_csum_replace(skb,
			    v->packet.l4_offset + __builtin_offsetof(struct tcp_header, checksum),
			    announced, lowered, sizeof(lowered));
	return 0;
}

#endif
