package transcode

import (
	"os"
	"syscall"
)

// attributes puts a child into a group of its own, has the kernel end it when
// the gateway ends, and where New has found that the system allows it, into
// namespaces of its own: without network, without privileges even if the gateway
// is root, and unable to signal other processes or look into them. Files it can
// still read as the gateway can.
func (t *Transcoder) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if t.isolated {
		a.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 65534, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 65534, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// canIsolate: whether it does is for the kernel to say; New tries.
const canIsolate = true
