package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/zosnet/zosnet/test/lab"
)

// sink counts the UDP packets that reach a machine's interface, and ends them.
type sink struct {
	objects trafficObjects
	hook    link.Link
}

func newSink(m *lab.Machine, name string) (*sink, error) {
	s := &sink{}
	if err := loadTrafficObjects(&s.objects, nil); err != nil {
		return nil, fmt.Errorf("load the sink: %w", err)
	}
	err := m.Do(func() error {
		iface, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		s.hook, err = link.AttachTCX(link.TCXOptions{
			Interface: iface.Index, Program: s.objects.Sink, Attach: ebpf.AttachTCXIngress,
		})
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: attach the sink to %s: %w", m.Name, name, err), s.objects.Close())
	}
	return s, nil
}

// count is how many packets have come so far.
func (s *sink) count() (total uint64, err error) {
	var perCPU []uint64
	if err := s.objects.Arrived.Lookup(uint32(0), &perCPU); err != nil {
		return 0, fmt.Errorf("read the sink: %w", err)
	}
	for _, n := range perCPU {
		total += n
	}
	return total, nil
}

func (s *sink) close() error { return errors.Join(s.hook.Close(), s.objects.Close()) }
