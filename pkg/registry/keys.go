package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
)

// The layout is described in the package's doc comment.
const (
	root              = "/zosnet/v1/"
	networksRoot      = root + "networks/"
	prefixesRoot      = root + "prefixes/"
	networkIDsRoot    = root + "network-ids/"
	attachmentsRoot   = root + "attachments/"
	bindingsRoot      = root + "bindings/"
	serviceCounterKey = root + "counters/service-id"
	lockdownTrialKey  = root + "lockdown/trial"
	registrationsRoot = root + "registrations/"
	blocksRoot        = root + "blocks/"
)

func networkKey(name string) string               { return networksRoot + name }
func prefixKey(p netip.Prefix) string             { return prefixesRoot + p.String() }
func registrationKey(p netip.Prefix) string       { return registrationsRoot + p.String() }
func blockKey(p netip.Prefix) string              { return blocksRoot + p.String() }
func networkIDKey(id uint32) string               { return networkIDsRoot + strconv.Itoa(int(id)) }
func attachmentsOf(network string) string         { return attachmentsRoot + network + "/" }
func attachmentKey(network, name string) string   { return attachmentsOf(network) + name }
func bindingsOf(network string) string            { return bindingsRoot + network + "/" }
func bindingsOfWorkload(network, n string) string { return bindingsOf(network) + n + "/" }
func bindingKey(b Binding) string {
	return bindingsOfWorkload(b.Network, b.Workload) + b.Address.String()
}

// name is what a node, network, service or workload may be called. A slash in
// one would end up in another's keys.
var name = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

func checkName(kind, s string) error {
	if !name.MatchString(s) {
		return fmt.Errorf("%s name %q: want a letter a-z, then at most 30 of a-z, 0-9 and -", kind, s)
	}
	return nil
}

// formatVersion is the "version" of every value.
const formatVersion = 1

// decode reads one value strictly.
func decode(key string, raw []byte, into any) error {
	var header struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		return fmt.Errorf("registry key %s: %w", key, err)
	}
	if header.Version != formatVersion {
		return fmt.Errorf("registry key %s: version %d, this program reads %d; it was written by another zosnet, start that one",
			key, header.Version, formatVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("registry key %s: %w", key, err)
	}
	return nil
}
