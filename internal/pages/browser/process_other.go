//go:build !linux

package browser

import "syscall"

// processGroup is of the browser and its helpers. The browser ends itself when the pipe to
// it is closed.
func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
