package loader

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Feature is something that the datapath uses of the kernel or the machine.
type Feature struct {
	Name    string
	Present bool
	Needed  bool   // without it nothing works; else something slower takes its place
	Detail  string // what was tried and seen
	Advice  string // what to do where it is missing
}

const newerKernel = "use Linux 6.1 or later"

// Probe finds out what this kernel and this process can do by trying it, without
// touching any interface. Native XDP is not among it: only an attempt on a device
// tells, which AttachUplink makes.
func Probe() []Feature {
	list := []Feature{kernelRelease()}
	list = append(list, capabilities()...)
	return append(list,
		tried("bpffs", true, haveBPFFS(), "build the kernel with CONFIG_BPF_SYSCALL, or run where /proc/filesystems lists bpf"),
		tried("BTF of the kernel", false, haveBTF(), "build the kernel with CONFIG_DEBUG_INFO_BTF; maps and programs are then described in bpftool"),
		tried("JIT of BPF", false, haveJIT(), "sysctl -w net.core.bpf_jit_enable=1; programs are several times slower without"),
		tried("ring buffer", true, features.HaveMapType(ebpf.RingBuf), newerKernel),
		tried("longest-prefix-match trie", true, features.HaveMapType(ebpf.LPMTrie), newerKernel),
		tried("XDP programs", true, features.HaveProgramType(ebpf.XDP), newerKernel),
		helpers(),
		tried("programs of type syscall", true, features.HaveProgramType(ebpf.Syscall), newerKernel),
		tried("tcx links", false, haveTCX(), "none needed: clsact is used; Linux 6.6 or later has tcx"),
		tried("nf_tables", true, haveNFTables(), "modprobe nf_tables, or build the kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"),
		tried("WireGuard", false, haveWireGuard(), "modprobe wireguard, where there is one; zosnet wg carries the packets without, more slowly"),
		tried("membarrier", true, haveMembarrier(), "boot without nohz_full="),
	)
}

// explainKernel adds to an error of loading what the kernel or this process lacks,
// where it lacks anything that is needed.
func explainKernel(err error) error { return explain(err, Probe()) }

func explain(err error, features []Feature) error {
	var missing []string
	for _, f := range features {
		if f.Needed && !f.Present {
			missing = append(missing, fmt.Sprintf("%s: %s; %s", f.Name, f.Detail, f.Advice))
		}
	}
	if len(missing) == 0 {
		return err
	}
	return fmt.Errorf("%w\nmissing here:\n\t%s", err, strings.Join(missing, "\n\t"))
}

func tried(name string, needed bool, err error, advice string) Feature {
	f := Feature{Name: name, Needed: needed, Present: err == nil, Detail: "works"}
	if err != nil {
		f.Detail, f.Advice = err.Error(), advice
	}
	return f
}

func kernelRelease() Feature {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return tried("kernel", true, err, newerKernel)
	}
	return Feature{
		Name: "kernel", Needed: true, Present: true,
		Detail: "Linux " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:]),
	}
}

func haveBPFFS() error {
	list, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !strings.Contains(string(list), "\tbpf\n") {
		return errors.New("the kernel has no such file system")
	}
	return nil
}

func haveBTF() error {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return err
}

func haveJIT() error {
	setting, err := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	if errors.Is(err, os.ErrNotExist) {
		return nil // it belongs to the first network namespace, or cannot be switched off
	}
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(setting)) == "0" {
		return errors.New("net.core.bpf_jit_enable is 0")
	}
	return nil
}

// haveTCX attaches to an interface that does not exist: a kernel with tcx says so.
func haveTCX() error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer func() { _ = program.Close() }()
	_, err = link.AttachTCX(link.TCXOptions{
		Interface: math.MaxInt32, Program: program, Attach: ebpf.AttachTCXIngress,
	})
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func haveNFTables() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	_, err = c.ListTablesOfFamily(nftables.TableFamilyINet)
	return err
}

// haveWireGuard asks for its generic netlink family, which loads the module.
func haveWireGuard() error {
	_, err := netlink.GenlFamilyGet("wireguard")
	if errors.Is(err, unix.ENOENT) {
		return errors.New("the kernel has none")
	}
	return err
}

// haveMembarrier asks for MEMBARRIER_CMD_GLOBAL, which waits for running programs.
func haveMembarrier() error {
	const global = 1
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
