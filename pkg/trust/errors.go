package trust

import "errors"

// Why something was not believed. Errors of this package wrap exactly one of
// these, with what it was about.
var (
	ErrMalformed        = errors.New("malformed")
	ErrUnknownAuthority = errors.New("not certified by this grid's CA")
	ErrNotYetValid      = errors.New("the certificate is not valid yet; check the clock of this machine")
	ErrExpired          = errors.New("the certificate has expired")
	ErrRevoked          = errors.New("the certificate was revoked")
	ErrOtherNode        = errors.New("it belongs to another node")
	ErrOtherKey         = errors.New("signed for another key")
	ErrOtherKind        = errors.New("signed as another kind of value")
	ErrSignature        = errors.New("the signature does not fit")
	ErrOlder            = errors.New("older than what was seen before")
	ErrConflict         = errors.New("differs from what was seen under the same number")
	ErrOtherOwner       = errors.New("the network belongs to another owner")
	ErrNotAccepted      = errors.New("this node does not accept the owner's networks")
	// ErrToken is all that is said of a token that is unknown, used, expired or
	// wrong, so that who guesses learns nothing.
	ErrToken = errors.New("this join token is not valid: unknown, used or expired; make a new one with zosnet grid token")
)
