package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

const (
	stamps    = int(trafficLimitSTAMPS)
	flows     = int(trafficLimitFLOWS)
	firstPort = uint16(trafficLimitFIRST_PORT) // source port of the first flow
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
	if err := spec.Variables["ethernet"].Set([14]byte(s.frame)); err != nil {
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

// send sends a packet of each flow so many times. It gives how long each time took.
func (s *source) send(turns int) (took []time.Duration, err error) {
	if turns >= stamps {
		return nil, fmt.Errorf("send %d packets of each flow: only %d are timed", turns, stamps)
	}
	if err := s.objects.Turn.Set(uint32(0)); err != nil {
		return nil, err
	}
	err = s.machine.Do(func() error {
		_, err := s.objects.Emit.Run(&ebpf.RunOptions{
			Data: s.frame, Repeat: uint32(turns*flows + 1), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: send XDP frames: %w", s.machine.Name, err)
	}
	var began [stamps]uint64
	if err := s.objects.Stamps.Get(&began); err != nil {
		return nil, err
	}
	for i := range turns {
		took = append(took, time.Duration(began[i+1]-began[i]))
	}
	return took, nil
}

// rate sends for about span and gives how many packets arrive, in millions a
// second: by the turn that takes the median time, since other programs of the
// machine only make turns longer. Count tells how many have arrived so far.
//
// The processor that sends a packet also carries it, so that the ring between the
// two does not overflow. On a busy machine the kernel may put the carrying off;
// then packets are lost, and it is done again.
func (s *source) rate(span time.Duration, count func() (uint64, error)) (float64, error) {
	const tries, trial = 10, 20
	took, err := s.send(trial)
	if err != nil {
		return 0, err
	}
	turns := min(stamps-1, max(trial, int(span/middle(took))))
	for range tries {
		before, err := count()
		if err != nil {
			return 0, err
		}
		if took, err = s.send(turns); err != nil {
			return 0, err
		}
		after, err := count()
		if err != nil {
			return 0, err
		}
		if after-before >= uint64(turns*flows)*99/100 {
			return float64(flows) / middle(took).Seconds() / 1e6, nil
		}
	}
	return 0, fmt.Errorf("packets are lost in each of %d tries: the machine is too busy to measure", tries)
}

func middle(took []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(took))[len(took)/2]
}
