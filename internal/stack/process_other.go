//go:build !linux

package stack

import "syscall"

// dieWithParent does nothing: only Linux tells a program that its parent died. Elsewhere a kill -9 of
// the parent leaves its parts running; StartPostgres then finds the one it left and says so.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
