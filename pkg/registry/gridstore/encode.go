package gridstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// formatVersion is the "version" of every value and payload.
const formatVersion = 1

// Extra are the fields of a stored value that this version of zosnet does not
// know. They are written back when the value is changed.
type Extra struct{ fields map[string]json.RawMessage }

func (e *Extra) extra() *Extra { return e }

// value is what can be stored: a struct with Extra embedded.
type value interface{ extra() *Extra }

// decode reads a value. An unknown version is an error, an unknown field is kept.
func decode(raw []byte, into value) error {
	fields, err := fieldsOf(raw)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	drop(fields, into)
	*into.extra() = Extra{}
	if len(fields) > 0 {
		into.extra().fields = fields
	}
	return nil
}

// encode writes a value. What v does not know is taken from its Extra, and from
// the value that it is to replace, nil if there is none.
func encode(v value, replaced []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if replaced != nil {
		var err error
		fields, err = fieldsOf(replaced)
		if newer := (*VersionError)(nil); errors.As(err, &newer) {
			return nil, fmt.Errorf("replace it: %w", err)
		}
		drop(fields, v) // of what is broken nothing is worth keeping
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	known := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &known); err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	for _, from := range []map[string]json.RawMessage{fields, v.extra().fields, known} {
		for field, text := range from {
			all[field] = text
		}
	}
	all["version"] = json.RawMessage(fmt.Sprint(formatVersion))
	return json.Marshal(all) // sorted by field: the same value gives the same bytes
}

// VersionError says that a value was written by a zosnet that we cannot read.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("version %d, this program reads %d; it was written by another zosnet", e.Version, formatVersion)
}

// fieldsOf splits a value of our version into its fields.
func fieldsOf(raw []byte) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	var version int
	if err := json.Unmarshal(fields["version"], &version); err != nil {
		return nil, fmt.Errorf("its version: %w", err)
	}
	if version != formatVersion {
		return nil, &VersionError{Version: version}
	}
	return fields, nil
}

// drop takes the fields out that v knows.
func drop(fields map[string]json.RawMessage, v value) {
	delete(fields, "version")
	dropFieldsOf(fields, reflect.TypeOf(v).Elem())
}

func dropFieldsOf(fields map[string]json.RawMessage, t reflect.Type) {
	for f := range t.Fields() {
		if f.Anonymous {
			dropFieldsOf(fields, f.Type)
			continue
		}
		field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(fields, field)
	}
}
