package telemetry

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zosnet/zosnet/pkg/maps"
)

// Reading is what one scrape takes from the datapath.
type Reading struct {
	Traffic  map[uint32]maps.Traffic // by network id
	Drops    map[maps.DropKey]maps.Counter
	Lockdown map[maps.DropReason]maps.Counter
	Rules    map[maps.RuleKey]maps.RuleCount
	Fill     map[string]maps.Fill // by name of the map

	EventsLost uint64 // for want of room in the ring buffer
}

// ReadMaps reads everything that metrics show.
func ReadMaps(m *maps.Maps) (Reading, error) {
	var r Reading
	var errs [6]error
	r.Traffic, errs[0] = m.ReadTraffic()
	r.Drops, errs[1] = m.ReadDrops()
	r.Lockdown, errs[2] = m.ReadLockdownDrops()
	r.Rules, errs[3] = m.ReadRuleCounts()
	r.Fill, errs[4] = m.ReadFill()
	r.EventsLost, errs[5] = m.ReadEventsLost()
	return r, errors.Join(errs[:]...)
}

// The descriptions of what the datapath counts.
var (
	descPackets = prometheus.NewDesc(MetricPackets,
		"Packets that a network's workloads sent (egress) and that reached them (ingress).",
		[]string{LabelNetwork, LabelDirection}, nil)
	descBytes = prometheus.NewDesc(MetricBytes,
		"Bytes that a network's workloads sent (egress) and that reached them (ingress), link-layer headers included.",
		[]string{LabelNetwork, LabelDirection}, nil)
	descDropped = prometheus.NewDesc(MetricDropped,
		"Packets dropped, by network and reason; an empty network stands for the host.",
		[]string{LabelNetwork, LabelReason}, nil)
	descRuleHits = prometheus.NewDesc(MetricRuleHits,
		"Flows that an entry of a network's document decided, since its rules last changed.",
		[]string{LabelNetwork, LabelRule}, nil)
	descFlows = prometheus.NewDesc(MetricFlows,
		"Flows in the flow table, expired ones whose room is not yet needed among them.", nil, nil)
	descOverrun = prometheus.NewDesc(MetricEventsOverrun,
		"Events that the datapath did not tell of since the ring buffer was full.", nil, nil)
	descMapEntries = prometheus.NewDesc(MetricMapEntries,
		"Entries in a map of the datapath.", []string{LabelMap}, nil)
	descMapCapacity = prometheus.NewDesc(MetricMapCapacity,
		"Entries that a map of the datapath has room for.", []string{LabelMap}, nil)
)

// flowMap is the map whose fill is the number of flows.
const flowMap = "flows"

// collector turns a reading into metrics at each scrape.
type collector struct {
	read   func() (Reading, error)
	lookup Lookup
}

// Describe sends every description.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPackets, descBytes, descDropped, descRuleHits, descFlows, descOverrun, descMapEntries, descMapCapacity} {
		out <- d
	}
}

// Collect reads the datapath and sends what it counted. What could not be read is
// left out, and the scrape's log says why.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	r, err := c.read()
	if err != nil {
		out <- prometheus.NewInvalidMetric(descPackets, err)
	}
	lookup := c.lookup.remembering()
	collectTraffic(out, lookup, r.Traffic)
	collectDrops(out, lookup, r)
	collectRules(out, lookup, r.Rules)
	out <- counter(descOverrun, r.EventsLost)
	for name, fill := range r.Fill {
		out <- gauge(descMapEntries, fill.Entries, name)
		out <- gauge(descMapCapacity, fill.Max, name)
		if name == flowMap {
			out <- gauge(descFlows, fill.Entries)
		}
	}
}

func collectTraffic(out chan<- prometheus.Metric, lookup Lookup, all map[uint32]maps.Traffic) {
	for id, t := range all {
		network, known := lookup.network(id)
		if !known || id == 0 {
			continue
		}
		out <- counter(descPackets, t.Egress.Packets, network.Name, DirectionEgress)
		out <- counter(descPackets, t.Ingress.Packets, network.Name, DirectionIngress)
		out <- counter(descBytes, t.Egress.Bytes, network.Name, DirectionEgress)
		out <- counter(descBytes, t.Ingress.Bytes, network.Name, DirectionIngress)
	}
}

// collectDrops adds up what the lockdown dropped and what was dropped for no network:
// both are the host's.
func collectDrops(out chan<- prometheus.Metric, lookup Lookup, r Reading) {
	type labels struct{ network, reason string }
	sums := map[labels]uint64{}
	for key, count := range r.Drops {
		if network, known := lookup.network(key.Network); known {
			sums[labels{network.Name, maps.DropReason(key.Reason).String()}] += count.Packets
		}
	}
	for reason, count := range r.Lockdown {
		sums[labels{"", reason.String()}] += count.Packets
	}
	for l, packets := range sums {
		out <- counter(descDropped, packets, l.network, l.reason)
	}
}

func collectRules(out chan<- prometheus.Metric, lookup Lookup, all map[maps.RuleKey]maps.RuleCount) {
	for key, count := range all {
		network, known := lookup.network(key.Network)
		rule := network.rule(key.Entry)
		if known && rule != "" {
			out <- counter(descRuleHits, count.Flows, network.Name, rule)
		}
	}
}

func counter(d *prometheus.Desc, value uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func gauge(d *prometheus.Desc, value int, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
}
