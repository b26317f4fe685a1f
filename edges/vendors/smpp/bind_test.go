package smpp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

func TestUnboundFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, func(c *Config) {
			c.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
		})
		if _, no := st.submit("text"); verdictOf(no) != (verdict{message.ReasonVendorUnreachable, false, false, true, unboundDelay}) {
			t.Errorf("%+v", no)
		}
		synctest.Wait()
		if got := st.link.Status(); got.Bind != "disconnected" || !strings.Contains(got.LastError, "no route") || st.link.Room() != 0 {
			t.Errorf("status %+v", got)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		fail := true
		ln := newPipes()
		smsc := vendortest.Serve(ln, vendortest.Config{})
		st := join(t, smsc, func(c *Config) {
			c.DialContext = func(ctx context.Context, n, a string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Now())
				if fail {
					return nil, errors.New("refused")
				}
				return ln.dial(ctx, n, a)
			}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := st.link.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		mu.Lock()
		fail = false
		backoff := backoffMin
		for i := 1; i < len(at); i++ {
			gap := at[i].Sub(at[i-1])
			if gap < backoff/2 || gap > backoff {
				t.Errorf("gap %d is %v, want %v to %v", i, gap, backoff/2, backoff)
			}
			backoff = min(2*backoff, backoffMax)
		}
		if len(at) < 12 {
			t.Errorf("%d tries in ten minutes", len(at))
		}
		mu.Unlock()
		st.ready()
		// A bind that lived long is followed by a quick try.
		<-time.After(time.Minute)
		st.smsc.Disconnect()
		start := time.Now()
		if err := st.smsc.WaitBinds(context.Background(), 2); err != nil || time.Since(start) > backoffMin {
			t.Errorf("bound again after %v, %v", time.Since(start), err)
		}
	})
}

func TestWrongPasswordIsTriedSlowlyAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		st := playInMemory(t, vendortest.Config{OnBind: func(b *smpp.Bind) smpp.Decision {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			if len(at) <= 4 {
				return smpp.Decision{Status: smpp.StatusInvPassword}
			}
			return smpp.Decision{}
		}}, nil)
		st.ready()
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < backoffCredentials || gap > 2*backoffCredentials {
				t.Errorf("gap %v", gap)
			}
		}
		errorLines := 0
		for _, line := range st.log.Lines() {
			if strings.HasPrefix(line, "ERROR") {
				errorLines++
			}
			if strings.Contains(line, "s3cret") {
				t.Errorf("the password is in the log: %s", line)
			}
		}
		if errorLines != 1 {
			t.Errorf("%d errors logged: %q", errorLines, st.log.Lines())
		}
	})
}

func TestLossInMidWindowAndReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{OnSubmit: func(s vendortest.Submit) vendortest.Answer {
			switch {
			case s.Number < 5:
				return vendortest.Answer{Silence: true}
			case s.Number == 5:
				return vendortest.Answer{Disconnect: true}
			}
			return vendortest.Answer{}
		}}, nil)
		st.ready()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, no := st.submit("text"); verdictOf(no) != (verdict{message.ReasonSubmitInDoubt, true, true, false, 0}) {
					t.Errorf("%+v", no)
				}
			})
		}
		wg.Wait()
		if err := st.smsc.WaitBinds(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		st.ready()
		if _, no := st.submit("text"); no != nil {
			t.Error(no)
		}
		if n := len(st.smsc.Submits()); n != 6 {
			t.Errorf("%d submits at the vendor", n)
		}
	})
}

func TestLinkFaultIsBoundAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{OnSubmit: func(s vendortest.Submit) vendortest.Answer {
			if s.Number == 1 {
				return vendortest.Answer{Status: smpp.StatusInvBindState}
			}
			return vendortest.Answer{}
		}}, nil)
		st.ready()
		if _, no := st.submit("text"); no.Ambiguous() || !no.Retryable() || no.RetryAfter() != 5*time.Second {
			t.Errorf("%+v", no)
		}
		if err := st.smsc.WaitBinds(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		st.ready()
		if _, no := st.submit("text"); no != nil {
			t.Error(no)
		}
	})
}

func TestReceiverBindTakesNoSubmits(t *testing.T) {
	st := play(t, vendortest.Config{}, func(c *Config) { c.Vendor.BindType = "receiver" })
	if err := st.smsc.WaitBinds(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	if _, no := st.submit("text"); no.OnWire() || no.Reason != message.ReasonVendorUnreachable {
		t.Errorf("%+v", no)
	}
	if err := st.smsc.Deliver(context.Background(), deliver("hello", 0, nil)); err != nil {
		t.Error(err)
	}
	if m := <-st.sink.inbound; m.Text != "hello" {
		t.Errorf("%+v", m)
	}
}

func TestStopFinishesOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Delay: 3 * time.Second})}, func(c *Config) { c.Vendor.Window = 2 })
		st.ready()
		results := make(chan *message.SubmitError, 4)
		for range 4 {
			go func() {
				_, no := st.submit("text")
				results <- no
			}()
		}
		synctest.Wait()
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { st.link.Stop(context.Background()) })
		wg.Go(func() { st.link.Stop(context.Background()) })
		wg.Wait()
		if time.Since(start) != 3*time.Second {
			t.Errorf("stop took %v", time.Since(start))
		}
		taken, refused := 0, 0
		for range 4 {
			switch no := <-results; {
			case no == nil:
				taken++
			case !no.OnWire() && no.Retryable():
				refused++
			default:
				t.Errorf("%+v", no)
			}
		}
		if taken != 2 || refused != 2 {
			t.Errorf("%d taken, %d refused", taken, refused)
		}
		if err := st.smsc.WaitGone(t.Context()); err != nil {
			t.Error(err)
		}
		if err := st.link.WaitReady(context.Background()); err == nil {
			t.Error("ready after stop")
		}
		if _, no := st.submit("text"); no.OnWire() {
			t.Error("submitted after stop")
		}
		if got := st.link.Status(); got.Bind != "disconnected" || got.Binds != 0 {
			t.Errorf("status %+v", got)
		}
		st.link.Start(context.Background()) // harmless
	})
}

