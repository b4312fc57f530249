package trust

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"
)

// PendingToken is what the node that invites keeps of a token: enough to
// recognise it, not enough to use it.
type PendingToken struct {
	ID      string     `json:"id"`
	Hash    []byte     `json:"hash"` // SHA-256 of the secret, which is random and needs no slow hash
	Peer    ControlKey `json:"peer"` // of who joins, until it has a key of its own
	Expires time.Time  `json:"expires"`
	Used    *TokenUse  `json:"used,omitempty"`
}

// TokenUse says who joined with a token.
type TokenUse struct {
	Node string    `json:"node"`
	Key  []byte    `json:"key"` // Request.KeyDigest
	At   time.Time `json:"at"`
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte("zosnet join secret 1" + secret))
	return sum[:]
}

// Check judges the secret with which somebody wants to join, by the clock of who
// made the token. A nil token is one that is not known. Again means that the same
// node joined with it already, by the same key, and may be told the same once
// more: its answer may have been lost. Every refusal is ErrToken and takes as long.
func (p *PendingToken) Check(secret string, request *Request, now time.Time) (again bool, err error) {
	stored := make([]byte, sha256.Size)
	if p != nil {
		stored = p.Hash
	}
	right := subtle.ConstantTimeCompare(stored, hashSecret(secret)) == 1
	if p == nil || !right || !now.Before(p.Expires) {
		return false, ErrToken
	}
	if p.Used == nil {
		return false, nil
	}
	digest := request.KeyDigest()
	if p.Used.Node != request.Node || subtle.ConstantTimeCompare(p.Used.Key, digest[:]) != 1 {
		return false, ErrToken
	}
	return true, nil
}

// Use marks the token as used.
func (p PendingToken) Use(request *Request, now time.Time) PendingToken {
	digest := request.KeyDigest()
	p.Used = &TokenUse{Node: request.Node, Key: digest[:], At: now}
	return p
}
