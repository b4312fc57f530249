package guest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hugelgupf/vmtest/qemu"

	"github.com/zosnet/zosnet/tools/vmtest/job"
)

// bootLimit is how long a kernel may take to start init.
const bootLimit = 150 * time.Second

// Guest is a machine that will be run once or more.
type Guest struct {
	Name        string // for messages: the kernel's
	Kernel      string // path of vmlinuz
	Initramfs   string // path
	Accelerator Accelerator
	CPUs        int
	Memory      string        // such as "2G"
	Limit       time.Duration // for the whole run, after which it is killed
	Arguments   []string      // of QEMU, besides the usual
	Queues      int           // of two more cards that are cabled to each other; none if 0
	Interactive bool          // the console is this process's terminal
}

// Result is what became of a run.
type Result struct {
	Events  []job.Event
	Console string
	Alive   bool // init has run
	Retried bool // a first try never reached user space
	Took    time.Duration
	Err     error // the guest did not come to the end of its job
}

// Run boots the guest and waits for its end. A guest that never started init is
// started once more: QEMU hangs before the first output now and then. seen, if
// not nil, is called with each event as it comes.
func (g Guest) Run(ctx context.Context, seen func(job.Event)) Result {
	result := g.once(ctx, seen)
	if result.Err != nil && !result.Alive && ctx.Err() == nil {
		result = g.once(ctx, seen)
		result.Retried = true
	}
	return result
}

func (g Guest) once(ctx context.Context, seen func(job.Event)) (result Result) {
	began := time.Now()
	defer func() { result.Took = time.Since(began) }()
	results, port, err := os.Pipe()
	if err != nil {
		result.Err = err
		return result
	}
	defer func() { _ = results.Close() }()
	ctx, cancel := context.WithTimeout(ctx, g.Limit)
	defer cancel()
	console := newConsole(g.Interactive)
	var queued *cable
	if g.Queues > 0 {
		if queued, result.Err = newCable(g.Queues); result.Err != nil {
			_ = port.Close()
			return result
		}
	}
	vm, err := qemu.StartContext(ctx, qemu.ArchAMD64, g.options(port, queued, console)...)
	_ = port.Close()
	queued.close()
	if err != nil {
		result.Err = fmt.Errorf("start QEMU: %w", err)
		return result
	}
	if g.Interactive {
		defer attachTerminal(vm.Console)()
	}
	// A kernel that hangs before init is known long before the limit.
	boot := time.AfterFunc(bootLimit, func() {
		if !console.alive() {
			cancel()
		}
	})
	defer boot.Stop()
	var reader sync.WaitGroup
	var done bool
	reader.Go(func() { result.Events, done = read(results, seen) })
	ended := vm.Wait()
	reader.Wait()
	result.Console, result.Alive = console.String(), console.alive()
	switch {
	case !result.Alive:
		result.Err = fmt.Errorf("%s never started init (%w)", g.Name, errors.Join(ctx.Err(), ended))
	case ctx.Err() != nil:
		result.Err = fmt.Errorf("%s was killed at its limit of %v", g.Name, g.Limit)
	case !done:
		result.Err = errors.Join(fmt.Errorf("%s ended before its job was done", g.Name), ended)
	}
	return result
}

func (g Guest) options(port *os.File, queued *cable, console io.WriteCloser) []qemu.Fn {
	return []qemu.Fn{
		qemu.WithQEMUCommand("qemu-system-x86_64"),
		qemu.WithKernel(g.Kernel),
		qemu.WithInitramfs(g.Initramfs),
		// panic=-1 with -no-reboot ends QEMU at a panic.
		qemu.WithAppendKernel("console=ttyS0", "loglevel=4", "panic=-1", "oops=panic", "net.ifnames=0"),
		qemu.WithQEMUArgs(g.Accelerator.arguments()...),
		qemu.WithQEMUArgs(
			"-smp", fmt.Sprint(g.CPUs), "-m", g.Memory,
			"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
			"-device", "virtio-serial-pci",
		),
		func(_ *qemu.IDAllocator, o *qemu.Options) error {
			fd := o.AddFile(port)
			o.AppendQEMU(
				"-add-fd", fmt.Sprintf("fd=%d,set=1", fd),
				"-chardev", "file,id=results,path=/dev/fdset/1,append=on",
				"-device", "virtserialport,chardev=results,name="+job.PortName,
			)
			return nil
		},
		qemu.WithQEMUArgs(g.Arguments...),
		func(_ *qemu.IDAllocator, o *qemu.Options) error {
			o.AppendQEMU(queued.arguments(o.AddFile)...)
			return nil
		},
		qemu.WithSerialOutput(console),
	}
}

// read collects events until the port is closed; done tells whether the guest
// came to the end of its job.
func read(r io.Reader, seen func(job.Event)) (events []job.Event, done bool) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e job.Event
			if json.Unmarshal(line, &e) != nil {
				e = job.Event{Action: job.Error, Output: "not an event: " + strings.TrimSpace(string(line))}
			}
			done = done || e.Action == job.Done
			events = append(events, e)
			if seen != nil {
				seen(e)
			}
		}
		if err != nil {
			return events, done
		}
	}
}
