package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
)

func event(action, test, output string) job.Event {
	return job.Event{Action: action, Package: "pkg/a", Test: test, Output: output}
}

func reportOf(result guest.Result) *Report {
	r := &Report{Kernels: []Kernel{{Name: "6.1", Release: "6.1.0-1-cloud-amd64"}}}
	result.Alive, result.Took = true, time.Second
	r.Add("6.1", result)
	return r
}

// What makes a report bad, and what it must then say.
func TestGood(t *testing.T) {
	pass := []job.Event{event("run", "TestA", ""), event("pass", "TestA", "")}
	for _, c := range []struct {
		name   string
		result guest.Result
		good   bool
		says   string
	}{
		{"all passed", guest.Result{Events: pass}, true, "TestA"},
		{"nothing ran", guest.Result{}, false, "0 passed"},
		{"one failed", guest.Result{Events: append(pass, event("output", "TestB", "why\n"), event("fail", "TestB", ""))}, false, "pkg/a TestB failed on 6.1:\nwhy"},
		{"one never ended", guest.Result{Events: append(pass, event("output", "TestB", "last words\n"))}, false, "NO END"},
		{"one was skipped", guest.Result{Events: append(pass, event("output", "TestB", "    b.go:1: has no b\n"), event("skip", "TestB", ""))}, false, "TestB on 6.1: b.go:1: has no b"},
		{"the guest was killed", guest.Result{Events: pass, Err: errors.New("killed at its limit"), Console: "the console"}, false, "the console"},
		{"init had a problem", guest.Result{Events: append(pass, job.Event{Action: job.Error, Output: "no such test"})}, false, "no such test"},
		{"it was started again", guest.Result{Events: pass, Retried: true}, true, "never reached user space"},
		{"a program within its budget", guest.Result{Events: append(pass, event("output", "TestA", "verified p: 500000 instructions\n"))}, true, "500000 (50.0 %)"},
		{"a program over its budget", guest.Result{Events: append(pass, event("output", "TestA", "verified p: 500001 instructions\n"))}, false, "OVER: 500001"},
	} {
		r := reportOf(c.result)
		if r.Good() != c.good {
			t.Errorf("%s: good is %v", c.name, r.Good())
		}
		if text := r.Text(); !strings.Contains(text, c.says) {
			t.Errorf("%s: the report lacks %q:\n%s", c.name, c.says, text)
		}
	}
}
