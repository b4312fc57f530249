package telemetry

// The names of all metrics. Dashboards and alerts depend on them.
const (
	MetricPackets       = "zosnet_packets_total"
	MetricBytes         = "zosnet_bytes_total"
	MetricDropped       = "zosnet_dropped_packets_total"
	MetricRuleHits      = "zosnet_rule_hits_total"
	MetricFlows         = "zosnet_flow_entries"
	MetricMapEntries    = "zosnet_map_entries"
	MetricMapCapacity   = "zosnet_map_capacity"
	MetricApplyDuration = "zosnet_apply_duration_seconds"
	MetricRepairs       = "zosnet_repairs_total"
	MetricEventsLost    = "zosnet_events_lost_total"
	MetricEventsOverrun = "zosnet_events_overrun_total"
	MetricBuild         = "zosnet_build_info"
)

// The names of their labels.
const (
	LabelNetwork   = "network"   // "" is the host
	LabelDirection = "direction" // DirectionEgress or DirectionIngress
	LabelReason    = "reason"    // a drop reason, as in bpf/lib/drop.h
	LabelRule      = "rule"      // such as rules[0], expose[1] or default.inside
	LabelMap       = "map"
	LabelObject    = "object"
	LabelVersion   = "version"
	LabelGo        = "go"
)

// Directions of a network's packets, as its workloads see them.
const (
	DirectionEgress  = "egress"  // what they sent
	DirectionIngress = "ingress" // what reached them
)
