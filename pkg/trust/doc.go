// Package trust says who may say what in a grid: its certificate authority and
// the certificates of nodes, values that nodes sign, network documents that
// owners sign, who owns a network's name, and join tokens.
//
// Everything here is a value or a function of values. It must not know etcd, the
// kernel or a clock: what was stored is handed in, and so is the time. Random
// numbers are made only where a key is.
//
// # Two kinds of key
//
// A node has an ECDSA P-256 key. The grid's CA certifies that it belongs to the
// node's name, its control address and its control WireGuard key. With it the
// node proves itself in TLS and signs what it says about itself ([Signed]).
//
// A person or a program that owns networks has an ed25519 key that no CA knows.
// It signs network documents ([Document]); the first owner of a name that a node
// has seen stays its owner there ([Pin]).
//
// # Time
//
// A node whose clock is a day off, either way, must work on. Certificates begin
// [ClockSlack] before they were made, so that a clock behind does not take them
// for not yet valid, also when the CA's clock was ahead. They live a year and are
// renewed after half of it, so that a clock ahead has months to spare. Everything
// short-lived (a token) is judged by one clock only, that of who made it.
//
// # Secrets
//
// A value that holds a private key or a token's secret prints as what it is and
// not what it holds, with every verb of fmt, in log/slog and in JSON. It leaves
// only by methods whose name says so: PEM, Reveal, PeerPrivateKey.
package trust
