// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Every map and, for Go, every type: no programs. */
#include "lib/maps.h"
#include "lib/parse.h"

const enum drop_reason *drop_reason_type __attribute__((unused));
const enum event_kind *event_kind_type __attribute__((unused));
const enum hook *hook_type __attribute__((unused));
const enum flow_state *flow_state_type __attribute__((unused));
const enum flow_share *flow_share_type __attribute__((unused));
const enum hop_kind *hop_kind_type __attribute__((unused));
const enum network_flag *network_flag_type __attribute__((unused));
const enum port_kind *port_kind_type __attribute__((unused));
const enum prefix_kind *prefix_kind_type __attribute__((unused));
const enum policy_dimension *policy_dimension_type __attribute__((unused));
const enum limit *limit_type __attribute__((unused));
const struct event *event_type __attribute__((unused));
const struct packet *packet_type __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
