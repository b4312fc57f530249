package docs

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/maps"
)

func TestReasonTable(t *testing.T) {
	var want []string
	for _, r := range maps.DropReasons()[1:] {
		want = append(want, r.String())
	}
	slices.Sort(want)
	if d := cmp.Diff(want, table(t, "operations.md", "reason")); d != "" {
		t.Error(d)
	}
}

func TestMetricTable(t *testing.T) {
	var want []string
	for _, found := range regexp.MustCompile(`Metric\w+ += "(\w+)"`).FindAllStringSubmatch(read(t, "../pkg/telemetry/names.go"), -1) {
		want = append(want, found[1])
	}
	slices.Sort(want)
	if d := cmp.Diff(want, table(t, "operations.md", "metric")); d != "" {
		t.Error(d)
	}
}
