// Package report makes one report of what guests have said. It knows test2json
// events and nothing of QEMU, kernels or packages.
package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
)

// Kernel is a column.
type Kernel struct{ Name, Release string }

// Report is the tests of all kernels.
type Report struct {
	Kernels []Kernel
	tests   map[key]map[string]*outcome // by test and kernel
	guests  []ended
	loads   []load
}

type key struct{ pkg, test string }

// outcome of one test on one kernel.
type outcome struct {
	action  string // pass, fail, skip; empty while it runs
	elapsed float64
	output  []string
}

// ended is a guest that came to its end.
type ended struct {
	kernel string
	result guest.Result
}

// Add takes in what a kernel's guest has said. A kernel may have several guests.
func (r *Report) Add(kernel string, result guest.Result) {
	r.guests = append(r.guests, ended{kernel, result})
	if r.tests == nil {
		r.tests = map[key]map[string]*outcome{}
	}
	for _, e := range result.Events {
		if strings.HasPrefix(e.Action, "vmtest-") {
			continue
		}
		o := r.at(key{e.Package, e.Test}, kernel)
		switch e.Action {
		case "pass", "fail", "skip":
			o.action, o.elapsed = e.Action, e.Elapsed
		case "output":
			o.output = append(o.output, e.Output)
			r.note(kernel, e.Output)
		}
	}
}

func (r *Report) at(k key, kernel string) *outcome {
	if r.tests[k] == nil {
		r.tests[k] = map[string]*outcome{}
	}
	if r.tests[k][kernel] == nil {
		r.tests[k][kernel] = &outcome{}
	}
	return r.tests[k][kernel]
}

// Good reports whether every guest did its job, and every test that was started
// passed. A guest lacks nothing, so a test that is skipped hides something.
func (r *Report) Good() bool {
	for _, g := range r.guests {
		if g.result.Err != nil || len(problems(g.result)) > 0 {
			return false
		}
	}
	for _, outcomes := range r.tests {
		for _, o := range outcomes {
			if o.action != "pass" {
				return false
			}
		}
	}
	return len(r.tests) > 0 && !r.overBudget()
}

// problems are what init could not do.
func problems(result guest.Result) []string {
	var list []string
	for _, e := range result.Events {
		if e.Action == job.Error {
			list = append(list, strings.TrimSpace(e.Package+" "+e.Output))
		}
	}
	return list
}

// Summary is one line about a guest.
func Summary(result guest.Result) string {
	count := map[string]int{}
	for _, e := range result.Events {
		if e.Test != "" && !strings.Contains(e.Test, "/") {
			count[e.Action]++
		}
	}
	text := fmt.Sprintf("%d passed, %d failed, %d skipped in %.0f s",
		count["pass"], count["fail"], count["skip"], result.Took.Seconds())
	if result.Retried {
		text += "; a first boot never reached user space"
	}
	if result.Err != nil {
		text += "; " + result.Err.Error()
	}
	return text
}

// rows gives the tests that have a row of their own, sorted: every test but
// sub-tests, and a package that failed outside of any test.
func (r *Report) rows() []key {
	rows := slices.DeleteFunc(slices.Collect(maps.Keys(r.tests)), func(k key) bool {
		return k.test == "" || strings.Contains(k.test, "/")
	})
	slices.SortFunc(rows, compareKeys)
	return rows
}

func compareKeys(a, b key) int {
	return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test)
}
