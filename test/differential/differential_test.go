package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy/policytest"
	"github.com/zosnet/zosnet/test/testenv"
)

const (
	defaultCases   = 1_000_000
	framesPerWorld = 1000
)

// Whatever the documents, the world and the frame: the programs do what the oracle
// says, for the reason and by the entry that it names.
func TestDatapathDecidesAsTheOracle(t *testing.T) {
	testenv.RequireBPF(t)
	cases := numberFrom(t, "ZOSNET_DIFF_CASES", defaultCases)
	seed := numberFrom(t, "ZOSNET_SEED", uint64(time.Now().UnixNano()))
	t.Logf("%d cases, ZOSNET_SEED=%d", cases, seed)

	run := &run{seed: seed, worlds: int64((cases + framesPerWorld - 1) / framesPerWorld)}
	var group sync.WaitGroup
	for i := range runtime.GOMAXPROCS(0) {
		bpffs := filepath.Join(t.TempDir(), "bpf")
		group.Add(1)
		go func() {
			defer group.Done()
			if err := run.work(bpffs); err != nil {
				t.Errorf("worker %d: %v", i, err)
			}
		}()
	}
	group.Wait()
	t.Logf("%d cases compared: %v (ZOSNET_SEED=%d)", run.cases.Load(), run.verdicts(), seed)
	if !t.Failed() && run.cases.Load() < int64(cases) {
		t.Errorf("only %d of %d cases were compared", run.cases.Load(), cases)
	}
}

func numberFrom(t *testing.T, variable string, otherwise uint64) uint64 {
	text, set := os.LookupEnv(variable)
	if !set {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", variable, text)
	}
	return n
}

// run is what the workers share: each takes the next world until none is left.
type run struct {
	seed   uint64
	worlds int64
	next   atomic.Int64
	cases  atomic.Int64
	stop   atomic.Bool

	mu    sync.Mutex
	count map[string]int
}

func (r *run) verdicts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// work asks about worlds in a network namespace of its own, which ends with the
// goroutine's thread.
func (r *run) work(bpffs string) error {
	m, err := newMachine()
	if err != nil {
		return err
	}
	p, err := load(bpffs)
	if err != nil {
		return err
	}
	defer p.close()
	total := tally{rules: map[maps.RuleKey]uint64{}, drops: map[maps.DropKey]uint64{}, lockdown: map[string]uint64{}}
	verdicts := map[string]int{}
	for version := uint32(1); !r.stop.Load(); version++ {
		number := r.next.Add(1)
		if number > r.worlds {
			break
		}
		if err := r.oneWorld(p, m, uint64(number), version, total, verdicts); err != nil {
			r.stop.Store(true)
			return err
		}
	}
	r.mu.Lock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	for verdict, n := range verdicts {
		r.count[verdict] += n
	}
	r.mu.Unlock()
	return p.checkCounters(total)
}

func (r *run) oneWorld(p *programs, m *machine, number uint64, version uint32, t tally, verdicts map[string]int) error {
	random := rand.New(rand.NewPCG(r.seed, number))
	w := world{World: policytest.World(random, m.shape)}
	w.ids = policytest.IDs(w.World)
	if err := p.fill(w, version, m); err != nil {
		return fmt.Errorf("fill world %d: %w", number, err)
	}
	for i := 0; i < framesPerWorld; {
		in, frame := policytest.Frame(random, w.World, m.shape)
		if !in.Uplink && cannotAsk(frame) {
			continue
		}
		verdict, err := p.compare(w, m, in, frame, t)
		if err != nil {
			return fmt.Errorf("ZOSNET_SEED=%d world %d frame %d, %+v:\n%x\n%w\n%s", r.seed, number, i, in, frame, err, w)
		}
		verdicts[string(verdict.Verdict)+" "+verdict.Reason.String()]++
		r.cases.Add(1)
		i++
	}
	return p.checkNothingLeft()
}

// checkNothingLeft makes sure that every frame was a first one: none of the
// world's frames left a flow behind that the oracle does not know of.
func (p *programs) checkNothingLeft() error {
	for f, err := range p.maps.EachFlow() {
		return fmt.Errorf("a flow is left that no verdict has made: %+v, %w", f, err)
	}
	return nil
}

// checkCounters compares every counter with what should have been counted.
func (p *programs) checkCounters(t tally) error {
	rules, err := p.maps.ReadRuleCounts()
	if err != nil {
		return err
	}
	for key, want := range t.rules {
		if got := rules[key].Flows; got != want {
			return fmt.Errorf("rule count of %+v is %d, want %d", key, got, want)
		}
	}
	drops, err := p.maps.ReadDrops()
	if err != nil {
		return err
	}
	for key, want := range t.drops {
		if got := drops[key].Packets; got != want {
			return fmt.Errorf("drops of %+v are %d, want %d", key, got, want)
		}
	}
	lockdown, err := p.maps.ReadLockdownDrops()
	if err != nil {
		return err
	}
	for reason, c := range lockdown {
		if c.Packets != t.lockdown[reason.String()] {
			return fmt.Errorf("lockdown drops by %s are %d, want %d", reason, c.Packets, t.lockdown[reason.String()])
		}
	}
	return nil
}

// String gives the world for a report.
func (w world) String() string {
	text := ""
	for _, n := range w.Networks {
		text += fmt.Sprintf("%s %s:\n", n.Document.Name, n.Prefix)
		text += fmt.Sprintf("  default %+v, services %v\n", n.Document.Default, n.Document.Services)
		for i, r := range n.Document.Rules {
			text += fmt.Sprintf("  rules[%d] %s\n", i, r)
		}
		for i, e := range n.Document.Expose {
			text += fmt.Sprintf("  expose[%d] %+v\n", i, e)
		}
	}
	return text + fmt.Sprintf("ports %+v\noverlays %+v\nbindings %+v\nlockdown %+v\n", w.Ports, w.Overlays, w.Bindings, w.Lockdown)
}
