package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/zosnet/zosnet/pkg/maps"
)

// counted is a datapath of two networks and a third whose name is not known.
func counted() (Reading, error) {
	return Reading{
		Traffic: map[uint32]maps.Traffic{
			1: {Egress: maps.Counter{Packets: 10, Bytes: 1000}, Ingress: maps.Counter{Packets: 20, Bytes: 2000}},
			2: {Egress: maps.Counter{Packets: 1, Bytes: 100}},
			9: {Egress: maps.Counter{Packets: 99}},
		},
		Drops: map[maps.DropKey]maps.Counter{
			{Network: 1, Reason: reason("spoofed_mac")}: {Packets: 3},
			{Network: 2, Reason: reason("spoofed_mac")}: {Packets: 4},
			{Network: 0, Reason: reason("lockdown")}:    {Packets: 5},
			{Network: 9, Reason: reason("lockdown")}:    {Packets: 99},
		},
		Lockdown: map[maps.DropReason]maps.Counter{maps.DropReason(reason("lockdown")): {Packets: 7}},
		Rules: map[maps.RuleKey]maps.RuleCount{
			{Network: 1, Entry: 0}:  {Flows: 11},
			{Network: 1, Entry: 2}:  {Flows: 12},
			{Network: 1, Entry: 3}:  {Flows: 13},
			{Network: 1, Entry: 77}: {Flows: 99},
			{Network: 9, Entry: 0}:  {Flows: 99},
		},
		Fill:       map[string]maps.Fill{"flows": {Entries: 5, Max: 1 << 20}, "bindings": {Entries: 6, Max: 1 << 17}},
		EventsLost: 8,
	}, nil
}

func testMetrics(read func() (Reading, error)) *Metrics {
	return NewMetrics(read, testLookup, Build{Version: "v1.2.3"})
}

// TestMetrics says what a scrape shows of that datapath. What belongs to no known
// network or rule is left out.
func TestMetrics(t *testing.T) {
	m := testMetrics(counted)
	m.Repaired("route 2001:db8:aaaa:1::/64")
	m.Repaired("route 2001:db8:aaaa:2::/64")
	m.Repaired("program")
	m.EventsLost(3)
	m.Applied(3 * time.Millisecond)
	want, err := os.Open("testdata/metrics.txt")
	must(t, err)
	defer func() { _ = want.Close() }()
	if err := testutil.GatherAndCompare(m.registry, want, slices.DeleteFunc(metricNames(t), func(name string) bool {
		return name == MetricBuild // names the version of Go
	})...); err != nil {
		t.Error(err)
	}
}

func TestLint(t *testing.T) {
	m := testMetrics(counted)
	m.Repaired("route")
	problems, err := testutil.GatherAndLint(m.registry)
	must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// metricNames reads the constants of names.go, so that none is forgotten here.
func metricNames(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("names.go")
	must(t, err)
	var names []string
	for _, found := range regexp.MustCompile(`Metric\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		names = append(names, found[1])
	}
	return names
}

// TestEveryMetric says that a scrape has every metric of names.go and no other,
// each with a HELP line.
func TestEveryMetric(t *testing.T) {
	m := testMetrics(counted)
	m.Repaired("route")
	want := metricNames(t)
	if len(want) != 12 {
		t.Fatalf("names.go has %d metrics, want 12: %v", len(want), want)
	}
	var got []string
	for _, line := range strings.Split(scrape(t, m), "\n") {
		if name, help, ok := strings.Cut(strings.TrimPrefix(line, "# HELP "), " "); ok && strings.HasPrefix(line, "# HELP ") {
			got = append(got, name)
			if len(help) < 20 || !strings.HasSuffix(help, ".") {
				t.Errorf("the help of %s is no sentence: %q", name, help)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("a scrape has %v, names.go %v", got, want)
	}
}

// TestUnreadable says that a scrape of a datapath that cannot be read logs why and
// still shows the rest.
func TestUnreadable(t *testing.T) {
	var log strings.Builder
	m := testMetrics(func() (Reading, error) {
		r, _ := counted()
		r.Traffic = nil
		return r, errors.New("read map traffic: gone")
	})
	response := httptest.NewRecorder()
	m.Handler(slog.New(slog.NewTextHandler(&log, nil))).ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if !strings.Contains(log.String(), "read map traffic: gone") {
		t.Errorf("the log does not say why: %q", log.String())
	}
	if !strings.Contains(string(body), MetricDropped+"{") || strings.Contains(string(body), MetricPackets+"{") {
		t.Errorf("the rest is not shown:\n%s", body)
	}
}

// TestReadMaps scrapes the real maps, in which a drop was counted on every CPU.
func TestReadMaps(t *testing.T) {
	real := openMaps(t)
	perCPU := make([]maps.Counter, ebpf.MustPossibleCPU())
	for i := range perCPU {
		perCPU[i].Packets = 2
	}
	must(t, real.Drops.Put(&maps.DropKey{Network: 1, Reason: reason("ra_guard")}, perCPU))
	text := scrape(t, testMetrics(func() (Reading, error) { return ReadMaps(real) }))
	for _, want := range []string{
		fmt.Sprintf(`%s{network="acme",reason="ra_guard"} %d`, MetricDropped, 2*len(perCPU)),
		MetricMapEntries + `{map="drops"} 1`,
		MetricMapCapacity + `{map="flows"} ` + fmt.Sprint(maps.MaxFlows),
		MetricFlows + " 0",
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, strings.Replace(want, "1048576", "1.048576e+06", 1)+"\n") {
			t.Errorf("a scrape has no line %q:\n%s", want, text)
		}
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	response := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if response.Code != 200 {
		t.Fatalf("a scrape gives %d", response.Code)
	}
	return response.Body.String()
}
