package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// SweepFlows takes expired flows out of the table, by the programs' own rules, and
// gives their number. The datapath does without: it only gives memory back sooner.
func (d *Datapath) SweepFlows() (int, error) {
	swept, err := d.programs["sweep_flows"].Run(&ebpf.RunOptions{})
	if err != nil {
		return 0, fmt.Errorf("run sweep_flows: %w", err)
	}
	return int(swept), nil
}
