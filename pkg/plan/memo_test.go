package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/spec"
)

// TestMemo: over any sequence of changes a plan with a Memo is the one without, errors
// too, and what it gave before stays as it was.
func TestMemo(t *testing.T) {
	documents := variants(t)
	rapid.Check(t, func(r *rapid.T) {
		memo, is := &Memo{}, choices{}
		for _, what := range dimensions {
			is[what] = rapid.IntRange(0, 3).Draw(r, what)
		}
		type given struct {
			state State
			text  string
		}
		var past []given
		for range rapid.IntRange(1, 12).Draw(r, "changes") {
			is[rapid.SampledFrom(dimensions).Draw(r, "what")] = rapid.IntRange(0, 4).Draw(r, "to")
			want, wrong := Compute(is.input(documents))
			got, err := memo.Compute(is.input(documents))
			if fmt.Sprint(err) != fmt.Sprint(wrong) {
				r.Fatalf("with a memo: %v; without: %v", err, wrong)
			}
			if !reflect.DeepEqual(got, want) {
				r.Fatalf("with a memo (-without +with):\n%s", diffStates(want, got))
			}
			past = append(past, given{got, jsonOf(r, got)})
		}
		for i, p := range past {
			if jsonOf(r, p.state) != p.text {
				r.Fatalf("the state after change %d is another one since", i)
			}
		}
	})
}

func jsonOf(r *rapid.T, s State) string {
	text, err := json.Marshal(s)
	if err != nil {
		r.Fatal(err)
	}
	return string(text)
}

// TestSame: there is no field of what a network follows from that a Memo does not
// compare.
func TestSame(t *testing.T) {
	notOfNetworks := []string{"Node", "FlowSets", "FlowShares", "Reserved", "Trial"} // the Memo compares Node once for all
	differ(t, func(a, b networkInput) bool { return a.same(b) }, nil)
	differ(t, func(a, b Input) bool { return networkInput{Input: a}.same(networkInput{Input: b}) }, notOfNetworks)
	differ(t, Record.same, nil)
	differ(t, Node.same, nil)
	differ(t, Part.same, nil)
	differ(t, Remote.same, nil)
	in := spanning(t)
	in.Trial = &Trial{}
	for _, n := range in.byNetwork() {
		if n.FlowSets != 0 || n.FlowShares != 0 || n.Reserved != nil || n.Trial != nil || !reflect.DeepEqual(n.Node, ofNetworks(in.Node)) {
			t.Errorf("network %s is told more than a Memo compares: %+v", n.record().Document.Name, n.Input)
		}
	}
}

// differ sets each field alone, and wants same to see it.
func differ[T any](t *testing.T, same func(a, b T) bool, but []string) {
	t.Helper()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if slices.Contains(but, field.Name) || len(field.Index) > 1 || field.Anonymous {
			continue
		}
		var zero, one T
		switch v := reflect.ValueOf(&one).Elem().FieldByIndex(field.Index); {
		case v.CanSet():
			set(t, v)
		default: // the one that is not exported
			reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(map[string]map[string]uint32{"acme": {}}))
		}
		if same(zero, one) || same(one, zero) {
			t.Errorf("%T: a difference in %s is not seen", zero, field.Name)
		}
	}
}

// set gives a value that is not the zero one.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.IPv6Unspecified()))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("::/64")))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Array:
		set(t, v.Index(0))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.New(v.Type().Elem()).Elem())
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// choices is a node of three networks over three nodes, by what is chosen of each of the
// dimensions; 0 where nothing is.
type choices map[string]int

var names = []string{"acme", "globex", "initech"}

var dimensions = slices.Concat(
	[]string{"mtu", "endpoint", "dns", "room", "trial", "n2", "n3", "gone", "blocks"},
	each("document"), each("services"), each("attached"), each("learned"), each("own"), each("rotation"), each("part"), each("remote"), each("session"), each("entrance"),
)

func each(what string) (list []string) {
	for _, name := range names {
		list = append(list, what+" "+name)
	}
	return list
}

// variants gives the documents that there may be, each decoded once.
func variants(t *testing.T) map[string][]*spec.Network {
	all := map[string][]*spec.Network{}
	const key = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="
	for i, name := range names {
		for _, text := range []string{
			"nodes: [n1, n2, n3]\nservices: {web: {ports: [tcp/80]}, db: {}}",
			"nodes: [n1, n2, n3]\nservices: {web: {ports: [tcp/80]}, db: {}}\nexit: n2\naccess: {alice: {publicKey: '" + key + "', allow: [web]}}",
			"nodes: [n1, n2]\nservices: {web: {ports: [tcp/80]}, db: {}}\nrules: [{allow: {from: " + names[(i+1)%len(names)] + "/web, to: db}}]",
			"nodes: [n2, n3]\nservices: {web: {ports: [tcp/80]}, db: {}}",
		} {
			all[name] = append(all[name], decodeNetwork(t, "network: "+name+"\n"+text))
		}
	}
	return all
}

