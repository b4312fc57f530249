/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_MAPS_H
#define ZOSNET_MAPS_H

#include "event.h"
#include "flow.h"
#include "identity.h"
#include "lockdown.h"
#include "packet.h"
#include "policy.h"

/* Numbers that Go needs too. */
enum limit {
	LIMIT_NETWORKS = MAX_NETWORKS,
	LIMIT_BINDINGS = MAX_BINDINGS,
	LIMIT_PREFIXES = MAX_PREFIXES,
	LIMIT_POLICY_ENTRIES = POLICY_ENTRIES,
	LIMIT_LOCKDOWN_RANGES = LOCKDOWN_RANGES,
	LIMIT_FLOWS = FLOW_TABLE_SIZE,
	LIMIT_FLOW_WAYS = FLOW_WAYS,
	LIMIT_FLOW_SHARES = FLOW_SHARES,
	LIMIT_EVENT_BYTES = EVENT_BYTES,
	MARK_JUDGED = 0x5a000000, /* skb mark of what a program has judged; low bits: network */
};

#define MAP(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS)  \
	struct {                                     \
		__uint(type, TYPE);                  \
		__type(key, KEY);                    \
		__type(value, VALUE);                \
		__uint(max_entries, ENTRIES);        \
		__uint(map_flags, FLAGS);            \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
	} NAME SEC(".maps")

/* Who is who: written by the daemon; bindings and ports.learned also by DAD. */
MAP(node, BPF_MAP_TYPE_ARRAY, __u32, struct node, 1, 0);
MAP(networks, BPF_MAP_TYPE_ARRAY, __u32, struct network, MAX_NETWORKS, 0);
MAP(ports, BPF_MAP_TYPE_HASH, __u32, struct port, MAX_PORTS, BPF_F_NO_PREALLOC);
MAP(bindings, BPF_MAP_TYPE_HASH, struct binding_key, struct binding, MAX_BINDINGS,
    BPF_F_NO_PREALLOC);
MAP(prefixes, BPF_MAP_TYPE_LPM_TRIE, struct prefix_key, __u32, MAX_PREFIXES, BPF_F_NO_PREALLOC);
MAP(uplinks, BPF_MAP_TYPE_HASH, struct uplink_key, struct uplink, 4096, BPF_F_NO_PREALLOC);
MAP(overlays, BPF_MAP_TYPE_HASH, __u32, struct overlay, MAX_NETWORKS, BPF_F_NO_PREALLOC);

/* What the rules say: written by the daemon, a version at a time. */
MAP(policy_vectors, BPF_MAP_TYPE_HASH, struct policy_key, struct policy_vector, 1 << 20,
    BPF_F_NO_PREALLOC);
MAP(policy_cidrs, BPF_MAP_TYPE_LPM_TRIE, struct policy_cidr_key, __u32, 1 << 22, BPF_F_NO_PREALLOC);
MAP(policy_ports, BPF_MAP_TYPE_LPM_TRIE, struct policy_port_key, __u32, 1 << 22, BPF_F_NO_PREALLOC);
MAP(lockdown_allow, BPF_MAP_TYPE_LPM_TRIE, struct lockdown_key, struct lockdown_allow, 4096,
    BPF_F_NO_PREALLOC);
MAP(lockdown_ports, BPF_MAP_TYPE_HASH, struct lockdown_port_key, __u32, 1 << 16, BPF_F_NO_PREALLOC);

/* What is going on: written by the programs. */
MAP(flows, BPF_MAP_TYPE_HASH, struct flow_key, struct flow, FLOW_TABLE_SIZE, BPF_F_NO_PREALLOC);
MAP(flow_sets, BPF_MAP_TYPE_HASH, struct flow_set_key, struct flow_set, FLOW_TABLE_SIZE / FLOW_WAYS,
    BPF_F_NO_PREALLOC);
MAP(flow_hands, BPF_MAP_TYPE_ARRAY, __u32, struct flow_hands, MAX_NETWORKS, 0);
MAP(fragments, BPF_MAP_TYPE_HASH, struct fragment_key, struct fragment, 65536, BPF_F_NO_PREALLOC);
MAP(host_flows, BPF_MAP_TYPE_LRU_HASH, struct host_flow_key, struct host_flow, 65536, 0);
MAP(dhcp_requests, BPF_MAP_TYPE_HASH, struct dhcp_key, __u64, 2, BPF_F_NO_PREALLOC);

/* What there is to see: read by the daemon. */
MAP(drops, BPF_MAP_TYPE_PERCPU_HASH, struct drop_key, struct counter, 65536, BPF_F_NO_PREALLOC);
MAP(lockdown_drops, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct counter, DROP_REASONS, 0);
MAP(traffic, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct traffic, MAX_NETWORKS, 0);
MAP(rule_counts, BPF_MAP_TYPE_PERCPU_HASH, struct rule_key, struct rule_count, 1 << 18,
    BPF_F_NO_PREALLOC);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");
MAP(events_lost, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1, 0); /* events was full */

#endif
