package maps

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Fill is how full a map is.
type Fill struct {
	Entries int
	Max     int
}

// ReadFill gives how full each map is that fills, by its name: hashes and tries.
func (m *Maps) ReadFill() (map[string]Fill, error) {
	fill := map[string]Fill{}
	for name, each := range m.all {
		n, err := m.entries(name, each)
		if err != nil {
			return nil, fmt.Errorf("count entries of map %s: %w", name, err)
		}
		if n >= 0 {
			fill[name] = Fill{Entries: n, Max: int(each.MaxEntries())}
		}
	}
	return fill, nil
}

// entries gives -1 for maps that are always full.
func (m *Maps) entries(name string, each *ebpf.Map) (int, error) {
	switch each.Type() {
	case ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash:
		return m.count.of(each)
	case ebpf.LPMTrie:
		return m.entriesOfTrie(name, each)
	}
	return -1, nil
}

// entriesOfTrie knows how many entries policies have, since nobody else writes
// them, and counts the few of the others.
func (m *Maps) entriesOfTrie(name string, each *ebpf.Map) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	switch name {
	case bpfMapPolicyCidrs:
		for _, keys := range m.versions {
			n += len(keys.cidrs)
		}
		return n, nil
	case bpfMapPolicyPorts:
		for _, keys := range m.versions {
			n += len(keys.ports)
		}
		return n, nil
	}
	err := eachRaw(each, func([]byte, [][]byte) error { n++; return nil })
	return n, err
}

// counter counts a hash's entries inside the kernel, which keeps no count that
// can be read.
type counter struct {
	mu       sync.Mutex
	programs map[*ebpf.Map]*ebpf.Program // one a map, which stands in its instructions
}

func (c *counter) of(m *ebpf.Map) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	program, ok := c.programs[m]
	if !ok {
		var err error
		if program, err = ebpf.NewProgram(countProgram(m)); err != nil {
			return 0, fmt.Errorf("load the program that counts: %w", err)
		}
		c.programs[m] = program
	}
	n, err := program.Run(&ebpf.RunOptions{})
	return int(n), err
}

// countProgram gives a program of type syscall that returns what
// bpf_for_each_map_elem does (Linux 5.13): how many entries it went over. The
// verifier wants the callback to have BTF and to be static.
func countProgram(m *ebpf.Map) *ebpf.ProgramSpec {
	number := &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}
	function := &btf.FuncProto{Return: number}
	begin := asm.LoadMapPtr(asm.R1, m.FD())
	visit := asm.Mov.Imm(asm.R0, 0).WithSymbol("visit_entry")
	return &ebpf.ProgramSpec{
		Name: "count_entries", Type: ebpf.Syscall, Flags: sleepable, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			btf.WithFuncMetadata(begin.WithSymbol("count_entries"),
				&btf.Func{Name: "count_entries", Type: function, Linkage: btf.GlobalFunc}),
			asm.Instruction{
				OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1,
			}.WithReference("visit_entry"),
			asm.Mov.Imm(asm.R3, 0),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnForEachMapElem.Call(),
			asm.Return(),
			btf.WithFuncMetadata(visit, &btf.Func{Name: "visit_entry", Type: function, Linkage: btf.StaticFunc}),
			asm.Return(),
		},
	}
}

// sleepable is BPF_F_SLEEPABLE, which programs of type syscall must have.
const sleepable = 1 << 4

// Close frees the programs.
func (c *counter) Close() error {
	var errs []error
	for _, program := range c.programs {
		errs = append(errs, program.Close())
	}
	return errors.Join(errs...)
}
