// Command init is process 1 of a guest: it makes the machine what a test
// expects, runs the tests of /job.json one after the other, sends what they
// say over a virtio-serial port, and switches off. Called as modprobe it loads
// a module that was packed.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/tools/vmtest/job"
)

func main() {
	switch {
	case filepath.Base(os.Args[0]) == "modprobe":
		os.Exit(modprobe(os.Args[1:]))
	case os.Getpid() != 1: // a service of systemd
		os.Exit(serve())
	}
	err := openConsole()
	fmt.Println(job.Alive)
	if err == nil {
		err = run()
	}
	if err != nil {
		fmt.Println("vmtest: init:", err)
	}
	unix.Sync()
	fmt.Println("vmtest: switching off:", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

// run is process 1, to the end or until systemd becomes it.
func run() error {
	text, err := os.ReadFile(job.File)
	if err != nil {
		return err
	}
	var j job.Job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	mounts := allMounts
	if j.Systemd {
		mounts = firstMounts
	}
	if err := mountAll(mounts); err != nil {
		return err
	}
	if err := loadModules(j.Modules); err != nil {
		return err
	}
	if j.Systemd {
		const program = "/lib/systemd/systemd"
		return fmt.Errorf("run %s: %w", program, unix.Exec(program, []string{program}, []string{"TERM=linux"}))
	}
	if err := describeMachine(); err != nil {
		return err
	}
	return runTests(j)
}

// serve runs the tests where systemd is process 1, and has it switch off.
func serve() int {
	text, err := os.ReadFile(job.File)
	var j job.Job
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err == nil {
		err = setEnvironment()
	}
	if err == nil {
		err = runTests(j)
	}
	if err == nil {
		err = exec.Command("systemctl", "poweroff").Run()
	}
	if err != nil {
		fmt.Println("vmtest:", err)
		return 1
	}
	return 0
}

// runTests runs the job's tests and sends what they say.
func runTests(j job.Job) error {
	out, err := openPort(job.PortName)
	if err != nil {
		return err
	}
	send := func(e job.Event) {
		line, _ := json.Marshal(e)
		_, _ = out.Write(append(line, '\n'))
	}
	if j.Disk {
		if err := mountDisk(); err != nil {
			send(job.Event{Action: job.Error, Output: err.Error()})
			return err
		}
	}
	send(job.Event{Action: job.Ready})
	for _, test := range j.Tests {
		if err := runTest(test, out); err != nil {
			send(job.Event{Action: job.Error, Package: test.Package, Output: err.Error()})
		}
	}
	if j.Shell {
		shell()
	}
	if j.Disk {
		_ = unix.Unmount(job.StateDir, 0)
	}
	send(job.Event{Action: job.Done})
	return out.Close()
}

// runTest runs a compiled test under test2json. That a test fails is no error:
// its events say so.
func runTest(test job.Test, out *os.File) error {
	name := strings.ReplaceAll(test.Package, "/", "_")
	args := append([]string{
		"-t", "-p", test.Package, filepath.Join(job.TestDir, name),
		"-test.v=test2json", fmt.Sprintf("-test.timeout=%s", test.Limit),
	}, test.Args...)
	cmd := exec.Command(filepath.Join(job.TestDir, "test2json"), args...)
	cmd.Dir = filepath.Join(job.SourceDir, test.Package)
	cmd.Env = append(os.Environ(), test.Env...)
	cmd.Stdout, cmd.Stderr = out, os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
		return err
	}
	fmt.Printf("vmtest: %s\n", test.Package)
	if err := cmd.Start(); err != nil {
		return err
	}
	// The test has a limit of its own, and then says where it stood; this one
	// is for a test that cannot even do that.
	timer := time.AfterFunc(test.Limit+20*time.Second, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	defer timer.Stop()
	_ = cmd.Wait()
	return nil
}

func shell() {
	fmt.Println("vmtest: a shell; `exit` switches the guest off; the tests are in", job.TestDir)
	cmd := exec.Command("/bin/bash", "-i")
	cmd.Dir = job.SourceDir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		fmt.Println("vmtest: shell:", err)
	}
}
