package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// asMember has the registry.MemberConfig, as JSON, of the process that is the member.
const asMember = "ZOSNET_SCALE_MEMBER"

// member is the process that serves the registry. Only in it one is root of it.
type member struct {
	cmd     *exec.Cmd
	orders  *json.Encoder
	answers *json.Decoder
}

// order is what the member is asked for.
type order struct {
	Protect bool              `json:"protect,omitempty"`
	Admit   []admission       `json:"admit,omitempty"`
	Member  *memberAddress    `json:"member,omitempty"`
	Put     map[string]string `json:"put,omitempty"`
}

type admission struct {
	gridstore.Admission
	PEM []byte `json:"pem"`
}

// memberAddress is where a node serves the clients of the registry.
type memberAddress struct {
	Node   string         `json:"node"`
	Client netip.AddrPort `json:"client"`
}

// answer is how it went, and what the member has been through so far.
type answer struct {
	Error string `json:"error,omitempty"`
	load
}

// load is what a member carries.
type load struct {
	Ranges    float64       `json:"ranges"`   // that are watched
	Events    float64       `json:"events"`   // that were sent to watchers
	Database  float64       `json:"database"` // bytes in use
	Resident  uint64        `json:"resident"` // bytes
	Processor time.Duration `json:"processor"`
}

func startMember(cfg registry.MemberConfig) (*member, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	m := &member{cmd: exec.Command("/proc/self/exe")}
	m.cmd.Env = append(os.Environ(), asMember+"="+string(text))
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.orders, m.answers = json.NewEncoder(in), json.NewDecoder(out)
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the member: %w", err)
	}
	_, err = m.ask(order{}) // it answers when it serves
	return m, err
}

// ask gives an order and waits.
func (m *member) ask(o order) (load, error) {
	if err := m.orders.Encode(o); err != nil {
		return load{}, fmt.Errorf("ask the member: %w", err)
	}
	var a answer
	if err := m.answers.Decode(&a); err != nil {
		return load{}, fmt.Errorf("hear the member: %w", err)
	}
	if a.Error != "" {
		return a.load, errors.New(a.Error)
	}
	return a.load, nil
}

// kill ends the member. What it has is thrown away with it.
func (m *member) kill() error {
	if err := m.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("end the member: %w", err)
	}
	_ = m.cmd.Wait() // it says that it was killed
	return nil
}

// serve is the member's process, until nobody asks any more.
func serve(text string) error {
	var cfg registry.MemberConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	m, err := registry.StartMember(context.Background(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	select {
	case <-m.Ready():
	case <-m.Failed():
		return m.Err()
	}
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			return m.Close()
		}
		a := answer{}
		if err := o.do(m.AsRoot); err != nil {
			a.Error = err.Error()
		}
		if a.load, err = readLoad(); err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func (o order) do(root gridstore.Root) error {
	ctx := context.Background()
	switch {
	case o.Protect:
		return root.Protect(ctx)
	case o.Admit != nil:
		return admit(ctx, root, o.Admit)
	case o.Put != nil:
		return put(ctx, root, o.Put)
	case o.Member != nil:
		return root.PutMember(ctx, o.Member.Node, o.Member.Client, nil)
	}
	return nil
}

// admit lets nodes in, one after the other as etcd wants changes of its users.
func admit(ctx context.Context, root gridstore.Root, all []admission) error {
	for _, a := range all {
		if err := root.Admit(ctx, a.Admission, a.PEM, "", nil); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, root gridstore.Root, values map[string]string) error {
	return root(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		var ops []clientv3.Op
		for key, text := range values {
			ops = append(ops, clientv3.OpPut(key, text))
		}
		_, err := etcd.Txn(ctx).Then(ops...).Commit()
		return err
	})
}

// readLoad reads etcd's own metrics, and what the kernel says of the process.
func readLoad() (l load, err error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return l, err
	}
	for _, f := range families {
		var sum float64
		for _, m := range f.GetMetric() {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		switch f.GetName() {
		case "etcd_debugging_mvcc_watcher_total":
			l.Ranges = sum
		case "etcd_debugging_mvcc_events_total":
			l.Events = sum
		case "etcd_mvcc_db_total_size_in_use_in_bytes":
			l.Database = sum
		}
	}
	l.Resident, l.Processor, err = usage()
	return l, err
}

// usage gives this process's memory and processor time.
func usage() (resident uint64, used time.Duration, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &resident); n == 1 {
			resident <<= 10
		}
	}
	var u syscall.Rusage
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return resident, time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
