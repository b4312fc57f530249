// Package job is what the runner and the init in the guest tell each other: a
// Job goes in with the initramfs, lines of JSON come back over a virtio-serial
// port. Those lines are test2json events, and the few Actions named here.
package job

import "time"

// Where things are in a guest.
const (
	File      = "/job.json"
	ModuleDir = "/modules" // NAME.ko
	TestDir   = "/tests"   // the compiled tests
	SourceDir = "/src"     // the tests' working directories and their testdata
	StateDir  = "/state"   // the disk of a guest that has one
	PortName  = "results"  // of the virtio-serial port

	// Alive is what init prints on the console before anything else.
	Alive = "vmtest: init is running"
)

// Job is what a guest does.
type Job struct {
	Modules []Module // in the order of loading
	Tests   []Test
	Disk    bool // mount /dev/vda at StateDir
	Systemd bool // process 1 is systemd, one of whose services runs the tests
	Shell   bool // a shell on the console afterwards
}

// Module is a module in ModuleDir.
type Module struct {
	Name    string
	Aliases []string
}

// Test is one run of a compiled test.
type Test struct {
	Package string        // such as pkg/loader
	Args    []string      // besides those that every run gets
	Env     []string      // NAME=value
	Limit   time.Duration // after which the test is killed
}

// Actions of Event besides those of test2json.
const (
	Ready = "vmtest-ready" // modules are loaded, tests begin
	Done  = "vmtest-done"  // every test has been run
	Error = "vmtest-error" // Output says what failed outside of a test
)

// Event is one line from a guest: test2json's fields.
type Event struct {
	Action  string
	Package string  `json:",omitempty"`
	Test    string  `json:",omitempty"`
	Elapsed float64 `json:",omitempty"` // seconds
	Output  string  `json:",omitempty"`
}
