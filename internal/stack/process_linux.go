package stack

import "syscall"

// dieWithParent lets the kernel signal the program when the thread that started it ends.
func dieWithParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
