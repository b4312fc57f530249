package gridstore

import (
	"encoding/json"
	"errors"
	"fmt"
)

// formatVersion is the "version" of every value and payload.
const formatVersion = 1

// mostUnknown bounds what is kept of a value that this program does not know, in
// bytes: who may write a value must not be able to fill what others write after.
const mostUnknown = 64 << 10

// Extra is what a stored value has beside what this version of zosnet knows of it,
// at any depth. It is written back when the value is changed.
type Extra struct {
	raw json.RawMessage // the whole value as it was read; nil: all of it is known
}

func (e *Extra) extra() *Extra { return e }

// value is what can be stored: a struct with Extra embedded.
type value interface{ extra() *Extra }

// decode reads a value. A newer version is an error, an unknown field is kept.
func decode(raw []byte, into value) error {
	fields, err := fieldsOf(raw)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	*into.extra() = Extra{}
	if shapeOf(into).newerIn(fields) {
		into.extra().raw = raw
	}
	return nil
}

// encode writes a value. What it does not know is taken from the value that it is to
// replace, or, where that is nil, from the one as which v was read.
func encode(v value, replaced []byte) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	known := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &known); err != nil {
		return nil, err
	}
	known["version"] = json.RawMessage(fmt.Sprint(formatVersion))
	if raw, err = json.Marshal(known); err != nil { // sorted by field: the same value gives the same bytes
		return nil, err
	}
	if replaced == nil {
		replaced = v.extra().raw
	}
	if replaced == nil {
		return raw, nil
	}
	if _, err := fieldsOf(replaced); err != nil {
		if newer := (*VersionError)(nil); errors.As(err, &newer) {
			return nil, fmt.Errorf("replace it: %w", err)
		}
		return raw, nil // of what is broken nothing is worth keeping
	}
	if all := shapeOf(v).graft(raw, replaced); len(all)-len(raw) <= mostUnknown {
		return all, nil
	}
	return raw, nil
}

// VersionError says that a value was written by a zosnet that is newer than this one.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("it is of version %d, and this zosnet reads version %d: a newer zosnet wrote it; what this node knew of it before stays; upgrade zosnet on this node",
		e.Version, formatVersion)
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
	switch {
	case version > formatVersion:
		return nil, &VersionError{Version: version}
	case version < formatVersion:
		return nil, fmt.Errorf("it is of version %d, which no zosnet writes", version)
	}
	return fields, nil
}