// input gives what is chosen; nothing in it but the documents was in another one.
func (is choices) input(documents map[string][]*spec.Network) Input {
	node := &spec.Node{Name: "n1", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/56")}}
	in := Input{Node: node, MTU: uint16(1500 - is["mtu"]), FlowSets: room >> is["room"], FlowShares: shares}
	if is["endpoint"] < 3 {
		node.Endpoint = netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + is["endpoint"])})
	}
	if is["dns"] > 2 {
		node.DNS = []netip.Addr{netip.MustParseAddr("2001:db8:d::1")}
	}
	if is["trial"] > 2 {
		in.Trial = &Trial{Deadline: time.Unix(int64(is["trial"]), 0)}
	}
	for i, name := range []string{"n2", "n3"} {
		n := Node{Name: name, Blocks: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/56", i+2))}, Gone: is["gone"] == i+3, Silent: is["gone"] == i+2}
		if is[name] < 3 {
			n.Endpoint = netip.AddrFrom4([4]byte{192, 0, byte(i + 2), byte(1 + is[name])})
		}
		if is["blocks"] == i+3 {
			n.Blocks = nil
		}
		if is[name] < 4 {
			in.Nodes = append(in.Nodes, n)
		}
	}
	for i, name := range names {
		if is["document "+name] < 4 {
			is.network(&in, i, documents[name][is["document "+name]])
		}
	}
	return in
}

// network adds a network, its id and the last digits of its /64s being its number.
func (is choices) network(in *Input, i int, document *spec.Network) {
	name, first := document.Name, uint32(10*(i+1)+100*is["services "+document.Name])
	prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:%x::/64", i+1))
	in.Networks = append(in.Networks, Record{Document: document, ID: uint32(i + 1), Prefix: prefix,
		Services: map[string]uint32{"web": first, "db": first + 1}, Access: map[string]uint32{"alice": first + 2}})
	for w := range is["attached "+name] {
		a := Attachment{Network: name, Service: []string{"web", "web", "db", "mail"}[w], Name: fmt.Sprintf("w%d", w), Kind: WorkloadNetns, Host: uint32(0x100 + w)}
		if w == 1 {
			a.Kind, a.TapName = WorkloadTap, "tap"+name
		}
		in.Attachments = append(in.Attachments, a)
	}
	for l := range is["learned "+name] {
		in.Learned = append(in.Learned, Learned{name, "w1", netip.MustParseAddr(fmt.Sprintf("2001:db8:aaaa:%x::%d", i+1, l+1)), [6]byte{2, byte(l)}})
	}
	own := Part{Network: name, Node: "n1", Prefix: prefix, PublicKey: [32]byte{byte(i), 1}, Port: uint16(51000 + 10*i + is["own "+name])}
	if is["rotation "+name] > 2 {
		own.Next, own.Overdue = &Successor{Generation: 1, PublicKey: [32]byte{byte(i), 2}, Port: uint16(52000 + i)}, is["rotation "+name] == 4
	}
	in.Parts = append(in.Parts, own)
	for j, at := range []string{"n2", "n3"} {
		there := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d:%x::/64", j+2, i+1))
		p := Part{Network: name, Node: at, Prefix: there, PublicKey: [32]byte{byte(i), byte(j), 3}, Port: uint16(53000 + i), Unheard: is["part "+name] == 1}
		switch is["part "+name] {
		case 2: // both nodes say that they have another network's
			p.Prefix = netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d:1::/64", j+2))
		case 3:
			p.Next, p.Sends = &Successor{Generation: 1, PublicKey: [32]byte{byte(i), byte(j), 4}, Port: 54000}, true
		case 4:
			continue
		}
		in.Parts = append(in.Parts, p)
		for w := range is["remote "+name] {
			address := netip.MustParseAddr(fmt.Sprintf("2001:db8:%d:%x::%d", j+2, 1+i*(w&1), w))
			in.Remote = append(in.Remote, Remote{name, "web", fmt.Sprintf("%s-%d", at, w), at, []netip.Addr{address}})
		}
		if s := is["session "+name]; s > 0 && at == "n3" {
			in.Sessions = append(in.Sessions, Session{Interface: overlayIdentity("n1", name, 0).interfaceName(overlayKind, name),
				PublicKey: p.PublicKey, Established: s&1 > 0, Lost: s&2 > 0})
		}
	}
	if is["entrance "+name] > 1 {
		in.Entrances = append(in.Entrances, EntranceKey{name, [32]byte{byte(i), 5}, uint16(55000 + i)})
	}
}
