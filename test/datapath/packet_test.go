package datapath

import (
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/pkg/maps"
)

// skBuff is what BPF_PROG_TEST_RUN takes and gives of struct __sk_buff
// (include/uapi/linux/bpf.h).
type skBuff struct {
	Len, PktType, Mark, QueueMapping, Protocol   uint32
	VlanPresent, VlanTCI, VlanProto, Priority    uint32
	IngressIfindex, Ifindex, TCIndex             uint32
	CB                                           [5]uint32
	Hash, TCClassid, Data, DataEnd, NAPI, Family uint32
	RemoteIP4, LocalIP4                          uint32
	RemoteIP6, LocalIP6                          [4]uint32
	RemotePort, LocalPort, DataMeta              uint32
	FlowKeys, Tstamp                             uint64
	WireLen, GSOSegs                             uint32
	Sk                                           uint64
	GSOSize                                      uint32
	TstampType                                   uint32
	Hwtstamp                                     uint64
}

type xdpMD struct {
	Data, DataEnd, DataMeta, IngressIfindex, RXQueue, EgressIfindex uint32
}

// verdict of a program, as words.
type verdict string

const (
	pass     verdict = "pass"
	redirect verdict = "redirect"
	dropped  verdict = "drop"
)

// frame is a packet under construction; its zero addresses are filled by from.
type frame struct {
	smac, dmac maps.MAC
	src, dst   netip.Addr
	hopLimit   uint8
	layers     []gopacket.SerializableLayer
	proto      layers.IPProtocol
}

func tcp(src, dst netip.Addr, sport, dport uint16, flags string, seq, ack uint32) frame {
	t := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: seq, Ack: ack, Window: 1000}
	for _, f := range flags {
		switch f {
		case 'S':
			t.SYN = true
		case 'A':
			t.ACK = true
		case 'F':
			t.FIN = true
		case 'R':
			t.RST = true
		case 'P':
			t.PSH = true
		case 'U':
			t.URG = true
		}
	}
	return frame{src: src, dst: dst, hopLimit: 64, proto: layers.IPProtocolTCP, layers: []gopacket.SerializableLayer{t}}
}

func udp(src, dst netip.Addr, sport, dport uint16) frame {
	u := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	return frame{src: src, dst: dst, hopLimit: 64, proto: layers.IPProtocolUDP, layers: []gopacket.SerializableLayer{u, gopacket.Payload("hello")}}
}

func icmp(src, dst netip.Addr, kind, code uint8, body ...byte) frame {
	c := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
	return frame{src: src, dst: dst, hopLimit: 64, proto: layers.IPProtocolICMPv6, layers: []gopacket.SerializableLayer{c, gopacket.Payload(body)}}
}

func (f frame) from(smac, dmac maps.MAC) frame {
	f.smac, f.dmac = smac, dmac
	return f
}

func (f frame) hops(n uint8) frame {
	f.hopLimit = n
	return f
}

// bytes writes the frame with right lengths and checksums.
func (f frame) bytes(t testing.TB) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr(f.smac.Bytes[:]), DstMAC: net.HardwareAddr(f.dmac.Bytes[:]), EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{Version: 6, HopLimit: f.hopLimit, NextHeader: f.proto, SrcIP: f.src.AsSlice(), DstIP: f.dst.AsSlice()}
	for _, l := range f.layers {
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := c.SetNetworkLayerForChecksum(ip); err != nil {
				t.Fatal(err)
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	all := append([]gopacket.SerializableLayer{eth, ip}, f.layers...)
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// step runs a frame through a program on an interface, and gives the verdict, the
// reason of a drop, and the frame as the program left it.
func (m *machine) step(program string, ifindex uint32, data []byte) (verdict, string, []byte) {
	m.t.Helper()
	before := m.dropCounts()
	out := make([]byte, len(data)+256)
	options := &ebpf.RunOptions{Data: data, DataOut: out, Repeat: 1}
	if program == "uplink_xdp" {
		options.Context = &xdpMD{DataEnd: uint32(len(data)), IngressIfindex: ifindex}
	} else {
		options.Context = &skBuff{Ifindex: ifindex, GSOSize: m.segment}
	}
	after := &skBuff{}
	if program != "uplink_xdp" {
		options.ContextOut = after
	}
	code, err := m.programs[program].Run(options)
	if err != nil {
		m.t.Fatalf("%s: %v", program, err)
	}
	m.mark = after.Mark
	v := map[uint32]verdict{0: pass, 2: dropped, 7: redirect}[code]
	if program == "uplink_xdp" {
		v = map[uint32]verdict{1: dropped, 2: pass}[code]
	}
	var reason string
	for r, n := range m.dropCounts() {
		if n > before[r] {
			reason = r.reason
			m.blamed = r.network
		}
	}
	return v, reason, options.DataOut
}

type blame struct {
	network uint32
	reason  string
}

func (m *machine) dropCounts() map[blame]uint64 {
	m.t.Helper()
	counts := map[blame]uint64{}
	drops, err := m.maps.ReadDrops()
	must(m.t, err)
	for key, c := range drops {
		counts[blame{key.Network, maps.DropReason(key.Reason).String()}] += c.Packets
	}
	lockdown, err := m.maps.ReadLockdownDrops()
	must(m.t, err)
	for r, c := range lockdown {
		counts[blame{0, r.String()}] += c.Packets
	}
	return counts
}

// want runs a step and compares its verdict: "redirect", "pass", or a drop reason.
func (m *machine) want(what string, expected string, program string, ifindex uint32, f frame) []byte {
	m.t.Helper()
	return m.wantBytes(what, expected, program, ifindex, f.bytes(m.t))
}

func (m *machine) wantBytes(what, expected, program string, ifindex uint32, data []byte) []byte {
	m.t.Helper()
	v, reason, out := m.step(program, ifindex, data)
	got := string(v)
	if v == dropped {
		got = reason
	}
	if got != expected {
		m.t.Errorf("%s: %s, expected %s", what, got, expected)
	}
	return out
}

// sent is what a workload sends to its gateway or a neighbour.
func (m *machine) sent(w *workload, expected, what string, f frame) []byte {
	m.t.Helper()
	if f.smac == (maps.MAC{}) {
		f = f.from(w.mac, gatewayMAC)
	}
	return m.want(what, expected, "workload_egress", w.ifindex, f)
}

// arrives is what comes in from the world.
func (m *machine) arrives(expected, what string, f frame) []byte {
	m.t.Helper()
	if f.smac == (maps.MAC{}) {
		f = f.from(routerMAC, maps.MAC{})
	}
	return m.want(what, expected, "uplink_ingress", m.uplink, f)
}
