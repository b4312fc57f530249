package main

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

const (
	flows     = int(trafficFlowsFLOWS)
	firstPort = uint16(trafficFlowsFIRST_PORT) // source port of the first flow
	udpPort   = 5000
	tcpPort   = 5001
	otherPort = 6000 // the first of those that rules forbid
	batch     = 192  // frames that are sent before they are received; a veth's ring has room for 256
)

// source sends 64-byte UDP packets from an interface as a network card would hand
// them on: as XDP frames made by the kernel, which cost little besides what is
// measured. xdp-trafficgen(8) does the same.
type source struct {
	machine *lab.Machine
	objects trafficObjects
	frame   []byte
}

// newSource is one on a machine's interface. It must be closed.
func newSource(m *lab.Machine, link string, dmac net.HardwareAddr, src, dst netip.Addr) (*source, error) {
	from, err := interfaceOf(m, link)
	if err != nil {
		return nil, err
	}
	s := &source{machine: m}
	s.frame, err = probe.Frame(probe.Ethernet(from.HardwareAddr, dmac, layers.EthernetTypeIPv6),
		probe.IPv6(src, dst, layers.IPProtocolUDP), probe.UDP(firstPort, udpPort), gopacket.Payload{0, 0})
	if err != nil {
		return nil, err
	}
	spec, err := loadTraffic()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["cable"].Set(uint32(from.Index)); err != nil {
		return nil, err
	}
	if err := spec.Variables["addresses"].Set([14]byte(s.frame)); err != nil {
		return nil, err
	}
	if err := spec.LoadAndAssign(&s.objects, nil); err != nil {
		return nil, fmt.Errorf("load the source: %w", err)
	}
	return s, nil
}

func (s *source) close() error { return s.objects.Close() }

func interfaceOf(m *lab.Machine, name string) (found *net.Interface, err error) {
	err = m.Do(func() error {
		found, err = net.InterfaceByName(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: find %s: %w", m.Name, name, err)
	}
	return found, nil
}

// send sends so many frames.
func (s *source) send(frames int) (took time.Duration, err error) {
	err = s.machine.Do(func() error {
		began := time.Now()
		_, err := s.objects.Emit.Run(&ebpf.RunOptions{
			Data: s.frame, Repeat: uint32(frames), BatchSize: batch, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		})
		took = time.Since(began)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: send XDP frames: %w", s.machine.Name, err)
	}
	return took, nil
}

// rate sends for about span and gives how many packets count sees meanwhile, in
// millions a second. They are carried by the processor that sends them, so the
// ring between the two does not overflow: fewer than nine tenths are an error.
func (s *source) rate(span time.Duration, count func() (uint64, error)) (float64, error) {
	const trial = 100_000
	took, err := s.send(trial)
	if err != nil {
		return 0, err
	}
	frames := max(trial, int(trial*span.Seconds()/took.Seconds()))
	before, err := count()
	if err != nil {
		return 0, err
	}
	if took, err = s.send(frames); err != nil {
		return 0, err
	}
	after, err := count()
	if err != nil {
		return 0, err
	}
	if after-before < uint64(frames)*9/10 {
		return 0, fmt.Errorf("of %d packets %d arrived", frames, after-before)
	}
	return float64(after-before) / took.Seconds() / 1e6, nil
}
