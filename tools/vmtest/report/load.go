package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// The verifier gives up after so many instructions (BPF_COMPLEXITY_LIMIT_INSNS
// in the kernel's include/linux/bpf_verifier.h); a program must stay under the
// share that leaves room for a verifier that looks closer.
const (
	verifierLimit = 1_000_000
	mostShare     = 0.5
)

// load is what the verifier had to do for a program on a kernel.
type load struct {
	kernel, program string
	instructions    int
}

// verified is the line by which a test tells it.
var verified = regexp.MustCompile(`verified (\w+): (\d+) instructions`)

func (r *Report) note(kernel, output string) {
	m := verified.FindStringSubmatch(output)
	if m == nil {
		return
	}
	n, err := strconv.Atoi(m[2])
	if err == nil {
		r.loads = append(r.loads, load{kernel, m[1], n})
	}
}

func (l load) share() float64 { return float64(l.instructions) / verifierLimit }

func (r *Report) overBudget() bool {
	return slices.ContainsFunc(r.loads, func(l load) bool { return l.share() > mostShare })
}

func (r *Report) writeLoads(b *strings.Builder) {
	if len(r.loads) == 0 {
		return
	}
	fmt.Fprintf(b, "\nInstructions that the verifier processed, of %d; over %.0f %% fails:\n\n", verifierLimit, mostShare*100)
	var programs []string
	for _, l := range r.loads {
		if !slices.Contains(programs, l.program) {
			programs = append(programs, l.program)
		}
	}
	slices.Sort(programs)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(t, "program")
	for _, k := range r.Kernels {
		_, _ = fmt.Fprintf(t, "\t%s", k.Name)
	}
	_, _ = fmt.Fprintln(t)
	for _, program := range programs {
		_, _ = fmt.Fprint(t, program)
		for _, k := range r.Kernels {
			_, _ = fmt.Fprintf(t, "\t%s", r.loadCell(k.Name, program))
		}
		_, _ = fmt.Fprintln(t)
	}
	_ = t.Flush()
}

func (r *Report) loadCell(kernel, program string) string {
	for _, l := range r.loads {
		if l.kernel != kernel || l.program != program {
			continue
		}
		text := fmt.Sprintf("%d (%.1f %%)", l.instructions, l.share()*100)
		if l.share() > mostShare {
			text = strings.ToUpper("over: ") + text
		}
		return text
	}
	return "-"
}
