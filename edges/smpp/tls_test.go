package smpp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// serverCA issues certificates for smpp.test into two files.
type serverCA struct {
	pool      *x509.CertPool
	root      *x509.Certificate
	rootKey   *ecdsa.PrivateKey
	cert, key string
	serial    int64
	stamp     time.Time // of the files; each write is a second later
}

func newServerCA(t testing.TB) *serverCA {
	t.Helper()
	dir := t.TempDir()
	ca := &serverCA{pool: x509.NewCertPool(), cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"), stamp: time.Now()}
	ca.rootKey = serverKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.rootKey.Public(), ca.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	if ca.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.pool.AddCert(ca.root)
	ca.issue(t)
	return ca
}

func serverKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue writes a new certificate and gives its serial number.
func (ca *serverCA) issue(t testing.TB) int64 {
	t.Helper()
	ca.serial++
	key := serverKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(ca.serial), DNSNames: []string{"smpp.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.root, key.Public(), ca.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca.write(t, ca.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	ca.write(t, ca.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return ca.serial
}

// write changes a file, so that its time differs whatever the file system's
// clock does.
func (ca *serverCA) write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ca.stamp = ca.stamp.Add(time.Second)
	if err := os.Chtimes(name, ca.stamp, ca.stamp); err != nil {
		t.Fatal(err)
	}
}

func (ca *serverCA) files(t testing.TB) *CertificateFiles {
	t.Helper()
	f, err := NewCertificateFiles(ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (ca *serverCA) client() *tls.Config {
	return &tls.Config{RootCAs: ca.pool, ServerName: "smpp.test"}
}

func TestTLS(t *testing.T) {
	w := serverSetup(t)
	w.cred.RequireTLS = true
	w.publish(2)
	ca := newServerCA(t)
	w.TLS = &tls.Config{GetCertificate: ca.files(t).GetCertificate, ClientAuth: tls.RequireAnyClientCert}
	secure, plain := w.listenTLS(), w.listen() // both at once

	config := ca.client()
	asked := false
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &tls.Certificate{}, nil
	}
	c, err := tls.Dial("tcp", secure, config)
	if err != nil {
		t.Fatal(err)
	}
	p := newServerPeer(t, c)
	p.bind(bindTRX)
	if rows := w.journal.row(); len(rows) != 1 || !rows[0].TLS {
		t.Errorf("rows %+v", rows)
	}
	if asked {
		t.Error("a client certificate was asked for")
	}
	w.audited("smpp.bind known acme 127.0.0.1: transceiver, tls, interface_version 34", 1)
	serverDial(t, plain).dialogue("> " + acmeTRX + "\n< 80000009 0000000d 00000001 00\nend")
	p.dialogue("> 00000006 00000000 00000002\n< 80000006 00000000 00000002\nend")
}

func TestTLSRefused(t *testing.T) {
	w := serverSetup(t)
	ca := newServerCA(t)
	w.TLS = &tls.Config{GetCertificate: ca.files(t).GetCertificate, MinVersion: tls.VersionTLS10}
	addr := w.listenTLS()
	old := ca.client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", addr, old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 was spoken")
	}
	w.events.await("refused "+RefusedTLS, 1)
	for n, octets := range []string{
		"00000021 00000009 00000000 00000001", // SMPP in the clear
		headerV1,
	} {
		p := serverDial(t, addr)
		p.send(octets)
		_, _ = p.Read(make([]byte, 100)) // an alert perhaps
		w.events.await("refused "+RefusedTLS, 2+n)
	}
	twelve := ca.client()
	twelve.MaxVersion = tls.VersionTLS12
	c, err := tls.Dial("tcp", addr, twelve)
	if err != nil {
		t.Fatal(err)
	}
	newServerPeer(t, c).bind(bindTX)
}

func TestTLSHandshakeTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, os.ErrNotExist }}
		l := newServerPipes(t)
		w.serveUntilEnd(l, w.ServeTLS)
		began := time.Now()
		p := l.dial("192.0.2.1")
		p.send("16 0301 0100") // a record's header, and then nothing
		p.wantEnd()
		if took := time.Since(began); took != sessionInit {
			t.Errorf("ended after %v", took)
		}
		w.events.await("refused "+RefusedTLS, 1)
	})
}

// Shutdown does not wait for a handshake.
func TestShutdownEndsAHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serverSetup(t)
		w.TLS = &tls.Config{}
		l := newServerPipes(t)
		served := make(chan error, 1)
		go func() { served <- w.ServeTLS(l) }()
		p := l.dial("192.0.2.1")
		synctest.Wait()
		began := time.Now()
		if err := w.Shutdown(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("shutdown: %v after %v", err, time.Since(began))
		}
		p.wantEnd()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestServeTLSWithoutConfiguration(t *testing.T) {
	w := serverSetup(t)
	l := newServerPipes(t)
	if err := w.ServeTLS(l); err == nil {
		t.Error("it serves")
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener was not closed")
	}
}

func TestCertificateReload(t *testing.T) {
	ca := newServerCA(t)
	f := ca.files(t)
	log := &serverLog{}
	f.Log = slog.New(slog.NewTextHandler(log, nil))
	now := time.Now()
	f.Now = func() time.Time { return now }
	serial := func(want int64) {
		t.Helper()
		c, err := f.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Leaf.SerialNumber.Int64(); got != want {
			t.Errorf("certificate %d, want %d", got, want)
		}
	}
	serial(1)
	ca.issue(t)
	serial(1) // it was looked at within the second
	now = now.Add(certificateCheck)
	serial(2)

	good := [2][]byte{serverRead(t, ca.cert), serverRead(t, ca.key)}
	for _, broken := range []func(){
		func() { ca.write(t, ca.cert, []byte("no certificate")) },
		func() { ca.write(t, ca.cert, good[0]); ca.write(t, ca.key, []byte("no key")) },
		func() { _ = os.Remove(ca.key) },
	} {
		before := log.count("level=ERROR")
		broken()
		for range 3 { // said once
			now = now.Add(certificateCheck)
			serial(2)
		}
		if n := log.count("level=ERROR") - before; n != 1 {
			t.Errorf("%d lines", n)
		}
	}
	ca.issue(t)
	now = now.Add(certificateCheck)
	serial(3)
	if log.count("can be read again") != 1 {
		t.Error("nobody was told that it is well again")
	}
	// The certificate is written before its key: they do not fit for a moment.
	ca.issue(t)
	next := serverRead(t, ca.key)
	ca.write(t, ca.key, good[1])
	now = now.Add(certificateCheck)
	serial(3)
	ca.write(t, ca.key, next)
	now = now.Add(certificateCheck)
	serial(4)
}

func serverRead(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCertificateFilesMissing(t *testing.T) {
	ca := newServerCA(t)
	if _, err := NewCertificateFiles(ca.cert, ca.cert); err == nil {
		t.Error("a key that is none was taken")
	}
	if _, err := NewCertificateFiles(ca.cert+"x", ca.key); err == nil {
		t.Error("a file that is not there was taken")
	}
}

func TestCertificateReloadUnderHandshakes(t *testing.T) {
	ca := newServerCA(t)
	w := serverSetup(t)
	f := ca.files(t)
	var mu sync.Mutex
	now := time.Now()
	f.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(certificateCheck) // looked at in every handshake
		return now
	}
	w.TLS = &tls.Config{GetCertificate: f.GetCertificate}
	addr := w.listenTLS()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				c, err := tls.Dial("tcp", addr, ca.client())
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.Close()
			}
		})
	}
	for range 5 {
		ca.issue(t)
	}
	all.Wait()
	c, err := tls.Dial("tcp", addr, ca.client())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != ca.serial {
		t.Errorf("certificate %d, want %d", got, ca.serial)
	}
}
