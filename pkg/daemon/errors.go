package daemon

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/controlplane"
	"github.com/zosnet/zosnet/pkg/delegation"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// codeOf gives the status code that a caller of the API gets for an error.
func codeOf(err error) codes.Code {
	var (
		known      *api.Error
		problems   spec.Errors
		missing    *registry.NotFoundError
		exists     *registry.ExistsError
		inUse      *registry.InUseError
		exhausted  *ipam.ExhaustedError
		noSpace    *registry.NoSpaceError
		disallowed *controlplane.RefusedError
		refused    *delegation.RefusedError
		notHeld    *delegation.NotHeldError
		newer      *gridstore.VersionError
	)
	switch {
	case errors.As(err, &known):
		return known.Code
	case errors.As(err, &problems):
		return codes.InvalidArgument
	case errors.As(err, &missing), errors.As(err, &notHeld):
		return codes.NotFound
	case errors.As(err, &exists):
		return codes.AlreadyExists
	case errors.As(err, &inUse), errors.As(err, &disallowed), errors.As(err, &refused), errors.As(err, &newer):
		return codes.FailedPrecondition
	case errors.As(err, &exhausted), errors.As(err, &noSpace):
		return codes.ResourceExhausted
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codes.Internal
}

func invalid(message string) error {
	return &api.Error{Code: codes.InvalidArgument, Message: message}
}

func refused(message string) error {
	return &api.Error{Code: codes.FailedPrecondition, Message: message}
}
