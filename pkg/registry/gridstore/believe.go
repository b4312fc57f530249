package gridstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// errNoCertificate says that a value came before its node's certificate.
var errNoCertificate = errors.New("its node has no certificate yet")

// judge says who is believed, and remembers what was.
type judge struct {
	roots      *trust.Roots
	accept     trust.Accept
	now        func() time.Time
	identities map[string]*trust.Identity // by node
	seen       map[Key]trust.Seen
	pins       map[string]trust.Pin // by network
}

// fresh gives a judge who remembers nothing.
func (j judge) fresh() judge {
	j.identities, j.seen, j.pins = map[string]*trust.Identity{}, map[Key]trust.Seen{}, map[string]trust.Pin{}
	return j
}

// believe proves a value and decodes it: a *certificate, *live, *Document and so
// on, of a signed one the payload. Nothing is remembered on error.
func (j *judge) believe(k Key, raw []byte) (value, error) {
	switch {
	case k.signedAs() != "":
		return j.believeSigned(k, raw)
	case k.Kind == KindCertificate:
		var c certificate
		if err := decode(raw, &c); err != nil {
			return nil, err
		}
		id, err := j.roots.Identity(k.Node, []byte(c.PEM))
		if err != nil {
			return nil, err
		}
		j.identities[k.Node] = id
		return &c, nil
	case k.Kind == KindRevocations:
		var r revoked
		if err := decode(raw, &r); err != nil {
			return nil, err
		}
		roots, err := j.roots.Revoked([]byte(r.PEM))
		if err != nil {
			return nil, err
		}
		j.roots = roots
		return &r, nil
	case k.Kind == KindDocument:
		v, err := decodeAs(k, raw)
		if err != nil {
			return nil, err
		}
		d := v.(*Document)
		d.Network = k.Network
		pin, err := j.pins[k.Network].Observe(d.Document, j.accept)
		if err != nil {
			return nil, err
		}
		j.pins[k.Network] = pin
		return d, nil
	}
	return decodeAs(k, raw)
}

func (j *judge) believeSigned(k Key, raw []byte) (value, error) {
	id := j.identities[k.Node]
	if id == nil {
		return nil, errNoCertificate
	}
	proven, err := id.Open(raw, k.signedAs(), k.path(), j.now())
	if err != nil {
		if _, why := fieldsOf(raw); errors.As(why, new(*VersionError)) {
			err = why
		}
		return nil, err
	}
	seen, err := j.seen[k].Accept(proven)
	if err != nil {
		return nil, err
	}
	v, err := decodeAs(k, proven.Payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	j.seen[k] = seen
	return v, nil
}

// recall decodes a value that was believed in an earlier run.
func (j *judge) recall(k Key, raw []byte) (value, error) {
	switch {
	case k.Kind == KindCertificate, k.Kind == KindRevocations:
		return j.believe(k, raw) // the CAs may have changed
	case k.signedAs() != "":
		s, err := trust.DecodeSigned(raw)
		if err != nil {
			return nil, err
		}
		return decodeAs(k, []byte(s.Payload))
	}
	v, err := decodeAs(k, raw)
	if d, ok := v.(*Document); ok && err == nil {
		d.Network = k.Network
	}
	return v, err
}

// forget notes that a value is gone: the one that was seen must not come again.
func (j *judge) forget(k Key) {
	if seen, known := j.seen[k]; known {
		j.seen[k] = seen.Remove()
	}
	if k.Kind == KindCertificate {
		delete(j.identities, k.Node)
	}
}

// decodeAs decodes a value, or a payload, of a key's kind.
func decodeAs(k Key, raw []byte) (value, error) {
	var v value
	switch k.Kind {
	case KindRecord:
		v = &Record{}
	case KindPart:
		v = &Part{}
	case KindAttachment:
		v = &Attachment{Workload: k.Workload}
	case KindBinding:
		v = &Binding{Workload: k.Workload, Address: k.Address}
	case KindRegistration:
		v = &registration{}
	case KindDelegation:
		v = &delegation{}
	case KindRequest:
		v = &request{}
	case KindCertificate:
		v = &certificate{}
	case KindLive:
		v = &live{}
	case KindDocument, KindRevision:
		v = &Document{}
	case KindClaim:
		v = &claim{}
	case KindSpan:
		v = &span{}
	case KindRemoved:
		v = &removal{}
	case KindRoster:
		v = &admission{}
	case KindMember:
		v = &member{}
	case KindToken:
		v = &token{}
	case KindIssued:
		v = &issued{}
	case KindRevocations:
		v = &revoked{}
	case KindRecovery:
		v = &recovery{}
	}
	if v == nil {
		return nil, errUnknownKey
	}
	if err := decode(raw, v); err != nil {
		return v, err
	}
	return v, checkForm(v)
}
