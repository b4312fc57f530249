package trust_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

func TestOwnerText(t *testing.T) {
	key := must(trust.NewOwnerKey())
	text := key.Owner().String()
	if got := must(trust.ParseOwner(text)); got != key.Owner() {
		t.Errorf("%s is read as %s", text, got)
	}
	if _, err := spec.DecodeNode("node.yaml", []byte("node: n1\naccept: ["+text+"]\n")); err != nil {
		t.Errorf("node.yaml does not take what zosnet key prints: %v", err)
	}
	again := must(trust.ParseOwnerKey(must(key.PEM())))
	if again.Owner() != key.Owner() {
		t.Error("another key was read from PEM")
	}
	_, err := trust.ParseOwnerKey(must(must(trust.NewNodeKey()).PEM()))
	refused(t, err, trust.ErrMalformed)
	for _, bad := range []string{"", "ed25519:", strings.TrimPrefix(text, "ed25519:"), text + "=", text + "\n", strings.ToUpper(text),
		"ed25519:" + strings.Repeat("A", 43) + "="} {
		_, err := trust.ParseOwner(bad)
		refused(t, err, trust.ErrMalformed)
	}
}

// read takes a document as it is stored under the name acme.
func read(value []byte) (trust.Document, error) {
	d := trust.Document{Network: "acme"}
	err := json.Unmarshal(value, &d)
	return d, err
}

func TestDocumentRefuses(t *testing.T) {
	key, other := must(trust.NewOwnerKey()), must(trust.NewOwnerKey())
	good := must(key.Sign("acme", 3, "network: acme\n"))
	tests := []struct {
		name   string
		change func(d *trust.Document)
		want   error
	}{
		{"as it was signed", func(*trust.Document) {}, nil},
		{"stored under another name", func(d *trust.Document) { d.Network = "globex" }, trust.ErrSignature},
		{"text changed", func(d *trust.Document) { d.Text += "#" }, trust.ErrSignature},
		{"revision raised", func(d *trust.Document) { d.Revision++ }, trust.ErrSignature},
		{"another owner named", func(d *trust.Document) { d.Owner = other.Owner() }, trust.ErrSignature},
		{"made a release", func(d *trust.Document) { d.Released, d.Text = true, "" }, trust.ErrSignature},
		{"no signature", func(d *trust.Document) { d.Signature = nil }, trust.ErrSignature},
		{"revision zero", func(d *trust.Document) { d.Revision = 0 }, trust.ErrMalformed},
		{"no text", func(d *trust.Document) { d.Text = "" }, trust.ErrMalformed},
		{"released with a text", func(d *trust.Document) { d.Released = true }, trust.ErrMalformed},
		{"no name", func(d *trust.Document) { d.Network = "" }, trust.ErrMalformed},
		{"a path as a name", func(d *trust.Document) { d.Network = "acme/x" }, trust.ErrMalformed},
		{"not UTF-8", func(d *trust.Document) { d.Text = "\xff" }, trust.ErrMalformed},
		{"too large", func(d *trust.Document) { d.Text = strings.Repeat("x", spec.MaxDocument+1) }, trust.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := must(read(must(json.Marshal(good))))
			test.change(&d)
			refused(t, d.Verify(), test.want)
		})
	}
}

