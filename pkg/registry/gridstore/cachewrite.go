package gridstore

import (
	"encoding/json"
	"errors"

	"go.etcd.io/bbolt"

	"github.com/zosnet/zosnet/pkg/trust"
)

// save writes what has changed. All or nothing is.
func (c *cache) save(s *state, m meta) error {
	return guard(func() error {
		return c.db.Update(func(tx *bbolt.Tx) error {
			buckets := map[string]*bbolt.Bucket{}
			for _, name := range [][]byte{metaBucket, valuesBucket, refusedBucket, seenBucket, pinsBucket} {
				b, err := tx.CreateBucketIfNotExists(name)
				if err != nil {
					return err
				}
				buckets[string(name)] = b
			}
			w := writer{buckets: buckets, entries: m.Entries}
			for key := range s.unsaved {
				w.key(s, key)
			}
			raw, err := json.Marshal(m)
			if err != nil {
				return err
			}
			w.err = errors.Join(w.err, buckets[string(metaBucket)].Put(metaKey, raw))
			return w.err
		})
	})
}

// savePin writes one pin, and gives how many entries each bucket has then; nil: nothing
// was ever saved, and what is unsaved will be.
func (c *cache) savePin(network string, pin trust.Pin) (entries map[string]int, err error) {
	err = guard(func() error {
		return c.db.Update(func(tx *bbolt.Tx) error {
			about, pins := tx.Bucket(metaBucket), tx.Bucket(pinsBucket)
			if about == nil || pins == nil {
				return nil
			}
			var m meta
			if err := json.Unmarshal(about.Get(metaKey), &m); err != nil {
				return &brokenError{err}
			}
			w := writer{buckets: map[string]*bbolt.Bucket{string(pinsBucket): pins}, entries: m.Entries}
			w.json(pinsBucket, network, pin)
			raw, err := json.Marshal(m)
			entries = m.Entries
			return errors.Join(w.err, err, about.Put(metaKey, raw))
		})
	})
	return entries, err
}

// writer writes the keys that have changed and counts what is there.
type writer struct {
	buckets map[string]*bbolt.Bucket
	entries map[string]int
	err     error
}

func (w *writer) key(s *state, key string) {
	refused, isRefused := s.refused[key]
	w.set(refusedBucket, key, refused.revision, refused.raw, isRefused)
	k, err := ParseKey(key)
	if err != nil {
		return
	}
	if e := s.find(k); e != nil {
		w.set(valuesBucket, key, e.revision, e.raw, true)
	} else {
		w.set(valuesBucket, key, 0, nil, false)
	}
	if seen, known := s.seen[k]; known {
		w.json(seenBucket, key, seen)
	}
	if pin, known := s.pins[k.Network]; known && k.Kind == KindDocument {
		w.json(pinsBucket, k.Network, pin)
	}
}

func (w *writer) json(bucket []byte, key string, v any) {
	raw, err := json.Marshal(v)
	w.err = errors.Join(w.err, err)
	w.set(bucket, key, 0, raw, true)
}

func (w *writer) set(bucket []byte, key string, revision int64, raw []byte, there bool) {
	b := w.buckets[string(bucket)]
	had := b.Get([]byte(key)) != nil
	var err error
	switch {
	case there:
		err = b.Put([]byte(key), pack(key, revision, raw))
		if !had {
			w.entries[string(bucket)]++
		}
	case had:
		err = b.Delete([]byte(key))
		w.entries[string(bucket)]--
	}
	w.err = errors.Join(w.err, err)
}
