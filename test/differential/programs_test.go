package differential

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/maps"
)

// Return codes of tc and XDP programs (linux/pkt_cls.h, linux/bpf.h).
const (
	tcOK       = 0
	tcShot     = 2
	tcRedirect = 7
	xdpDrop    = 1
	xdpPass    = 2
)

// programs are the loaded datapath of one machine.
type programs struct {
	bpffs          string
	datapath       *loader.Datapath
	maps           *maps.Maps
	events         *ringbuf.Reader
	workloadEgress *ebpf.Program
	uplinkXDP      *ebpf.Program
	uplinkIngress  *ebpf.Program
	overlayIngress *ebpf.Program
	contexts       contexts
	out            []byte
}

// contexts says where in the two kinds of program context a field lies, as the
// kernel's own types have it.
type contexts struct {
	skbSize, skbIfindex         uint32
	xdpSize, xdpEnd, xdpIfindex uint32
}

func load(bpffs string) (_ *programs, err error) {
	p := &programs{bpffs: bpffs, out: make([]byte, 4096)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if err = os.MkdirAll(bpffs, 0o700); err != nil {
		return nil, err
	}
	if p.datapath, err = loader.Open(loader.Options{BPFFS: bpffs}); err != nil {
		return nil, err
	}
	p.maps = p.datapath.Maps()
	for name, program := range map[string]**ebpf.Program{
		"workload_egress": &p.workloadEgress, "uplink_xdp": &p.uplinkXDP, "uplink_ingress": &p.uplinkIngress,
		"overlay_ingress": &p.overlayIngress,
	} {
		if *program, err = ebpf.LoadPinnedProgram(filepath.Join(bpffs, "progs", name), nil); err != nil {
			return nil, fmt.Errorf("open program %s: %w", name, err)
		}
	}
	if p.events, err = ringbuf.NewReader(p.maps.Events); err != nil {
		return nil, fmt.Errorf("open ring buffer of events: %w", err)
	}
	if err = p.maps.SetWatched(true); err != nil {
		return nil, err
	}
	p.contexts, err = findContexts()
	return p, err
}

func (p *programs) close() {
	if p.events != nil {
		_ = p.events.Close()
	}
	for _, program := range []*ebpf.Program{p.workloadEgress, p.uplinkXDP, p.uplinkIngress, p.overlayIngress} {
		_ = program.Close()
	}
	if p.datapath != nil {
		_ = p.datapath.Close()
	}
	_ = unix.Unmount(p.bpffs, unix.MNT_DETACH)
}

func findContexts() (c contexts, err error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return c, fmt.Errorf("read the kernel's types: %w", err)
	}
	offset := func(name, field string) (size, at uint32) {
		var s *btf.Struct
		if e := kernel.TypeByName(name, &s); e != nil {
			err = errors.Join(err, e)
			return 0, 0
		}
		for _, m := range s.Members {
			if m.Name == field {
				return s.Size, m.Offset.Bytes()
			}
		}
		err = errors.Join(err, fmt.Errorf("struct %s has no field %s", name, field))
		return 0, 0
	}
	c.skbSize, c.skbIfindex = offset("__sk_buff", "ifindex")
	c.xdpSize, c.xdpEnd = offset("xdp_md", "data_end")
	_, c.xdpIfindex = offset("xdp_md", "ingress_ifindex")
	return c, err
}

// runTC asks a tc program about a frame that enters by an interface, or about an IP
// packet where the program expects no link header: the kernel then takes the packet's
// first bytes for one, which the program does not know. The frame as the program
// leaves it is good until the next run.
func (p *programs) runTC(program *ebpf.Program, ifindex uint32, frame []byte) (code uint32, out []byte, err error) {
	ctx := make([]byte, p.contexts.skbSize)
	binary.NativeEndian.PutUint32(ctx[p.contexts.skbIfindex:], ifindex)
	options := ebpf.RunOptions{Data: frame, DataOut: p.out, Context: rawContext(ctx), Repeat: 1}
	code, err = program.Run(&options)
	return code, options.DataOut, err
}

func (p *programs) runXDP(ifindex uint32, frame []byte) (code uint32, err error) {
	ctx := make([]byte, p.contexts.xdpSize)
	binary.NativeEndian.PutUint32(ctx[p.contexts.xdpEnd:], uint32(len(frame)))
	binary.NativeEndian.PutUint32(ctx[p.contexts.xdpIfindex:], ifindex)
	return p.uplinkXDP.Run(&ebpf.RunOptions{Data: frame, Context: rawContext(ctx), Repeat: 1})
}

// rawContext is a context that is bytes already.
type rawContext []byte

func (c rawContext) MarshalBinary() ([]byte, error) { return c, nil }

// takeEvents gives what the programs have reported since the last call.
func (p *programs) takeEvents(into []maps.Event) ([]maps.Event, error) {
	var record ringbuf.Record
	for p.events.AvailableBytes() > 0 {
		if err := p.events.ReadInto(&record); err != nil {
			return into, fmt.Errorf("read event: %w", err)
		}
		event, err := maps.DecodeEvent(record.RawSample)
		if err != nil {
			return into, err
		}
		into = append(into, event)
	}
	return into, nil
}
