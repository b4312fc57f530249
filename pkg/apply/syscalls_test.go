package apply

import (
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	tracing "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// syscalls counts how often this process asks something of the kernel or of another
// process: netlink requests, map operations, files, connections. Go's own, such as
// those of its scheduler, are not among them.
type syscalls struct {
	t     *testing.T
	count *ebpf.Map
}

func countSyscalls(t *testing.T) *syscalls {
	t.Helper()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	check(t, err)
	var namespace unix.Stat_t
	check(t, unix.Stat("/proc/self/ns/pid", &namespace))
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.RawTracepoint, License: "GPL",
		Instructions: countOf(count, os.Getpid(), namespace.Dev, namespace.Ino,
			unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_BPF, unix.SYS_CONNECT, unix.SYS_OPENAT),
	})
	check(t, err)
	entered, err := tracing.AttachRawTracepoint(tracing.RawTracepointOptions{Name: "sys_enter", Program: program})
	check(t, err)
	t.Cleanup(func() {
		check(t, entered.Close())
		check(t, program.Close())
		check(t, count.Close())
	})
	return &syscalls{t, count}
}

// countOf is a program that counts a process's calls of some numbers.
func countOf(count *ebpf.Map, pid int, device, namespace uint64, numbers ...int32) asm.Instructions {
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadImm(asm.R1, int64(device), asm.DWord),
		asm.LoadImm(asm.R2, int64(namespace), asm.DWord),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8), // struct bpf_pidns_info: pid, tgid
		asm.Mov.Imm(asm.R4, 8),
		asm.FnGetNsCurrentPidTgid.Call(),
		asm.JNE.Imm(asm.R0, 0, "exit"),
		asm.LoadMem(asm.R1, asm.RFP, -4, asm.Word),
		asm.JNE.Imm(asm.R1, int32(pid), "exit"),
		asm.LoadMem(asm.R7, asm.R6, 8, asm.DWord), // the second argument of sys_enter: the number
	}
	for _, number := range numbers {
		program = append(program, asm.JEq.Imm(asm.R7, number, "count"))
	}
	return append(program,
		asm.Ja.Label("exit"),
		asm.StoreImm(asm.RFP, -8, 0, asm.Word).WithSymbol("count"),
		asm.LoadMapPtr(asm.R1, count.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "exit"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"),
		asm.Return(),
	)
}

// of gives how many calls something takes.
func (s *syscalls) of(do func()) int {
	s.t.Helper()
	read := func() (n uint64) {
		check(s.t, s.count.Lookup(uint32(0), &n))
		return n
	}
	before := read()
	do()
	return int(read()-before) - 1 // the second reading is one itself
}
