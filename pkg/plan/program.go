package plan

import "github.com/zosnet/zosnet/pkg/policy"

// program compiles a network's rules. Rules can name services of every network
// that the registry knows, also of one that does not span this node.
func (in Input) program(r Record) (policy.Program, error) {
	ids := policy.IDs{Network: r.ID, Resolver: resolverService(r.ID), Services: r.Services, Access: r.Access,
		Peer: make(map[string]map[string]uint32, len(in.Networks))}
	for _, other := range in.Networks {
		if other.Document.Name != r.Document.Name {
			ids.Peer[other.Document.Name] = other.Services
		}
	}
	return policy.Compile(r.Document, ids)
}
