package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// runChild runs command until it ends or ctx does; then it is asked to stop, and waited for.
// It dies with this process, whatever ends this process.
func runChild(ctx context.Context, command *exec.Cmd) error {
	// The kernel sends the death signal when the *thread* that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	select {
	case err := <-done:
		return fmt.Errorf("%s ended: %w", filepath.Base(command.Path), exitReason(err))
	case <-ctx.Done():
		_ = command.Process.Signal(syscall.SIGTERM)
		<-done
		return nil
	}
}

func exitReason(err error) error {
	if err == nil {
		return fmt.Errorf("exit status 0")
	}
	return err
}
