package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics scrapes the daemon once.
func (d *Daemon) Metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.path("run/metrics.sock"))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://zosnet/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape the daemon: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape the daemon: %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("scrape the daemon: %w", err)
	}
	return families, nil
}

// Counter sums the counters of one family whose labels have all the given
// values. A family or label set that is not there counts 0.
func (d *Daemon) Counter(ctx context.Context, family string, labels map[string]string) (float64, error) {
	families, err := d.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, metric := range families[family].GetMetric() {
		if hasLabels(metric, labels) {
			sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return sum, nil
}

func hasLabels(metric *dto.Metric, want map[string]string) bool {
	got := map[string]string{}
	for _, pair := range metric.GetLabel() {
		got[pair.GetName()] = pair.GetValue()
	}
	for name, value := range want {
		if got[name] != value {
			return false
		}
	}
	return true
}

// Drops is zosnet_dropped_packets_total for one network and reason. The
// network of what is dropped for the host itself is empty.
func (d *Daemon) Drops(ctx context.Context, network, reason string) (float64, error) {
	return d.Counter(ctx, "zosnet_dropped_packets_total",
		map[string]string{"network": network, "reason": reason})
}
