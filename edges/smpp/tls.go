package smpp

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificateCheck is how often CertificateFiles looks at its files, at most.
const certificateCheck = time.Second

// CertificateFiles is a certificate in two PEM files. A handshake that finds
// them changed reads them anew, so a renewed certificate needs no restart. It
// is safe for concurrent use; Log and Now must not change once it is used.
type CertificateFiles struct {
	Log *slog.Logger     // gets what is wrong with changed files; nil: nothing is logged
	Now func() time.Time // nil: time.Now

	cert, key string
	current   atomic.Pointer[tls.Certificate]

	checking sync.Mutex // held by the one who looks at the files
	checked  time.Time
	loaded   [2]fileState
	trouble  string // what was logged last
}

// fileState tells a changed file from an unchanged one.
type fileState struct {
	changed int64 // nanoseconds, Unix
	size    int64
}

// NewCertificateFiles reads a certificate chain and its key; set GetCertificate
// of a tls.Config to its method.
func NewCertificateFiles(certFile, keyFile string) (*CertificateFiles, error) {
	f := &CertificateFiles{cert: certFile, key: keyFile}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// GetCertificate is for tls.Config. It gives the certificate in force: when
// changed files cannot be read, or do not fit each other, the one before.
func (f *CertificateFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.checking.TryLock() { // others go on with what there is
		f.check()
		f.checking.Unlock()
	}
	return f.current.Load(), nil
}

func (f *CertificateFiles) check() {
	now := time.Now()
	if f.Now != nil {
		now = f.Now()
	}
	if age := now.Sub(f.checked); age >= 0 && age < certificateCheck {
		return
	}
	f.checked = now
	trouble := ""
	if err := f.load(); err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != f.trouble && f.Log != nil {
		f.Log.Error("smpp certificate not read; the one before stays in force", "error", trouble)
	}
	if trouble == "" && f.trouble != "" && f.Log != nil {
		f.Log.Info("smpp certificate can be read again")
	}
	f.trouble = trouble
}

// load reads the files unless they are as they were. Their state is taken
// before their contents: a change in between is seen the next time.
func (f *CertificateFiles) load() error {
	var now [2]fileState
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("smpp: certificate: %w", err)
		}
		now[i] = fileState{info.ModTime().UnixNano(), info.Size()}
	}
	if now == f.loaded {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("smpp: certificate: %w", err)
	}
	f.current.Store(&pair)
	f.loaded = now
	return nil
}
