package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which zosnet this is.
type Build struct {
	Version string
}

// Metrics is every metric of a daemon, in a registry of its own.
type Metrics struct {
	registry   *prometheus.Registry
	applied    prometheus.Histogram
	repairs    *prometheus.CounterVec
	eventsLost prometheus.Counter
}

// NewMetrics makes the metrics of a datapath, which read is called to read at each
// scrape: func() (Reading, error) { return ReadMaps(m) }.
func NewMetrics(read func() (Reading, error), lookup Lookup, build Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewPedanticRegistry(),
		applied: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    MetricApplyDuration,
			Help:    "Time that it took to bring the kernel to the desired state.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), // 1 ms to 33 s
		}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: MetricRepairs,
			Help: "Objects that somebody else had changed or removed and that were put right, by kind of object.",
		}, []string{LabelObject}),
		eventsLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: MetricEventsLost,
			Help: "Events that a monitor missed because it read too slowly.",
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        MetricBuild,
		Help:        "Always 1; its labels say which build of zosnet this is.",
		ConstLabels: prometheus.Labels{LabelVersion: build.Version, LabelGo: runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(m.applied, m.repairs, m.eventsLost, info, &collector{read: read, lookup: lookup})
	return m
}

// Applied says that the kernel was brought to the desired state, and how long that
// took.
func (m *Metrics) Applied(took time.Duration) { m.applied.Observe(took.Seconds()) }

// Repaired says that something was put right: "bridge zbacme-yyrfl5f". Only the
// kind of object makes a label, since names come and go.
func (m *Metrics) Repaired(object string) {
	kind, _, _ := strings.Cut(object, " ")
	m.repairs.WithLabelValues(kind).Inc()
}

// EventsLost says that a monitor missed n events.
func (m *Metrics) EventsLost(n int) { m.eventsLost.Add(float64(n)) }

// Handler answers scrapes: GET /metrics and nothing else.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      scrapeLog{log},
		ErrorHandling: promhttp.ContinueOnError,
	}))
	return mux
}

// scrapeLog hands promhttp's errors to slog.
type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Error("read metrics", "error", fmt.Sprint(v...)) }
