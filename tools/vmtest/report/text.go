package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

const (
	firstOutput = 40 // lines of a failed test: what went wrong first
	lastOutput  = 80
	mostConsole = 100 // lines of a guest that did not come to its end
)

// Text is the whole report.
func (r *Report) Text() string {
	var b strings.Builder
	r.writeTable(&b)
	r.writeLoads(&b)
	r.writeSkips(&b)
	r.writeFailures(&b)
	r.writeGuests(&b)
	return b.String()
}

func (r *Report) writeTable(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(t, "\npackage\ttest")
	for _, k := range r.Kernels {
		_, _ = fmt.Fprintf(t, "\t%s", k.Name)
	}
	_, _ = fmt.Fprint(t, "\n\t")
	for _, k := range r.Kernels {
		release, _, _ := strings.Cut(k.Release, "-cloud")
		_, _ = fmt.Fprintf(t, "\t%s", release)
	}
	_, _ = fmt.Fprintln(t)
	for _, row := range r.rows() {
		_, _ = fmt.Fprintf(t, "%s\t%s", row.pkg, row.test)
		for _, k := range r.Kernels {
			_, _ = fmt.Fprintf(t, "\t%s", cell(r.tests[row][k.Name]))
		}
		_, _ = fmt.Fprintln(t)
	}
	_ = t.Flush()
}

func cell(o *outcome) string {
	switch {
	case o == nil:
		return "-"
	case o.action == "":
		return "NO END"
	case o.action == "fail":
		return "FAIL"
	case o.action == "pass":
		return fmt.Sprintf("pass %.1f s", o.elapsed)
	}
	return o.action
}

// writeSkips gives the reason for each skip.
func (r *Report) writeSkips(b *strings.Builder) {
	heading := "\nSkipped, which fails here:\n"
	r.each(func(k key, kernel string, o *outcome) {
		if o.action != "skip" || k.test == "" {
			return
		}
		fmt.Fprintf(b, "%s%s %s on %s: %s\n", heading, k.pkg, k.test, kernel, reason(o.output))
		heading = ""
	})
}

// reason is the last line that a skipped test has printed of its own.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--- ") && !strings.HasPrefix(line, "=== ") {
			return line
		}
	}
	return "no reason given"
}

// writeFailures gives what failed tests have printed, the verifier's log among
// it. Sub-tests speak for themselves; a test whose sub-test failed does not
// repeat it.
func (r *Report) writeFailures(b *strings.Builder) {
	r.each(func(k key, kernel string, o *outcome) {
		if o.action == "pass" || o.action == "skip" {
			return
		}
		what := "failed"
		if o.action == "" {
			what = "never ended"
		}
		fmt.Fprintf(b, "\n%s %s %s on %s:\n%s", k.pkg, k.test, what, kernel, ends(o.output))
	})
}

func (r *Report) each(do func(k key, kernel string, o *outcome)) {
	keys := slices.SortedFunc(maps.Keys(r.tests), compareKeys)
	for _, k := range keys {
		for _, kernel := range slices.Sorted(maps.Keys(r.tests[k])) {
			do(k, kernel, r.tests[k][kernel])
		}
	}
}

// writeGuests gives a line about each guest, and the console of those that
// failed in any way.
func (r *Report) writeGuests(b *strings.Builder) {
	b.WriteString("\nGuests:\n")
	slices.SortStableFunc(r.guests, func(x, y ended) int { return strings.Compare(x.kernel, y.kernel) })
	for _, g := range r.guests {
		fmt.Fprintf(b, "%s: %s\n", g.kernel, Summary(g.result))
		for _, problem := range problems(g.result) {
			fmt.Fprintf(b, "\t%s\n", problem)
		}
		if g.result.Err != nil || r.failed(g.kernel) {
			lines := strings.SplitAfter(g.result.Console, "\n")
			fmt.Fprintf(b, "end of its console:\n\t%s\n", strings.ReplaceAll(last(lines, mostConsole), "\n", "\n\t"))
		}
	}
}

func (r *Report) failed(kernel string) bool {
	for _, outcomes := range r.tests {
		if o := outcomes[kernel]; o != nil && o.action != "pass" && o.action != "skip" {
			return true
		}
	}
	return false
}

// ends leaves out the middle of what is too long.
func ends(lines []string) string {
	left := len(lines) - firstOutput - lastOutput
	if left <= 0 {
		return strings.Join(lines, "")
	}
	return strings.Join(lines[:firstOutput], "") + fmt.Sprintf("(%d lines more)\n", left) +
		strings.Join(lines[len(lines)-lastOutput:], "")
}

func last(lines []string, most int) string {
	if len(lines) > most {
		lines = append([]string{fmt.Sprintf("(%d lines before)\n", len(lines)-most)}, lines[len(lines)-most:]...)
	}
	return strings.Join(lines, "")
}