func TestStopGivesUp(t *testing.T) {
	st := play(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Silence: true})}, nil)
	st.ready()
	result := make(chan *message.SubmitError, 1)
	go func() {
		_, no := st.submit("text")
		result <- no
	}()
	if _, err := st.smsc.WaitSubmits(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	st.link.Stop(ctx)
	if no := <-result; !no.Ambiguous() {
		t.Errorf("%+v", no)
	}
}

// A stop that waits is cut short by one that does not: the leases of its binds have
// ended meanwhile.
func TestStopIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{OnSubmit: answerWith(vendortest.Answer{Silence: true})}, nil)
		st.ready()
		result := make(chan *message.SubmitError, 1)
		go func() {
			_, no := st.submit("text")
			result <- no
		}()
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() { st.link.Stop(context.Background()) })
		synctest.Wait()
		now, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		st.link.Stop(now)
		if took := time.Since(began); took != 0 || st.link.Status().Binds != 0 {
			t.Errorf("%d binds after %v", st.link.Status().Binds, took)
		}
		if no := <-result; !no.Ambiguous() {
			t.Errorf("%+v", no)
		}
		wg.Wait()
	})
}

// What the socket did not take before the loss is safe to send elsewhere.
func TestLossBeforeTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{Session: smpp.Config{Inbound: 1}, OnSubmit: answerWith(vendortest.Answer{Delay: time.Hour})},
			func(c *Config) { c.Vendor.EnquireLink = time.Hour })
		st.ready()
		results := make([]*message.SubmitError, 4)
		var wg sync.WaitGroup
		for i := range results { // the vendor reads two and then no more
			wg.Go(func() { _, results[i] = st.submit("text") })
			synctest.Wait()
		}
		st.smsc.Disconnect()
		wg.Wait()
		for i, no := range results {
			want := verdict{message.ReasonSubmitInDoubt, true, true, false, 0}
			if i >= 2 {
				want = verdict{message.ReasonVendorUnreachable, false, false, true, unboundDelay}
			}
			if verdictOf(no) != want {
				t.Errorf("%d: %+v", i, no)
			}
		}
	})
}

func TestStopEndsCommitsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := playInMemory(t, vendortest.Config{}, func(c *Config) {
			c.OnReceipt = func(ctx context.Context, _ message.Receipt) error {
				<-ctx.Done()
				return ctx.Err()
			}
		})
		st.ready()
		go func() { _ = st.smsc.Deliver(context.Background(), deliver("id:1 stat:DELIVRD", 4, nil)) }()
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		st.link.Stop(ctx)
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("stop took %v", got)
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	link, err := New(Config{Vendor: row(), OnReceipt: newSink().receipt, OnInbound: newSink().message})
	if err != nil {
		t.Fatal(err)
	}
	link.Stop(context.Background())
	link.Start(context.Background())
	link.Stop(context.Background())
}

// authority makes a certificate for 127.0.0.1 and vendor.test, which is its own
// root.
func authority(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vendor.test"}, DNSNames: []string{"vendor.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestTLS(t *testing.T) {
	cert, root := authority(t)
	server := vendortest.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	st := play(t, server, func(c *Config) {
		c.Vendor.UseTLS, c.Vendor.TLSCA, c.Vendor.ServerName = true, root, "vendor.test"
	})
	st.ready()
	if _, no := st.submit("text"); no != nil {
		t.Error(no)
	}
	st.link.Stop(context.Background())
}

func TestTLSWithAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, _ := authority(t)
		_, other := authority(t)
		st := playInMemory(t, vendortest.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}, func(c *Config) {
			c.Vendor.UseTLS, c.Vendor.TLSCA, c.Vendor.ServerName = true, other, "vendor.test"
		})
		<-time.After(smpp.DefaultDialTimeout) // a pipe has no room for the alert: the deadline ends the handshake
		if got := st.link.Status(); !strings.Contains(got.LastError, "certificate") || got.Binds != 0 {
			t.Errorf("status %+v", got)
		}
	})
}

func TestNewChecksTheRow(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"bind type": func(c *Config) { c.Vendor.BindType = "both" },
		"tls_ca":    func(c *Config) { c.Vendor.UseTLS, c.Vendor.TLSCA = true, "no pem" },
		"nowhere":   func(c *Config) { c.OnInbound = nil },
	} {
		cfg := Config{Vendor: row(), OnReceipt: newSink().receipt, OnInbound: newSink().message}
		edit(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
