package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// patience is how long something may take before the user is told.
const patience = time.Second

// progress runs a call and, on a terminal, shows on standard error what is
// being waited for once it takes longer than patience.
func progress(cmd *cobra.Command, what string, call func() error) error {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return call()
	}
	done, shown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(shown)
		start, tick := time.Now(), time.NewTicker(patience)
		defer tick.Stop()
		told := false
		for {
			select {
			case <-tick.C:
				told = true
				fmt.Fprintf(cmd.ErrOrStderr(), "\r%s … %d s", what, int(time.Since(start).Seconds()))
			case <-done:
				if told {
					fmt.Fprint(cmd.ErrOrStderr(), "\r\x1b[K") // ECMA-48 EL: clear the line
				}
				return
			}
		}
	}()
	err := call()
	close(done)
	<-shown
	return err
}
