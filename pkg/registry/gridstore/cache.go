package gridstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"

	"github.com/zosnet/zosnet/pkg/trust"
)

// The buckets of the cache. Values of all but meta begin with a CRC-32C of the rest
// and the revision (8 bytes, big endian): bbolt itself would not notice a changed
// byte.
var (
	metaBucket    = []byte("meta")    // meta, as JSON, under metaKey
	valuesBucket  = []byte("values")  // what was believed, by key
	refusedBucket = []byte("refused") // what was not, by key: it may be, later
	seenBucket    = []byte("seen")    // trust.Seen, by key
	pinsBucket    = []byte("pins")    // trust.Pin, by network
	metaKey       = []byte("meta")
)

const cacheTimeout = time.Second // to wait for another process that has it open

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// meta says what a cache is of.
type meta struct {
	Version   int            `json:"version"`
	Node      string         `json:"node"`
	Cluster   uint64         `json:"cluster"`
	Revision  int64          `json:"revision"`
	Confirmed time.Time      `json:"confirmed"`
	Entries   map[string]int `json:"entries"` // by bucket: what was lost is noticed

	Left    map[string]time.Time `json:"left,omitempty"`    // when nodes were live last, by node
	Carried map[string]bool      `json:"carried,omitempty"` // networks that this node carries
}

// cache is the file with the last known state. What it says is about the file
// alone.
type cache struct {
	path string
	db   *bbolt.DB
}

// brokenError says that the file does not have what it should.
type brokenError struct{ cause error }

func (e *brokenError) Error() string { return "broken: " + e.cause.Error() }
func (e *brokenError) Unwrap() error { return e.cause }

// openCache opens the file, which is made if it is not there, mode 0600.
func openCache(path string) (*cache, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: cacheTimeout, FreelistType: bbolt.FreelistMapType})
		return err
	})
	switch {
	case errors.Is(err, bberrors.ErrTimeout), errors.Is(err, os.ErrPermission):
		return nil, err
	case err != nil:
		return nil, &brokenError{err}
	}
	return &cache{path: path, db: db}, nil
}

// guard makes an error of what a broken file can do: bbolt panics, or the kernel
// has nothing to map (a signal, which the runtime can make a panic).
func guard(work func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &brokenError{fmt.Errorf("%v", r)}
		}
	}()
	return work()
}

func (c *cache) close() error { return guard(c.db.Close) }

// each gives every entry of a bucket, checked, and how many there are.
func (c *cache) each(tx *bbolt.Tx, bucket []byte, entry func(key string, revision int64, raw []byte) error) (n int, err error) {
	b := tx.Bucket(bucket)
	if b == nil {
		return 0, &brokenError{fmt.Errorf("no bucket %s", bucket)}
	}
	err = b.ForEach(func(key, v []byte) error {
		n++
		if len(v) < 12 || crc32.Checksum(append(append([]byte{}, key...), v[4:]...), castagnoli) != binary.BigEndian.Uint32(v) {
			return &brokenError{fmt.Errorf("the checksum of %s does not fit", key)}
		}
		return entry(string(key), int64(binary.BigEndian.Uint64(v[4:])), append([]byte{}, v[12:]...))
	})
	return n, err
}

// pack is the form that each reads.
func pack(key string, revision int64, raw []byte) []byte {
	v := make([]byte, 12, 12+len(raw))
	binary.BigEndian.PutUint64(v[4:], uint64(revision))
	v = append(v, raw...)
	binary.BigEndian.PutUint32(v, crc32.Checksum(append([]byte(key), v[4:]...), castagnoli))
	return v
}

// load fills a state from the file and gives what the file is of. A new file gives
// nothing; one of another node is as good as broken.
func (c *cache) load(s *state, node string) (m meta, err error) {
	err = guard(func() error {
		return c.db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(metaBucket)
			if b == nil {
				return nil
			}
			if err := json.Unmarshal(b.Get(metaKey), &m); err != nil {
				return &brokenError{err}
			}
			if m.Version != formatVersion || m.Node != node {
				return &brokenError{fmt.Errorf("it is of node %q, format %d", m.Node, m.Version)}
			}
			if m.Left != nil {
				s.left = m.Left
			}
			s.scope.carried = m.Carried
			return c.fill(tx, s, m)
		})
	})
	return m, err
}

func (c *cache) fill(tx *bbolt.Tx, s *state, m meta) error {
	type stored struct {
		raw      []byte
		revision int64
	}
	values := map[Key]stored{}
	readers := []struct {
		bucket []byte
		entry  func(key string, revision int64, raw []byte) error
	}{
		{valuesBucket, func(key string, revision int64, raw []byte) error {
			if k, unknown := ParseKey(key); unknown == nil {
				values[k] = stored{raw, revision}
			} else { // a newer zosnet knew it
				s.refused[key] = refusal{raw, revision, unknown}
			}
			return nil
		}},
		{refusedBucket, func(key string, revision int64, raw []byte) error {
			s.refused[key] = refusal{raw, revision, errUnjudged}
			return nil
		}},
		{seenBucket, func(key string, _ int64, raw []byte) error {
			var seen trust.Seen
			err := json.Unmarshal(raw, &seen)
			if k, unknown := ParseKey(key); unknown == nil {
				s.seen[k] = seen
			}
			return err
		}},
		{pinsBucket, func(network string, _ int64, raw []byte) error {
			var pin trust.Pin
			err := json.Unmarshal(raw, &pin)
			s.pins[network] = pin
			return err
		}},
	}
	for _, r := range readers {
		n, err := c.each(tx, r.bucket, r.entry)
		if err != nil {
			return &brokenError{err}
		}
		if want := m.Entries[string(r.bucket)]; n != want {
			return &brokenError{fmt.Errorf("%s has %d entries of %d", r.bucket, n, want)}
		}
	}
	for k, v := range values {
		known, err := s.recall(k, v.raw)
		if err != nil { // the grid's CAs have changed
			s.refused[k.String()] = refusal{v.raw, v.revision, err}
			continue
		}
		s.keep(k, &entry{raw: v.raw, revision: v.revision, value: known})
	}
	s.judgeRevoked()
	return nil
}

// errUnjudged is why a value of the cache is refused until it is judged again.
var errUnjudged = errors.New("not believed in an earlier run")
