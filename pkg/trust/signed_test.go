package trust_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

const recordKey = "nodes/n1/record"

// altered gives an envelope with something changed after it was signed.
func altered(value []byte, change func(s *trust.Signed)) []byte {
	s := must(trust.DecodeSigned(value))
	change(s)
	return must(json.Marshal(s))
}

// What a registry that lies can do with signed values.
func TestOpen(t *testing.T) {
	g := newGrid(t)
	key, cert := g.node("n1", noon)
	liar, liarCert := g.node("n2", noon)
	sign := func(k *trust.NodeKey, node string, kind trust.Kind, at string) []byte {
		return must(k.Sign(node, kind, at, 7, []byte(`{"name":"<n1>"}`)))
	}
	good := sign(key, "n1", trust.KindRecord, recordKey)
	tests := []struct {
		name  string
		value []byte
		cert  []byte
		at    time.Duration
		want  error
	}{
		{"as it was signed", good, cert, 0, nil},
		{"a year later to the day", good, cert, trust.NodeLife, nil},
		{"by a certificate that has expired", good, cert, trust.NodeLife + day, trust.ErrExpired},
		{"by a certificate of the future", good, cert, -trust.ClockSlack - day, trust.ErrNotYetValid},
		{"moved from another key of the node", sign(key, "n1", trust.KindRecord, "nodes/n1/networks/acme"), cert, 0, trust.ErrOtherKey},
		{"moved from another node", sign(liar, "n2", trust.KindRecord, "nodes/n2/record"), cert, 0, trust.ErrOtherKey},
		{"moved, and its key changed", altered(sign(key, "n1", trust.KindRecord, "nodes/n1/networks/acme"), func(s *trust.Signed) { s.Key = recordKey }), cert, 0, trust.ErrSignature},
		{"read as another kind", sign(key, "n1", trust.KindAttachment, recordKey), cert, 0, trust.ErrOtherKind},
		{"its kind changed", altered(sign(key, "n1", trust.KindAttachment, recordKey), func(s *trust.Signed) { s.Kind = trust.KindRecord }), cert, 0, trust.ErrSignature},
		{"signed by another node in this one's name", sign(liar, "n1", trust.KindRecord, recordKey), cert, 0, trust.ErrSignature},
		{"serial raised", altered(good, func(s *trust.Signed) { s.Serial++ }), cert, 0, trust.ErrSignature},
		{"payload changed", altered(good, func(s *trust.Signed) { s.Payload += " " }), cert, 0, trust.ErrSignature},
		{"a character moved from the payload to the key", altered(good, func(s *trust.Signed) { s.Payload = s.Payload[1:] }), cert, 0, trust.ErrSignature},
		{"signature cut off", altered(good, func(s *trust.Signed) { s.Signature = nil }), cert, 0, trust.ErrSignature},
		{"serial zero", altered(good, func(s *trust.Signed) { s.Serial = 0 }), cert, 0, trust.ErrMalformed},
		{"another node named", altered(good, func(s *trust.Signed) { s.Node = "n2" }), cert, 0, trust.ErrOtherNode},
		{"another format", altered(good, func(s *trust.Signed) { s.Version = 2 }), cert, 0, trust.ErrMalformed},
		{"nothing", nil, cert, 0, trust.ErrMalformed},
		{"not JSON", []byte("record"), cert, 0, trust.ErrMalformed},
		{"larger than etcd takes", []byte(`{"payload":"` + strings.Repeat("x", 1<<20) + `"}`), cert, 0, trust.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forGood := test.want
			if errors.Is(forGood, trust.ErrExpired) || errors.Is(forGood, trust.ErrNotYetValid) {
				forGood = nil // who made it knows that at any time
			}
			if _, err := key.Open(test.value, "n1", trust.KindRecord, recordKey); !errors.Is(err, forGood) {
				t.Errorf("who signed it: %v, want %v", err, forGood)
			}
			id := must(g.roots.Identity("n1", test.cert))
			v, err := id.Open(test.value, trust.KindRecord, recordKey, noon.Add(test.at))
			refused(t, err, test.want)
			if err == nil && (v.Serial != 7 || string(v.Payload) != `{"name":"<n1>"}` || v.Node != "n1") {
				t.Errorf("got %+v", v)
			}
		})
	}
	if _, err := g.roots.Identity("n1", liarCert); err == nil {
		t.Error("the registry can put another node's certificate in a node's place")
	}
	id := must(g.roots.Identity("n2", liarCert))
	_, err := id.Open(good, trust.KindRecord, recordKey, noon)
	refused(t, err, trust.ErrOtherNode)
	_, err = liar.Sign("n2", trust.KindRecord, recordKey, 1, nil)
	refused(t, err, trust.ErrOtherNode)
}

