package browser

import "syscall"

// processGroup is of the browser and its helpers. The kernel kills the browser when this
// process ends without stopping it, and the helpers end with the browser.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
