package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// socketMode lets root and the socket's group ask the daemon.
const socketMode = 0o660

// Server is what the daemon answers: one service a .proto file.
type Server interface {
	DaemonServer
	GridServer
	AccessServer
	NodesServer
	PrefixesServer
	KeysServer
	OwnersServer
}

// Listen makes the daemon's socket, and its directory where there is none. A
// socket that a killed daemon left behind is replaced; one behind which a
// process answers is an error.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of socket %s: %w", path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("set the mode of socket %s: %w", path, err), listener.Close())
	}
	return listener, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is no socket; move it away, or set another runDir", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return fmt.Errorf("another daemon answers at %s; stop it, or set another runDir", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale socket %s: %w", path, err)
	}
	return nil
}

// Serve answers calls on the listener until ctx ends, then gives those that run
// some time to finish. What a call gives as its error is sent under the status
// code that codeOf says.
func Serve(ctx context.Context, listener net.Listener, daemon Server, codeOf func(error) codes.Code, grace time.Duration) error {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			response, err := handle(ctx, request)
			return response, toStatus(err, codeOf)
		}),
		grpc.StreamInterceptor(func(daemon any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return toStatus(handle(daemon, stream), codeOf)
		}),
	)
	RegisterDaemonServer(server, daemon)
	RegisterGridServer(server, daemon)
	RegisterAccessServer(server, daemon)
	RegisterNodesServer(server, daemon)
	RegisterPrefixesServer(server, daemon)
	RegisterKeysServer(server, daemon)
	RegisterOwnersServer(server, daemon)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	finished := make(chan struct{})
	go func() { server.GracefulStop(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(grace):
		server.Stop()
	}
	return nil
}
