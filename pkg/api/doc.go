// Package api is the daemon's interface: gRPC on a unix socket, the client of
// it, and how its messages and errors reach people and scripts.
//
// It must not know what the daemon does with a request, nor the kernel, the
// registry or the plan: the daemon implements Server.
package api

//go:generate sh generate.sh
