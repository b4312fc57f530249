package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxMessage is the largest message in bytes, in either direction: the
// documents of one apply, each at most 1 MiB.
const maxMessage = 64 << 20

// Client talks to the daemon behind a socket.
type Client struct {
	DaemonClient
	GridClient
	AccessClient
	NodesClient
	PrefixesClient
	KeysClient
	OwnersClient
	connection *grpc.ClientConn
}

// Dial connects to the daemon's socket. Errors of Dial and of the calls are of
// type *Error.
func Dial(ctx context.Context, path string) (*Client, error) {
	// gRPC would wrap what connect(2) says in its own words, so try it first.
	probe, err := dial(ctx, path)
	if err != nil {
		return nil, unreachable(path, err)
	}
	_ = probe.Close()
	connection, err := grpc.NewClient("passthrough:///zosnet",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket: the kernel checks who we are
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, path) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithUnaryInterceptor(unaryErrors(path)),
		grpc.WithStreamInterceptor(streamErrors(path)),
	)
	if err != nil {
		return nil, unreachable(path, err)
	}
	return &Client{
		DaemonClient: NewDaemonClient(connection), GridClient: NewGridClient(connection), NodesClient: NewNodesClient(connection),
		PrefixesClient: NewPrefixesClient(connection),
		KeysClient:     NewKeysClient(connection),
		AccessClient:   NewAccessClient(connection),
		OwnersClient:   NewOwnersClient(connection),
		connection:     connection,
	}, nil
}

// Close ends the connection.
func (c *Client) Close() { _ = c.connection.Close() } // fails only when closed twice

func dial(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

func unreachable(path string, err error) error {
	advice := "is it the right socket? (--socket, ZOSNET_SOCKET)"
	switch {
	case errors.Is(err, fs.ErrPermission):
		advice = "run it as root, or as a member of the socket's group"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		advice = "start it (systemctl start zosnet), or name its socket (--socket, ZOSNET_SOCKET)"
	}
	var system syscall.Errno
	if errors.As(err, &system) {
		err = system
	}
	return &Error{Code: codes.Unavailable, Message: fmt.Sprintf("the daemon cannot be reached at %s: %v; %s", path, err, advice)}
}

// explain gives a call's error in words for people.
func explain(path string, err error) error {
	err = fromStatus(err)
	if Unreachable(err) {
		return &Error{Code: codes.Unavailable, Message: fmt.Sprintf(
			"the daemon at %s went away before it answered; what it was asked for may or may not be done: see zosnet status", path)}
	}
	return err
}

func unaryErrors(path string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return explain(path, invoke(ctx, method, req, reply, cc, opts...))
	}
}

func streamErrors(path string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, explain(path, err)
		}
		return &clientStream{ClientStream: s, path: path}, nil
	}
}

type clientStream struct {
	grpc.ClientStream
	path string
}

func (s *clientStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, explain(s.path, err)
}

func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return explain(s.path, err)
}