func TestPin(t *testing.T) {
	alice, bob := must(trust.NewOwnerKey()), must(trust.NewOwnerKey())
	signed := func(k *trust.OwnerKey, revision uint64, text string) trust.Document {
		return must(k.Sign("acme", revision, text))
	}
	released := func(k *trust.OwnerKey, revision uint64) trust.Document { return must(k.Release("acme", revision)) }
	forged := signed(alice, 9, "a9")
	forged.Text = "b9"
	type step struct {
		d      trust.Document
		forget bool
		want   error
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"the first registered owns the name", []step{{d: signed(alice, 1, "a")}, {d: signed(bob, 2, "b"), want: trust.ErrOtherOwner}, {d: signed(alice, 2, "a2")}}},
		{"a node that comes later begins where it is", []step{{d: signed(alice, 41, "a")}, {d: signed(alice, 40, "old"), want: trust.ErrOlder}}},
		{"the same again", []step{{d: signed(alice, 1, "a")}, {d: signed(alice, 1, "a")}}},
		{"revisions may be missed", []step{{d: signed(alice, 1, "a")}, {d: signed(alice, 7, "b")}}},
		{"two texts under one revision", []step{{d: signed(alice, 2, "a")}, {d: signed(alice, 2, "b"), want: trust.ErrConflict}, {d: signed(alice, 2, "a")}}},
		{"an end and a text under one revision", []step{{d: signed(alice, 2, "a")}, {d: released(alice, 2), want: trust.ErrConflict}}},
		{"forged", []step{{d: signed(alice, 1, "a")}, {d: forged, want: trust.ErrSignature}, {d: signed(alice, 2, "b")}}},
		{"only the owner ends it", []step{{d: signed(alice, 1, "a")}, {d: released(bob, 2), want: trust.ErrOtherOwner}}},
		{"ended, then somebody else's", []step{{d: signed(alice, 1, "a")}, {d: released(alice, 2)}, {d: signed(bob, 3, "b")},
			{d: signed(alice, 4, "a"), want: trust.ErrOtherOwner}}},
		{"ended, and nothing old comes back", []step{{d: signed(alice, 1, "a")}, {d: released(alice, 2)}, {d: signed(alice, 1, "a"), want: trust.ErrOlder},
			{d: signed(bob, 1, "b"), want: trust.ErrOlder}, {d: signed(bob, 2, "b"), want: trust.ErrOlder}, {d: released(alice, 2)}}},
		{"two owners later, the first one's documents stay old", []step{{d: signed(alice, 3, "a")}, {d: released(alice, 4)}, {d: signed(bob, 5, "b")},
			{d: released(bob, 6)}, {d: signed(alice, 3, "a"), want: trust.ErrOlder}, {d: signed(alice, 7, "a")}}},
		{"forgotten by who runs the node", []step{{d: signed(alice, 3, "a")}, {forget: true}, {d: signed(alice, 2, "a"), want: trust.ErrOlder}, {d: signed(bob, 4, "b")},
			{d: signed(alice, 5, "a"), want: trust.ErrOtherOwner}}},
		{"forgotten, and the old document shown again", []step{{d: signed(alice, 3, "a")}, {forget: true}, {d: signed(alice, 3, "a")},
			{d: signed(alice, 3, "b"), want: trust.ErrConflict}, {d: signed(bob, 3, "b"), want: trust.ErrOlder}, {d: signed(bob, 4, "b")}}},
		{"forgotten, and the owner is the first again", []step{{d: signed(alice, 3, "a")}, {forget: true}, {d: signed(alice, 4, "a")},
			{d: signed(bob, 5, "b"), want: trust.ErrOtherOwner}}},
		{"forgetting what was never seen", []step{{forget: true}, {d: signed(bob, 1, "b")}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var pin trust.Pin
			for i, s := range test.steps {
				if s.forget {
					pin = pin.Forget()
					continue
				}
				next, err := pin.Observe(s.d, trust.Accept{})
				refused(t, err, s.want)
				if err != nil && !equal(pin, next) {
					t.Errorf("step %d: a refused document changed the pin", i)
				}
				var stored trust.Pin
				if err := json.Unmarshal(must(json.Marshal(next)), &stored); err != nil {
					t.Fatal(err)
				}
				pin = stored
			}
		})
	}
}

func equal(a, b trust.Pin) bool {
	return string(must(json.Marshal(a))) == string(must(json.Marshal(b)))
}

func TestAccept(t *testing.T) {
	alice, bob := must(trust.NewOwnerKey()), must(trust.NewOwnerKey())
	only := must(trust.ParseAccept([]string{alice.Owner().String()}))
	for _, test := range []struct {
		name   string
		accept trust.Accept
		by     *trust.OwnerKey
		want   error
	}{
		{"any", trust.Accept{}, bob, nil},
		{"any, as node.yaml has it", must(trust.ParseAccept(nil)), bob, nil},
		{"listed", only, alice, nil},
		{"not listed", only, bob, trust.ErrNotAccepted},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := trust.Pin{}.Observe(must(test.by.Sign("acme", 1, "x")), test.accept)
			refused(t, err, test.want)
		})
	}
	_, err := trust.ParseAccept([]string{"any"})
	refused(t, err, trust.ErrMalformed)
}

// Whatever a registry shows, in whatever order: what a node believes is signed,
// its revision never goes down, one revision has one text, and the owner changes
// only over a release.
func TestPinProperty(t *testing.T) {
	owners := []*trust.OwnerKey{must(trust.NewOwnerKey()), must(trust.NewOwnerKey()), must(trust.NewOwnerKey())}
	rapid.Check(t, func(t *rapid.T) {
		var pin trust.Pin
		texts := map[uint64]string{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			key := rapid.SampledFrom(owners).Draw(t, "owner")
			revision := rapid.Uint64Range(1, 6).Draw(t, "revision")
			text := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "text, none is a release")
			d, err := key.Sign("acme", revision, text)
			if text == "" {
				d, err = key.Release("acme", revision)
			}
			if err != nil {
				t.Fatal(err)
			}
			broken := rapid.Bool().Draw(t, "forged")
			if broken {
				d.Signature[rapid.IntRange(0, 63).Draw(t, "byte")] ^= 1
			}
			before := pin
			pin, err = pin.Observe(d, trust.Accept{})
			what := fmt.Sprintf("%v revision %d %q", key.Owner(), revision, text)
			switch {
			case err != nil:
				if !equal(pin, before) {
					t.Fatalf("%s was refused and changed the pin", what)
				}
				if !broken && !errors.Is(err, trust.ErrOlder) && !errors.Is(err, trust.ErrConflict) && !errors.Is(err, trust.ErrOtherOwner) {
					t.Fatalf("%s: %v", what, err)
				}
				continue
			case broken:
				t.Fatalf("%s is forged and believed", what)
			case pin.Revision < before.Revision:
				t.Fatalf("%s: the revision went from %d to %d", what, before.Revision, pin.Revision)
			case before.Revision != 0 && pin.Owner != before.Owner && !before.Released:
				t.Fatalf("%s: the owner changed without a release", what)
			}
			if old, ok := texts[revision]; ok && old != what {
				t.Fatalf("revision %d was %s, is %s", revision, old, what)
			}
			texts[revision] = what
		}
	})
}
