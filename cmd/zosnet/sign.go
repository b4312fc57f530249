package main

import (
	"context"
	"fmt"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// signer signs for the owner of networks where the node is in a grid. The key is
// read when it is first needed.
type signer struct {
	client *api.Client
	file   string
	key    *trust.OwnerKey
}

// sign gives the signature of a network's next revision, nil where none is needed.
func (s *signer) sign(ctx context.Context, network string, make func(key *trust.OwnerKey, revision uint64) (trust.Document, error)) (*api.Signature, error) {
	ownership, err := s.client.GetOwnership(ctx, &api.OwnershipRequest{Network: network})
	if err != nil || !ownership.Grid {
		return nil, err
	}
	if s.key == nil {
		if s.key, err = readOwnerKey(s.file); err != nil {
			return nil, fmt.Errorf("this node is in a grid, where owners sign documents: %w", err)
		}
	}
	document, err := make(s.key, ownership.Revision+1)
	if err != nil {
		return nil, err
	}
	return &api.Signature{Owner: document.Owner.String(), Revision: document.Revision, Value: document.Signature}, nil
}

// signDocument signs a NETWORK.yaml. What is wrong with one is the daemon's to say,
// of all of them at once.
func (s *signer) signDocument(ctx context.Context, d *api.Document) (err error) {
	network, _, _ := spec.DecodeNetwork(d.File, d.Text)
	if network == nil {
		return nil
	}
	d.Signature, err = s.sign(ctx, network.Name, func(key *trust.OwnerKey, revision uint64) (trust.Document, error) {
		return key.Sign(network.Name, revision, string(d.Text))
	})
	return err
}
