package telemetry

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/test/testenv"
)

// frame is a SYN in Ethernet of which an event holds the first 128 bytes.
func frame(t *testing.T, payload int) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP,
		SrcIP: netip.MustParseAddr("2001:db8:aaaa:1::100").AsSlice(), DstIP: netip.MustParseAddr("2001:db8:aaaa:1::101").AsSlice()}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 5432, SYN: true, Window: 64240}
	must(t, tcp.SetNetworkLayerForChecksum(ip))
	buffer := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		eth, ip, tcp, gopacket.Payload(make([]byte, payload))))
	return buffer.Bytes()
}

// captured are three events on two interfaces, one of them longer than what an
// event holds of it.
func captured(t *testing.T) []Event {
	t.Helper()
	var events []Event
	for i, payload := range []int{0, 1000, 0} {
		raw := tcpDrop()
		bytes := frame(t, payload)
		raw.Captured, raw.Length = uint8(copy(raw.Head[:], bytes)), uint32(len(bytes))
		if i == 2 {
			raw.Ifindex, raw.Network, raw.Entry = 2, 0, ^uint32(0)
			raw.Hook, raw.Reason = hook("uplink_xdp"), reason("lockdown")
		}
		e := eventOf(&raw, testLookup)
		e.Time = time.Date(2026, 11, 22, 3, 0, i, 123456789, time.UTC)
		events = append(events, e)
	}
	return events
}

func capture(t *testing.T, events []Event) []byte {
	t.Helper()
	var file bytes.Buffer
	c, err := NewCapture(&file)
	must(t, err)
	for _, e := range events {
		must(t, c.Write(e))
	}
	return file.Bytes()
}

func TestCapture(t *testing.T) {
	events := captured(t)
	reader, err := pcapgo.NewNgReader(bytes.NewReader(capture(t, events)), pcapgo.NgReaderOptions{})
	must(t, err)
	comments := []string{
		"drop policy_inside, network acme, rules[1], workload_egress",
		"drop policy_inside, network acme, rules[1], workload_egress",
		"drop lockdown, uplink_xdp",
	}
	interfaces := []string{"zwweb-1-abcdefg", "zwweb-1-abcdefg", "eth0"}
	for i, want := range events {
		data, info, options, err := reader.ReadPacketDataWithOptions()
		must(t, err)
		if !bytes.Equal(data, want.Frame) || info.Length != int(want.Length) || !info.Timestamp.Equal(want.Time) {
			t.Errorf("frame %d: %d of %d bytes at %s, want %d of %d at %s", i, len(data), info.Length, info.Timestamp,
				len(want.Frame), want.Length, want.Time)
		}
		if d := cmp.Diff([]string{comments[i]}, options.Comments); d != "" {
			t.Errorf("frame %d: %s", i, d)
		}
		at, err := reader.Interface(info.InterfaceIndex)
		must(t, err)
		if at.Name != interfaces[i] {
			t.Errorf("frame %d: interface %s, want %s", i, at.Name, interfaces[i])
		}
	}
}

// TestEveryReason says that each drop reason stands in the comment by its name.
func TestEveryReason(t *testing.T) {
	for _, r := range maps.DropReasons()[1:] {
		raw := tcpDrop()
		raw.Reason = uint32(r)
		if comment := eventOf(&raw, testLookup).comment(); !strings.HasPrefix(comment, "drop "+r.String()+",") {
			t.Errorf("the comment of a packet dropped for %s is %q", r, comment)
		}
	}
}

// TestTcpdump reads a capture with the program that people use.
func TestTcpdump(t *testing.T) {
	tcpdump := testenv.RequireTool(t, "tcpdump")
	path := filepath.Join(t.TempDir(), "drops.pcapng")
	must(t, os.WriteFile(path, capture(t, captured(t)), 0o600))
	out, err := exec.Command(tcpdump, "-nn", "-r", path).CombinedOutput()
	if err != nil {
		t.Fatalf("tcpdump: %v\n%s", err, out)
	}
	const flow = "IP6 2001:db8:aaaa:1::100.40000 > 2001:db8:aaaa:1::101.5432: Flags [S]"
	if got := strings.Count(string(out), flow); got != 3 {
		t.Errorf("tcpdump shows %d of 3 packets:\n%s", got, out)
	}
}
