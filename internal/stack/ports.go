package stack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Ports are taken from below the ranges from which Linux (32768 up) and macOS (49152 up) serve
// outgoing connections, so that no connection made in between takes a port that was just found free.
const (
	lowestPort  = 20000
	highestPort = 32767
	portTries   = 1000 // per port; far above what a machine with free ports ever needs
)

// claims are the ports this process was given. Each is a locked byte of a file that all processes of
// this user share, so that processes started at the same time (the test binaries of `go test ./...`)
// never get the same port, although none of them listens yet. A claim lasts as long as the process: a
// part that was stopped may be started on its port again.
var claims struct {
	sync.Mutex
	file *os.File // stays open: closing it would drop all locks
	held map[int]bool
}

// FreePort returns a TCP port of 127.0.0.1 on which nobody listens and that no other process got from
// this function. Safe for concurrent use.
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// FreePorts returns n distinct ports as FreePort does.
func FreePorts(n int) ([]int, error) {
	claims.Lock()
	defer claims.Unlock()
	if claims.file == nil {
		if err := openClaims(); err != nil {
			return nil, fmt.Errorf("claims on ports: %w", err)
		}
	}
	ports := make([]int, 0, n)
	for tries := 0; len(ports) < n; tries++ {
		if tries == portTries*n {
			return nil, fmt.Errorf("no %d free ports between %d and %d", n, lowestPort, highestPort)
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if !claims.held[port] && claimPort(port) {
			claims.held[port] = true
			ports = append(ports, port)
		}
	}
	return ports, nil
}

func openClaims() error {
	// The os package tries once per process, and without syscall.ForkLock, whether it can start
	// processes by pidfd: it does so here, and not while a port is being tried.
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Release()
	}
	path := filepath.Join(cacheDir(), "ports")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	claims.file, claims.held = file, map[int]bool{}
	return nil
}

// claimPort reports whether the port is free and now this process's.
func claimPort(port int) bool {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: int64(port), Len: 1}
	if err := syscall.FcntlFlock(claims.file.Fd(), syscall.F_SETLK, &lock); err != nil {
		return false // another process's
	}
	if isFree(port) {
		return true
	}
	lock.Type = syscall.F_UNLCK
	_ = syscall.FcntlFlock(claims.file.Fd(), syscall.F_SETLK, &lock) // a claim too many is harmless
	return false
}

// isFree reports whether nobody listens on the port. No process is started meanwhile:
// a child has all open sockets of its parent until it runs its own program, and would
// hold the port for a moment after it was found free.
func isFree(port int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(socket)
	// As the listeners of the net package: what a closed connection leaves does not count.
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return false
	}
	address := &syscall.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(loopback).As4()}
	return syscall.Bind(socket, address) == nil && syscall.Listen(socket, 1) == nil
}
