// Package probe sends real traffic between the machines of a lab and tells
// what became of it: sequence-numbered datagrams, TCP streams, HTTP, connect
// attempts, echo requests and crafted frames.
//
// It knows machines and sockets. It must not know what zosnet is, or what a
// test expects: an Outcome is what the sender could see, and nothing more.
package probe

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Outcome is what became of one attempt, as its sender sees it.
type Outcome string

// The outcomes.
const (
	Answered    Outcome = "answered"    // connected, or a reply came
	Refused     Outcome = "refused"     // RST, or port unreachable
	Unreachable Outcome = "unreachable" // any other ICMP error, or no route
	Silent      Outcome = "silent"      // nothing came in time
)

// classify turns the error of a socket call into an Outcome. An error that
// tells nothing of the network comes back as it is.
func classify(err error) (Outcome, error) {
	switch {
	case err == nil:
		return Answered, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return Refused, nil
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH),
		errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM),
		errors.Is(err, unix.EPROTO), errors.Is(err, unix.ENOPROTOOPT),
		errors.Is(err, unix.EHOSTDOWN), errors.Is(err, unix.ENONET):
		return Unreachable, nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ETIMEDOUT), isTimeout(err):
		return Silent, nil
	}
	return "", err
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
