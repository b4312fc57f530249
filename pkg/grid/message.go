package grid

import "net/netip"

// The invitation service's requests and answers, JSON over HTTPS. A later version
// adds fields; what a program does not know it leaves alone.

const (
	joinPath  = "/v1/join"
	renewPath = "/v1/renew"
	// maxMessage bounds a request, in bytes.
	maxMessage = 64 << 10
	// maxAnswer bounds an answer, which lists the members.
	maxAnswer = 1 << 20
)

type joinRequest struct {
	ID      string `json:"id"`     // of the token
	Secret  string `json:"secret"` // of the token
	Request string `json:"request"`
}

type joinAnswer struct {
	Certificate string       `json:"certificate"`
	CAs         string       `json:"cas"`
	Control     netip.Prefix `json:"control"`
	Members     []Node       `json:"members"`
	Foreign     bool         `json:"foreign,omitempty"` // somebody else runs the registry
}

type renewRequest struct {
	Request string `json:"request"`
}

type renewAnswer struct {
	Certificate string `json:"certificate"`
}

type refusal struct {
	Reason string `json:"reason"` // one of the names below
}

// Why the service refuses. The texts are made by who asked.
const (
	refusedToken     = "token"
	refusedName      = "name"
	refusedKey       = "key"
	refusedMalformed = "malformed"
	refusedIdentity  = "identity"
	refusedLater     = "later"
)