// Whoever writes an envelope again may add fields and white space.
func TestEnvelopeSurvivesAnotherWriter(t *testing.T) {
	g := newGrid(t)
	key, cert := g.node("n1", noon)
	payload := "{ \"a\": \"<b>\u2028&é\" }\n"
	var fields map[string]any
	if err := json.Unmarshal(must(key.Sign("n1", trust.KindRecord, recordKey, 1, []byte(payload))), &fields); err != nil {
		t.Fatal(err)
	}
	fields["later"] = []int{1}
	v, err := must(g.roots.Identity("n1", cert)).Open(must(json.MarshalIndent(fields, "", "  ")), trust.KindRecord, recordKey, noon)
	if err != nil || string(v.Payload) != payload {
		t.Errorf("got %+v, %v", v, err)
	}
}

// A node's values are signed by its older certificate until it signs them again.
func TestRenewal(t *testing.T) {
	g := newGrid(t)
	oldKey, oldCert := g.node("n1", noon)
	value := must(oldKey.Sign("n1", trust.KindRecord, recordKey, 1, nil))
	later := noon.Add(trust.NodeLife * 3 / 4)
	newKey, newCert := g.node("n1", later)
	certs := must(trust.Renewed(newCert, oldCert))
	id := must(g.roots.Identity("n1", certs))
	_, err := id.Open(value, trust.KindRecord, recordKey, later)
	refused(t, err, nil)
	_, err = id.Open(must(newKey.Sign("n1", trust.KindRecord, recordKey, 2, nil)), trust.KindRecord, recordKey, later)
	refused(t, err, nil)
	_, err = id.Open(value, trust.KindRecord, recordKey, noon.Add(trust.NodeLife+day))
	refused(t, err, trust.ErrExpired)
	if id.RenewalDue(later) {
		t.Error("the newest certificate decides when the next is due")
	}
	for range 5 { // however often it is renewed, the newest are believed
		_, newCert = g.node("n1", later)
		certs = must(trust.Renewed(newCert, certs))
	}
	refused(t, must(g.roots.Identity("n1", certs)).Valid(later), nil)
	if !strings.HasPrefix(string(certs), string(newCert)) || strings.Contains(string(certs), string(oldCert)) {
		t.Error("the newest is not the first, or the oldest is still there")
	}
}

func TestSeen(t *testing.T) {
	value := func(serial uint64, payload string) *trust.Value {
		return &trust.Value{Node: "n1", Kind: trust.KindRecord, Key: recordKey, Serial: serial, Payload: []byte(payload)}
	}
	type step struct {
		serial  uint64 // 0: the value goes
		payload string
		want    error
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"counts up, with gaps", []step{{1, "a", nil}, {2, "b", nil}, {9, "a", nil}}},
		{"seen again", []step{{4, "a", nil}, {4, "a", nil}}},
		{"an older one comes back", []step{{4, "a", nil}, {5, "b", nil}, {4, "a", trust.ErrOlder}, {5, "b", nil}}},
		{"two under one serial", []step{{4, "a", nil}, {4, "b", trust.ErrConflict}, {4, "a", nil}}},
		{"taken back and shown again", []step{{4, "a", nil}, {0, "", nil}, {4, "a", trust.ErrOlder}, {3, "a", trust.ErrOlder}, {5, "a", nil}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var seen trust.Seen
			for _, s := range test.steps {
				if s.serial == 0 {
					seen = seen.Remove()
					continue
				}
				next, err := seen.Accept(value(s.serial, s.payload))
				refused(t, err, s.want)
				var stored trust.Seen
				if err := json.Unmarshal(must(json.Marshal(next)), &stored); err != nil {
					t.Fatal(err)
				}
				seen = stored
			}
		})
	}
}
