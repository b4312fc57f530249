package telemetry

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/test/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testLookup knows the networks acme (1) and globex (2), and two interfaces.
var testLookup = Lookup{
	Network: func(id uint32) (Network, bool) {
		n, ok := map[uint32]Network{
			1: {Name: "acme", Rules: []string{"rules[0]", "rules[1]", "expose[0]", "default.inside", "default.inbound", "default.outbound"},
				Workloads: map[uint32]string{256: "web-1"}},
			2: {Name: "globex"},
		}[id]
		return n, ok
	},
	Interface: func(index uint32) string { return map[uint32]string{7: "zwweb-1-abcdefg", 2: "eth0"}[index] },
}

// tcpDrop is a SYN from acme's web-1 that rules[1] denies.
func tcpDrop() maps.Event {
	e := maps.Event{
		Time: maps.BootTime(), Kind: uint32(maps.EventDrop), Reason: reason("policy_inside"), Hook: hook("workload_egress"),
		Ifindex: 7, Network: 1, Judge: 1, Entry: 1, Length: 94, Proto: 6, EtherType: 0x86dd,
		Saddr: maps.AddressOf(netip.MustParseAddr("2001:db8:aaaa:1::100")),
		Daddr: maps.AddressOf(netip.MustParseAddr("2001:db8:aaaa:1::101")),
		Sport: big(40000), Dport: big(5432),
		Mac: maps.MAC{Bytes: [6]byte{2, 0, 0, 0, 0, 1}},
	}
	e.LinkHeader = 14
	e.Captured = uint8(copy(e.Head[:], "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x86\xdd\x60\x00"))
	return e
}

// big gives a port as the datapath holds it, in network order.
func big(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

func reason(name string) uint32 {
	for _, r := range maps.DropReasons() {
		if r.String() == name {
			return uint32(r)
		}
	}
	panic("no drop reason " + name)
}

func hook(name string) uint32 {
	for h := range maps.Hook(16) {
		if h.String() == name {
			return uint32(h)
		}
	}
	panic("no hook " + name)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openMaps gives the datapath's maps in a bpffs of the test's own.
func openMaps(t testing.TB) *maps.Maps {
	t.Helper()
	testenv.RequireBPF(t)
	mount := t.TempDir()
	must(t, unix.Mount("bpf", mount, "bpf", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	dir := filepath.Join(mount, "maps")
	must(t, os.Mkdir(dir, 0o700))
	m, err := maps.Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	return m
}

// emitter gives a function that puts an event into the ring buffer, by a program:
// there is no other way into one.
func emitter(t testing.TB, m *maps.Maps) func(maps.Event) {
	t.Helper()
	size := int32(binary.Size(maps.Event{}))
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "emit_event", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R2, 0), // R1 is the frame: the event
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -size),
			asm.Mov.Imm(asm.R4, size),
			asm.FnSkbLoadBytes.Call(),
			asm.JNE.Imm(asm.R0, 0, "end"),
			asm.LoadMapPtr(asm.R1, m.Events.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -size),
			asm.Mov.Imm(asm.R3, size),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnRingbufOutput.Call(),
			asm.Return().WithSymbol("end"),
		},
	})
	must(t, err)
	t.Cleanup(func() { must(t, program.Close()) })
	return func(e maps.Event) {
		raw, err := binary.Append(nil, binary.NativeEndian, e)
		must(t, err)
		status, err := program.Run(&ebpf.RunOptions{Data: raw})
		must(t, err)
		if status != 0 {
			t.Fatalf("the program that emits an event returned %d", int32(status))
		}
	}
}
