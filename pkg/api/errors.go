package api

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is what the daemon, or the way to it, answered instead of a result.
type Error struct {
	Code    codes.Code
	Message string // for people; may have several lines
}

func (e *Error) Error() string { return e.Message }

// Unreachable says whether the daemon could not be reached, or went away
// before it answered.
func Unreachable(err error) bool { return hasCode(err, codes.Unavailable) }

// Invalid says whether a document or an argument was refused; then nothing was
// changed.
func Invalid(err error) bool { return hasCode(err, codes.InvalidArgument) }

// NotFound says whether there is no such thing.
func NotFound(err error) bool { return hasCode(err, codes.NotFound) }

func hasCode(err error, code codes.Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// fromStatus turns gRPC's error into an *Error without its prefix.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return &Error{Code: s.Code(), Message: s.Message()}
}

// toStatus turns what a call gave as its error into what is sent.
func toStatus(err error, codeOf func(error) codes.Code) error {
	if err == nil {
		return nil
	}
	return status.Error(codeOf(err), err.Error())
}
