package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/daemon"
	"github.com/zosnet/zosnet/pkg/spec"
)

// The exit statuses that scripts rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // or a bad document
	exitUnreachable = 3
	exitDenied      = 4 // trace only
)

// usageError is a command line that says something wrong.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// badDocument is a document that cannot be used, found by this process.
type badDocument struct{ err error }

func (e *badDocument) Error() string { return e.err.Error() }
func (e *badDocument) Unwrap() error { return e.err }

// errDenied says that trace found a flow denied; everything is printed already.
var errDenied = errors.New("denied")

// errPrinted says that something failed and that everything is printed already.
var errPrinted = errors.New("failed")

// execute runs the command line and gives the exit status.
func execute(ctx context.Context, root *cobra.Command) int {
	markUsage(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var started *runError
	if errors.As(err, &started) {
		err = started.err
	} else {
		err = &usageError{cmd, err} // cobra complains before it runs anything
	}
	complain(root.ErrOrStderr(), err)
	return exitStatus(err)
}

// runError is what a command gave, as against what cobra says of its flags and
// arguments.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }

// markUsage wraps every command: what is wrong before one runs is bad usage,
// and so is a command of others without one of them.
func markUsage(cmd *cobra.Command) {
	if inner := cmd.RunE; inner != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := inner(cmd, args); err != nil {
				return &runError{err}
			}
			return nil
		}
	} else if cmd.Run == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args[0])
			}
			return fmt.Errorf("say what to do: one of %s", verbs(cmd))
		}
	}
	for _, c := range cmd.Commands() {
		markUsage(c)
	}
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	if similar := cmd.SuggestionsFor(verb); len(similar) > 0 {
		return fmt.Errorf("unknown verb %q: did you mean %s?", verb, strings.Join(similar, " or "))
	}
	return fmt.Errorf("unknown verb %q: want one of %s", verb, verbs(cmd))
}

func exitStatus(err error) int {
	var usage *usageError
	var document *badDocument
	var problems spec.Errors
	var node *daemon.NodeError
	switch {
	case errors.Is(err, errDenied):
		return exitDenied
	case errors.As(err, &usage), errors.As(err, &document), errors.As(err, &problems),
		errors.As(err, &node), api.Invalid(err):
		return exitUsage
	case api.Unreachable(err):
		return exitUnreachable
	}
	return exitFailed
}

// complain prints an error for people. Problems of documents begin with their
// place, as editors expect it.
func complain(w io.Writer, err error) {
	var usage *usageError
	switch {
	case errors.Is(err, errDenied), errors.Is(err, errPrinted):
		return
	case errors.As(err, &usage):
		fmt.Fprintf(w, "zosnet: %v\nusage: %s\n       %s --help tells more\n", err, usage.cmd.UseLine(), usage.cmd.CommandPath())
	case strings.Contains(err.Error(), "\n"), exitStatus(err) == exitUsage:
		fmt.Fprintln(w, err)
	default:
		fmt.Fprintf(w, "zosnet: %v\n", err)
	}
}
