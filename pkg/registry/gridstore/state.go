package gridstore

import (
	"bytes"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// entry is a value that was believed.
type entry struct {
	raw      []byte
	revision int64 // of its last change; of a registration the one in which it was made
	value    value
}

// refusal is a value that was not believed.
type refusal struct {
	raw      []byte
	revision int64
	err      error
}

// state is this node's copy of what concerns it.
type state struct {
	judge
	scope    *scope
	groups   map[group]map[Key]*entry
	refused  map[string]refusal   // by key
	dirty    map[group]bool       // changed since the last snapshot
	unsaved  map[string]bool      // keys changed since the cache was written
	waiting  map[string]bool      // nodes whose certificate came since settle
	spans    int                  // networks that this node was told to be named by
	missing  map[string]bool      // keys of believed documents that the registry has no more
	left     map[string]time.Time // when nodes that are not live any more were heard to be so, by this node's clock
	snapshot Snapshot             // the last one
}

func newState(j judge, sc *scope) *state {
	return &state{
		judge: j, scope: sc, groups: map[group]map[Key]*entry{}, refused: map[string]refusal{},
		missing: map[string]bool{}, dirty: map[group]bool{}, unsaved: map[string]bool{}, waiting: map[string]bool{}, left: map[string]time.Time{},
		snapshot: Snapshot{Nodes: map[string]*Node{}, Networks: map[string]*Network{}, Carried: map[string]*Document{}},
	}
}

func (s *state) find(k Key) *entry {
	g, _ := groupOf(k)
	return s.groups[g][k]
}

// put takes in what a key has. What is not believed is among the refused.
func (s *state) put(key string, raw []byte, revision int64) {
	s.unsaved[key] = true
	k, err := ParseKey(key)
	if err != nil {
		if len(s.refused) < mostRefused {
			s.refused[key] = refusal{raw, revision, err}
		}
		return
	}
	e := s.find(k)
	if e != nil && bytes.Equal(e.raw, raw) {
		e.revision = revision
		s.found(key, k)
		return
	}
	if k.Kind == KindSpan && e == nil && s.spans >= mostSpans && !s.scope.carried[k.Network] {
		return
	}
	v, err := s.believe(k, raw)
	if err != nil {
		s.refused[key] = refusal{raw, revision, err}
		return
	}
	s.found(key, k)
	if d, is := v.(*Document); is && e != nil && e.value.(*Document).Revision == d.Revision {
		e.revision = revision // what is not signed was heard before, from who applied it
		return
	}
	s.keep(k, &entry{raw: raw, revision: revision, value: v})
	if k.Kind == KindRevocations {
		s.judgeRevoked()
	}
}

// revisionOf gives the revision that an entry has.
func revisionOf(kv *mvccpb.KeyValue) int64 {
	if k, err := ParseKey(string(kv.Key)); err == nil && k.Kind == KindRegistration {
		return kv.CreateRevision
	}
	return kv.ModRevision
}

// found notes that the registry has what is believed of a key.
func (s *state) found(key string, k Key) {
	delete(s.refused, key)
	if s.missing[key] {
		delete(s.missing, key)
		s.dirty[group{true, k.Network}] = true
	}
}

func (s *state) keep(k Key, e *entry) {
	g, ok := groupOf(k)
	if !ok {
		return
	}
	if s.groups[g] == nil {
		s.groups[g] = map[Key]*entry{}
	}
	if k.Kind == KindSpan && s.groups[g][k] == nil {
		s.spans++
	}
	s.groups[g][k] = e
	s.dirty[g] = true
	switch k.Kind {
	case KindCertificate:
		s.waiting[k.Node] = true
	case KindLive:
		delete(s.left, k.Node)
	}
}

// delete takes in that a key is gone. A document ends by its owner's word only, and
// every node can write where documents are.
func (s *state) delete(key string) {
	k, err := ParseKey(key)
	if err == nil && s.find(k) != nil {
		if k.Kind == KindDocument {
			delete(s.refused, key)
			s.missing[key], s.unsaved[key], s.dirty[group{true, k.Network}] = true, true, true
			return
		}
		s.forget(k)
		if k.Kind == KindLive {
			s.left[k.Node] = s.now().UTC()
		}
	}
	s.drop(key)
}

// drop lets go of a key that is gone, or does not concern this node any more.
func (s *state) drop(key string) {
	delete(s.refused, key)
	delete(s.missing, key)
	s.unsaved[key] = true
	k, err := ParseKey(key)
	g, ok := groupOf(k)
	if err != nil || !ok || s.groups[g][k] == nil {
		return
	}
	if delete(s.groups[g], k); k.Kind == KindSpan {
		s.spans--
	}
	if len(s.groups[g]) == 0 {
		delete(s.groups, g)
		if !g.network {
			delete(s.left, g.name)
		}
	}
	if k.Kind == KindCertificate {
		delete(s.identities, k.Node)
	}
	s.dirty[g] = true
}

// under gives the keys that are there in a range.
func (s *state) under(r string) (keys []string) {
	for key := range s.refused {
		if rangeHas(r, key) {
			keys = append(keys, key)
		}
	}
	collect := func(all map[Key]*entry) {
		for k := range all {
			if key := k.String(); rangeHas(r, key) && s.refused[key].err == nil {
				keys = append(keys, key)
			}
		}
	}
	if g, one := groupsIn(r); one {
		collect(s.groups[g])
		return keys
	}
	for _, all := range s.groups {
		collect(all)
	}
	return keys
}

// replace takes in all that a range has at a revision.
func (s *state) replace(r string, kvs []*mvccpb.KeyValue) {
	there := make(map[string]bool, len(kvs))
	for _, kv := range kvs {
		there[string(kv.Key)] = true
	}
	for _, key := range s.under(r) {
		if !there[key] {
			s.delete(key)
		}
	}
	for _, kv := range kvs {
		s.put(string(kv.Key), kv.Value, revisionOf(kv))
	}
}

// settle judges again what waited for a certificate, and gives the ranges that
// concern this node now and did not before, and those that do not any more, whose
// keys it drops.
func (s *state) settle() (added, dropped []string) {
	s.retry()
	for {
		for g := range s.dirty {
			if g.network {
				s.scope.set(g, s.scope.ofNetwork(g.name, s.groups[g]))
			} else {
				s.scope.set(g, s.scope.ofNode(g.name, s.groups[g]))
			}
		}
		more, fewer := s.scope.take()
		added, dropped = append(added, more...), append(dropped, fewer...)
		gone := 0
		for _, r := range fewer {
			for _, key := range s.under(r) {
				if !s.scope.covers(key) {
					s.drop(key)
					gone++
				}
			}
		}
		if gone == 0 {
			added = slices.DeleteFunc(added, func(r string) bool { return !s.scope.taken[r] })
			dropped = slices.DeleteFunc(dropped, func(r string) bool { return s.scope.taken[r] })
			return added, dropped
		}
	}
}

func (s *state) retry() {
	if len(s.waiting) == 0 {
		return
	}
	for key, r := range s.refused {
		k, err := ParseKey(key)
		if err == nil && s.waiting[k.Node] {
			delete(s.refused, key)
			s.put(key, r.raw, r.revision)
		}
	}
	clear(s.waiting)
}
