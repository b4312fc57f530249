// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Takes expired flows out of the table. The daemon runs it now and then, to give
 * memory back; without it new flows take the room of expired ones by themselves. */
#include "lib/maps.h"
#include "lib/track.h"

struct sweep {
	__u64 now;
	__u32 swept;
};

static long sweep_flow(void *map, const struct flow_key *key, struct flow *f, struct sweep *s)
{
	if (flow_expired(f, key->proto, s->now) && !bpf_map_delete_elem(&flows, key))
		s->swept++;
	return 0;
}

SEC("syscall")
int sweep_flows(void *ctx)
{
	/* this type of program has no coarse clock; both are CLOCK_MONOTONIC */
	struct sweep s = {.now = bpf_ktime_get_ns()};

	bpf_for_each_map_elem(&flows, sweep_flow, &s, 0);
	return s.swept;
}

char _license[] SEC("license") = "Dual BSD/GPL";
