package maps

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
)

func sampleEvent() Event {
	e := Event{
		Time: BootTime(), Kind: uint32(EventDrop), Reason: uint32(bpfDropReasonDROP_POLICY_INSIDE),
		Hook: uint32(bpfHookHOOK_WORKLOAD_EGRESS), Network: 3, Entry: 4, Length: 1514, Proto: 6, Captured: 4, LinkHeader: 14,
		Saddr: AddressOf(globalA), Daddr: AddressOf(netip.MustParseAddr("192.0.2.7")),
		Sport: networkOrder16(40000), Dport: networkOrder16(443),
	}
	copy(e.Head[:], []byte{1, 2, 3, 4})
	return e
}

// An event as the ring buffer gives it, padded to 8 bytes, in the words of Go.
func TestDecodeEvent(t *testing.T) {
	want := sampleEvent()
	raw := rawOf(t, &want)
	got, err := DecodeEvent(append(raw, 0, 0, 0, 0))
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := got.Source(); s != netip.AddrPortFrom(globalA, 40000) {
		t.Errorf("source %s", s)
	}
	if d := got.Destination(); d != netip.MustParseAddrPort("192.0.2.7:443") {
		t.Errorf("destination %s", d)
	}
	if len(got.Frame()) != 4 {
		t.Errorf("frame %v", got.Frame())
	}
	if ago := time.Since(got.When()); ago < -time.Second || ago > time.Minute {
		t.Errorf("it happened %s ago", ago)
	}
	if _, err := DecodeEvent(raw[:len(raw)-1]); err == nil {
		t.Error("half an event was read")
	}
	got.Captured = 255 // more than there is room for
	if len(got.Frame()) != len(got.Head) {
		t.Errorf("frame of %d bytes", len(got.Frame()))
	}
	bare := got
	bare.Captured, bare.LinkHeader, bare.EtherType = 4, 0, 0x86dd
	if want := []byte{12: 0x86, 13: 0xdd, 14: 1, 15: 2, 16: 3, 17: 4}; !slices.Equal(bare.Frame(), want) {
		t.Errorf("packet without an Ethernet header: % x, wanted % x", bare.Frame(), want)
	}
}

// A program's event reaches the reader; a deadline and Close end the wait.
func TestEventReader(t *testing.T) {
	m := openMaps(t, bpffs(t))
	r, err := m.ReadEvents()
	must(t, err)
	r.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without an event: %v", err)
	}
	r.SetDeadline(time.Now().Add(30 * time.Second))
	emit(t, m)
	e, err := r.Next()
	must(t, err)
	if e.Kind != uint32(EventLearn) || e.Network != 0 {
		t.Errorf("got %+v", e)
	}
	r.SetDeadline(time.Time{})
	ended := make(chan error)
	go func() { _, err := r.Next(); ended <- err }()
	must(t, r.Close())
	if err := <-ended; !errors.Is(err, ErrEventsClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// emit runs a program that sends an event of which only the kind is set.
func emit(t *testing.T, m *Maps) {
	t.Helper()
	size := int32(eventBytes)
	kind := int16(8 + 16 + 16) // after time, saddr, daddr
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SocketFilter, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.LoadMapPtr(asm.R1, m.Events.FD()),
			asm.Mov.Imm(asm.R2, size),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnRingbufReserve.Call(),
			asm.JEq.Imm(asm.R0, 0, "exit"),
			asm.StoreImm(asm.R0, kind, int64(EventLearn), asm.Word),
			asm.StoreImm(asm.R0, kind+16, 0, asm.Word), // network
			asm.Mov.Reg(asm.R1, asm.R0),
			asm.Mov.Imm(asm.R2, 0),
			asm.FnRingbufSubmit.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"),
			asm.Return(),
		},
	})
	must(t, err)
	defer func() { _ = program.Close() }()
	_, err = program.Run(&ebpf.RunOptions{Data: make([]byte, 14)})
	must(t, err)
}
