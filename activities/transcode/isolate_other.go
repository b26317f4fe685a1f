//go:build !linux

package transcode

import "syscall"

// attributes puts a child into a group of its own; there are no namespaces here.
func (t *Transcoder) attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

const canIsolate = false
