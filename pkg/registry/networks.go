package registry

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"unicode/utf8"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// PutNetwork stores one document; see PutNetworks.
func (s *Store) PutNetwork(ctx context.Context, node string, prefixes []netip.Prefix, name, file string, doc []byte, services []string) (NetworkRecord, error) {
	records, err := s.PutNetworks(ctx, node, prefixes, []NetworkDocument{{Name: name, File: file, Document: doc, Services: services}})
	if err != nil {
		return NetworkRecord{}, err
	}
	return records[0], nil
}

// PutNetworks stores documents, all or none, in one transaction with what is
// allocated for them: a /64 of the node's prefixes, a network id, an id for each
// service and each access device. What a network has it keeps, its /64 also when the node's prefixes no
// longer hold it (ipam.State.Stranded). A document that is stored already, from
// the same file, changes nothing. The records come in the order of docs.
//
// Errors, besides the registry's own: *ipam.ExhaustedError; *InUseError for a
// service that would go while workloads of it are attached; *ExistsError for a
// service or an access device named like an attached workload.
func (s *Store) PutNetworks(ctx context.Context, node string, prefixes []netip.Prefix, docs []NetworkDocument) ([]NetworkRecord, error) {
	blocks, err := ipam.ParseBlocks(prefixes)
	if err != nil {
		return nil, err
	}
	if err := checkDocuments(node, docs); err != nil {
		return nil, err
	}
	var records []NetworkRecord
	var changed []int
	revision, err := s.change(ctx, func(c *change) error {
		records, changed = make([]NetworkRecord, len(docs)), nil
		state, err := c.ipam()
		if err != nil {
			return err
		}
		before := state.State
		for i, doc := range docs {
			var same bool
			if records[i], same, err = c.network(&state.State, blocks, node, doc); err != nil {
				return err
			}
			if same {
				continue
			}
			changed = append(changed, i)
			if err := c.put(networkKey(doc.Name), records[i].value()); err != nil {
				return err
			}
		}
		return state.put(c, before)
	})
	if err != nil {
		return nil, err
	}
	for _, i := range changed {
		records[i].Revision = revision
	}
	return records, nil
}

func checkDocuments(node string, docs []NetworkDocument) error {
	if err := checkName("node", node); err != nil {
		return err
	}
	seen := map[string]string{}
	for _, doc := range docs {
		if err := checkName("network", doc.Name); err != nil {
			return err
		}
		if other, twice := seen[doc.Name]; twice {
			return fmt.Errorf("network %q is in %s and in %s; apply one of them", doc.Name, other, doc.File)
		}
		seen[doc.Name] = doc.File
		if !utf8.Valid(doc.Document) {
			return fmt.Errorf("%s: network %q: the document is not UTF-8", doc.File, doc.Name)
		}
		for _, service := range doc.Services {
			if err := checkName("service", service); err != nil {
				return err
			}
		}
		for _, device := range doc.Access {
			if err := checkName("access device", device); err != nil {
				return err
			}
		}
	}
	return nil
}

// network computes the record for a document, taking what it lacks from state.
// same means that it is stored like that already.
func (c *change) network(state *ipam.State, blocks ipam.Blocks, node string, doc NetworkDocument) (r NetworkRecord, same bool, err error) {
	var old networkValue
	revision, err := c.get(networkKey(doc.Name), &old)
	if err != nil {
		return r, false, err
	}
	r = NetworkRecord{Name: doc.Name, File: doc.File, Document: doc.Document, Applied: c.store.now().UTC()}
	if *state, r.Prefix, err = state.Allocate(blocks, doc.Name, node, c.store.now()); err != nil {
		return r, false, err
	}
	if *state, r.ID, err = state.AllocateID(doc.Name, c.store.now()); err != nil {
		return r, false, err
	}
	r.Services = number(state, doc.Services, old.Services)
	if len(doc.Access) > 0 {
		r.Access = number(state, doc.Access, old.Access)
	}
	if revision == 0 {
		return r, false, nil
	}
	if r.sameAs(old) {
		return old.record(doc.Name, revision), true, nil
	}
	return r, false, c.checkServices(r)
}

// number gives each name the id that it has, else the next one.
func number(state *ipam.State, names []string, old map[string]uint32) map[string]uint32 {
	ids := make(map[string]uint32, len(names))
	for _, name := range names {
		id, known := old[name]
		if !known {
			*state, id = state.AllocateService()
		}
		ids[name] = id
	}
	return ids
}

func (r NetworkRecord) sameAs(old networkValue) bool {
	return r.File == old.File && r.ID == old.ID && r.Prefix == old.Prefix &&
		bytes.Equal(r.Document, []byte(old.Document)) && maps.Equal(r.Services, old.Services) && maps.Equal(r.Access, old.Access)
}

// checkServices refuses a record whose services do not fit what is attached.
func (c *change) checkServices(r NetworkRecord) error {
	attached, err := c.attachments(r.Name)
	if err != nil {
		return err
	}
	inUse := &InUseError{Network: r.Name}
	for _, a := range attached {
		if _, clash := r.Services[a.Name]; clash {
			return &ExistsError{Network: r.Name, Name: fmt.Sprintf("the name %q of a service", a.Name), By: "a workload of " + a.Service}
		}
		if _, clash := r.Access[a.Name]; clash {
			return &ExistsError{Network: r.Name, Name: fmt.Sprintf("the name %q of an access device", a.Name), By: "a workload of " + a.Service}
		}
		if _, kept := r.Services[a.Service]; kept {
			continue
		}
		inUse.Workloads = append(inUse.Workloads, a.Name)
		if !slices.Contains(inUse.Services, a.Service) {
			inUse.Services = append(inUse.Services, a.Service)
		}
	}
	if len(inUse.Workloads) == 0 {
		return nil
	}
	slices.Sort(inUse.Services)
	slices.Sort(inUse.Workloads)
	return inUse
}

// DeleteNetwork removes a network's document and lets its /64 and id rest.
// While workloads are attached it is refused with an *InUseError, unless force,
// which removes them and their bindings in the same transaction. A network that
// is not there gives a *NotFoundError.
func (s *Store) DeleteNetwork(ctx context.Context, name string, force bool) error {
	_, err := s.change(ctx, func(c *change) error {
		var old networkValue
		revision, err := c.get(networkKey(name), &old)
		if err != nil {
			return err
		}
		if revision == 0 {
			return &NotFoundError{Kind: "network", Name: name}
		}
		attached, err := c.attachments(name)
		if err != nil {
			return err
		}
		if len(attached) > 0 && !force {
			return &InUseError{Network: name, Workloads: names(attached)}
		}
		state, err := c.ipam()
		if err != nil {
			return err
		}
		before := state.State
		state.State = state.Release(name, s.now().UTC())
		if err := state.put(c, before); err != nil {
			return err
		}
		c.delete(networkKey(name))
		c.deleteAll(attachmentsOf(name))
		c.deleteAll(bindingsOf(name))
		c.adds = false
		return nil
	})
	return err
}
