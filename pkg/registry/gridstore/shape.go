package gridstore

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// shape is what this program knows of the form of some JSON: an object with named
// fields, a map, or a list of objects. What has no shape is one piece: who writes it
// writes all of it.
type shape struct {
	fields map[string]*shape // by name
	key    string            // of an object in a list: its first field, which tells it from the others
	values *shape            // of a map
	items  *shape            // of a list
}

var (
	shapes = sync.Map{} // *shape by reflect.Type
	asJSON = reflect.TypeFor[json.Marshaler]()
	asText = reflect.TypeFor[encoding.TextMarshaler]()
)

// shapeOf gives the shape of a value.
func shapeOf(v value) *shape {
	t := reflect.TypeOf(v)
	if known, is := shapes.Load(t); is {
		return known.(*shape)
	}
	s := shapeIn(t)
	s.fields["version"] = nil // which no type has
	shapes.Store(t, s)
	return s
}

func shapeIn(t reflect.Type) *shape {
	if t.Implements(asJSON) || t.Implements(asText) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shapeIn(t.Elem())
	case reflect.Struct:
		s := &shape{fields: map[string]*shape{}}
		s.add(t)
		return s
	case reflect.Map:
		if of := shapeIn(t.Elem()); of != nil {
			return &shape{values: of}
		}
	case reflect.Slice:
		if of := shapeIn(t.Elem()); of != nil && of.fields != nil {
			return &shape{items: of}
		}
	}
	return nil
}

// add takes in the fields of a struct, and of those that are embedded in it.
func (s *shape) add(t reflect.Type) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			s.add(f.Type)
		case f.IsExported() && name != "-":
			if len(s.fields) == 0 {
				s.key = name
			}
			s.fields[name] = shapeIn(f.Type)
		}
	}
}

// knows tells whether a field of an object is one of ours. Case does not matter, since
// it does not to who reads JSON: what differs in nothing else would be read in the
// place of ours.
func (s *shape) knows(field string) bool {
	if _, is := s.fields[field]; is {
		return true
	}
	for known := range s.fields {
		if strings.EqualFold(known, field) {
			return true
		}
	}
	return false
}

// newer tells whether there are fields in some JSON that this program does not know.
func (s *shape) newer(raw json.RawMessage) bool {
	if s == nil {
		return false
	}
	if s.items != nil {
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list) // what is no list has none
		for _, item := range list {
			if s.items.newer(item) {
				return true
			}
		}
		return false
	}
	var object map[string]json.RawMessage
	_ = json.Unmarshal(raw, &object)
	return s.newerIn(object)
}

func (s *shape) newerIn(object map[string]json.RawMessage) bool {
	for name, raw := range object {
		if s.fields != nil && !s.knows(name) || s.at(name).newer(raw) {
			return true
		}
	}
	return false
}

// at gives the shape of an object's field, or of a map's value.
func (s *shape) at(name string) *shape {
	if s.fields != nil {
		return s.fields[name]
	}
	return s.values
}

// graft gives some JSON with the fields of old that this program does not know, each in
// the object where it was. Where there is no such object any more, they are gone with
// it.
func (s *shape) graft(now, old json.RawMessage) json.RawMessage {
	switch {
	case s == nil:
		return now
	case s.items != nil:
		return s.graftItems(now, old)
	}
	var is, was map[string]json.RawMessage
	if json.Unmarshal(now, &is) != nil || json.Unmarshal(old, &was) != nil || is == nil {
		return now
	}
	for name, raw := range was {
		if here, there := is[name]; there {
			is[name] = s.at(name).graft(here, raw)
		} else if s.fields != nil && !s.knows(name) {
			is[name] = raw
		}
	}
	return encoded(is)
}

func (s *shape) graftItems(now, old json.RawMessage) json.RawMessage {
	var is, was []json.RawMessage
	if json.Unmarshal(now, &is) != nil || json.Unmarshal(old, &was) != nil || is == nil {
		return now
	}
	before := map[string]json.RawMessage{}
	for _, item := range was {
		before[s.items.keyOf(item)] = item
	}
	for i, item := range is {
		if same, there := before[s.items.keyOf(item)]; there {
			is[i] = s.items.graft(item, same)
		}
	}
	return encoded(is)
}

// keyOf gives what tells an object of a list from the others.
func (s *shape) keyOf(item json.RawMessage) string {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(item, &object)
	return string(object[s.key])
}

// encoded is for what was JSON before.
func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
