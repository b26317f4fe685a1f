package httpvendor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/edges/vendors/httpvendor"
	"github.com/postrider/postrider/edges/vendors/twilio"
	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

const (
	sid   = "AC00112233445566778899aabbccddeeff"
	token = "token-of-the-account"
)

// bundle is a link to a double of Twilio.
type bundle struct {
	t    *testing.T
	far  *vendortest.HTTPVendor
	row  *snapshot.Vendor
	link *httpvendor.Link
}

// setup starts a double and a link with a full share; change alters the row first.
func setup(t *testing.T, change func(*snapshot.Vendor)) *bundle {
	t.Helper()
	far, err := vendortest.NewTwilio(vendortest.HTTPConfig{User: sid, Password: token, Key: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	b := &bundle{t: t, far: far, row: &snapshot.Vendor{ID: message.NewID(), Name: "twilio-1", Username: sid, Password: token, BaseURL: far.URL(), ResponseTimeout: time.Minute}}
	if change != nil {
		change(b.row)
	}
	if b.link, err = httpvendor.New(twilio.Spec(), httpvendor.Config{PublicURL: "https://gw.example.com", Retry: time.Millisecond}, b.row); err != nil {
		t.Fatal(err)
	}
	b.link.Start(context.Background())
	b.link.SetShare(vendors.Share{Binds: 1})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.link.Stop(ctx)
	})
	return b
}

func one() message.Submission {
	return message.Submission{MessageID: message.NewID(), Part: 1, Parts: 1, Attempt: 1, Whole: true, From: "+12025550143", To: "+13105550117",
		Encoding: message.EncodingGSM7, Text: "words", ExpiresAt: time.Now().Add(time.Hour)}
}

// refused is a submit that must fail.
func (b *bundle) refused(s message.Submission) *message.SubmitError {
	b.t.Helper()
	_, err := b.link.Submit(b.t.Context(), s)
	var no *message.SubmitError
	if !errors.As(err, &no) {
		b.t.Fatalf("Submit: %v", err)
	}
	return no
}

func (b *bundle) accepted() {
	b.t.Helper()
	if _, err := b.link.Submit(b.t.Context(), one()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) ready() {
	b.t.Helper()
	if err := b.link.WaitReady(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// say answers one submission as it stands.
func say(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// What an answer means: whether it may have been sent, may go here again, and whose
// trouble it is.
func TestAnswers(t *testing.T) {
	type meaning struct {
		reason                   message.Reason
		code                     string
		ambiguous, again, faulty bool
	}
	doubt := message.ReasonSubmitInDoubt
	away := message.ReasonVendorUnreachable
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   meaning
	}{
		"known code":            {say(400, `{"code":21610}`), meaning{reason: message.ReasonOptedOut, code: "21610"}},
		"code as a string":      {say(400, `{"code":"21610"}`), meaning{reason: message.ReasonOptedOut, code: "21610"}},
		"code of the row's map": {say(400, `{"code":21999}`), meaning{reason: message.ReasonFiltered, code: "21999"}},
		"unknown code":          {say(400, `{"code":29999}`), meaning{reason: message.ReasonVendorRejected, code: "29999"}},
		"no code":               {say(405, `no`), meaning{reason: message.ReasonVendorRejected, code: "HTTP 405"}},
		"too large":             {say(413, ``), meaning{reason: message.ReasonMessageTooLong, code: "HTTP 413"}},
		"gateway timeout":       {say(504, `{"code":20500}`), meaning{doubt, "20500", true, false, true}},
		"server error":          {say(500, `{"code":21610}`), meaning{doubt, "21610", true, false, true}},
		"unavailable":           {say(503, ``), meaning{away, "HTTP 503", false, true, true}},
		"request timeout":       {say(408, ``), meaning{doubt, "HTTP 408", true, false, true}},
		"yes to nothing":        {say(201, `{"status":"queued"}`), meaning{doubt, "HTTP 201", true, false, true}},
		"yes in another tongue": {say(200, `<html>`), meaning{doubt, "HTTP 200", true, false, true}},
		"yes without end":       {say(201, `{"sid":"SM1","x":"`+strings.Repeat("x", 1<<19)+`"}`), meaning{doubt, "HTTP 201", true, false, true}},
		"yes that breaks off":   {say(201, `{"sid":"SM1"`, "Content-Length", "100"), meaning{doubt, "HTTP 201", true, false, true}},
		"see other":             {say(303, ``, "Location", "/"), meaning{doubt, "HTTP 303", true, false, true}},
		"wrong credentials":     {say(401, `{"code":20003}`), meaning{away, "20003", false, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, func(v *snapshot.Vendor) { v.CodeMap = map[string]message.Reason{"21999": message.ReasonFiltered} })
			b.far.Do(c.answer)
			no := b.refused(one())
			got := meaning{no.Reason, no.VendorCode, no.Ambiguous(), no.Retryable(), b.link.Status().Errors == 1}
			if got != c.want || !no.OnWire() {
				t.Errorf("%+v, want %+v: %v", got, c.want, no)
			}
			if no.Again != (no.RetryAfter() > 0) {
				t.Errorf("again %v after %v", no.Again, no.RetryAfter())
			}
		})
	}
}

// An answer that comes drop by drop is none when its time is over.
func TestSlowBody(t *testing.T) {
	b := setup(t, func(v *snapshot.Vendor) { v.ResponseTimeout = 200 * time.Millisecond })
	b.far.Do(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"sid":"SM1",`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if no := b.refused(one()); !no.Ambiguous() {
		t.Errorf("%v", no)
	}
}

// A pause is the vendor's, in seconds or as a date, but not for ever.
func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		header      string
		least, most time.Duration
	}{
		"seconds":  {"7", 6 * time.Second, 7 * time.Second},
		"date":     {time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat), 15 * time.Second, 20 * time.Second},
		"for ever": {"100000", 299 * time.Second, 300 * time.Second},
		"nothing":  {"", 900 * time.Millisecond, time.Second},
		"nonsense": {"-3", 900 * time.Millisecond, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, nil)
			b.far.Do(say(429, `{"code":20429}`, "Retry-After", c.header))
			no := b.refused(one())
			if no.Reason != message.ReasonVendorThrottled || no.RetryAfter() < c.least || no.RetryAfter() > c.most || b.link.Room() != 0 {
				t.Errorf("after %v, room %d: %v", no.RetryAfter(), b.link.Room(), no)
			}
			if b.link.Status().Errors != 0 {
				t.Error("too much of ours is the vendor's trouble")
			}
		})
	}
}

// Nobody but the vendor is given the credentials and the text.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	b := setup(t, nil)
	b.far.SetSick(http.StatusInternalServerError)
	b.far.Do(say(http.StatusTemporaryRedirect, "", "Location", elsewhere.URL))
	if no := b.refused(one()); no.Ambiguous() || !no.Again {
		t.Errorf("%v", no)
	}
}

// Five failures in a row open the circuit: nothing leaves any more until the account
// can be read, and then one message at a time until one has got through.
func TestCircuit(t *testing.T) {
	b := setup(t, nil)
	b.far.SetSick(http.StatusInternalServerError)
	for i := range 5 {
		b.far.Do(say(500, ""))
		if room := b.link.Room(); room != 10 {
			t.Fatalf("room %d after %d failures", room, i)
		}
		b.refused(one())
	}
	if no := b.refused(one()); no.OnWire() || !no.Again || no.Reason != message.ReasonVendorUnreachable {
		t.Errorf("with an open circuit: %v", no)
	}
	st := b.link.Status()
	if b.link.Room() != 0 || st.Bind != "disconnected" || st.Binds != 0 || st.LastError == "" {
		t.Errorf("room %d, status %+v", b.link.Room(), st)
	}
	b.far.SetSick(0)
	b.ready()
	if st, room := b.link.Status(), b.link.Room(); st.Bind != "connecting" || room != 1 {
		t.Errorf("before a message got through: room %d, status %+v", room, st)
	}
	b.far.SetSick(500)
	b.far.Do(say(500, "")) // one more is enough now
	b.refused(one())
	if no := b.refused(one()); no.OnWire() {
		t.Errorf("with an open circuit: %v", no)
	}
	b.far.SetSick(0)
	b.ready()
	b.accepted()
	if st, room := b.link.Status(), b.link.Room(); st.Bind != "connected" || room != 10 || st.LastError != "" {
		t.Errorf("after a message got through: room %d, status %+v", room, st)
	}
	if n := len(b.far.Came()); n != 7 {
		t.Errorf("%d submissions came", n)
	}
}

// Wrong credentials are no message's fault: all wait until they are right.
func TestWrongCredentials(t *testing.T) {
	b := setup(t, nil)
	b.far.Do(say(401, `{"code":20003}`))
	b.far.SetSick(401)
	if no := b.refused(one()); !no.Again || no.Ambiguous() || strings.Contains(no.Error(), token) {
		t.Errorf("%v", no)
	}
	if b.link.Room() != 0 {
		t.Error("there is room")
	}
	b.far.SetSick(0)
	b.ready()
	b.accepted()
}

// A circuit that opens while it is looked at, and a link that stops with it open.
func TestStopWithOpenCircuit(t *testing.T) {
	b := setup(t, nil)
	b.far.SetSick(500)
	b.far.Do(say(401, ""))
	b.refused(one())
	b.link.Stop(t.Context())
	if st := b.link.Status(); st.Bind != "disconnected" {
		t.Errorf("%+v", st)
	}
}

// Nobody is there: nothing was written, so it may go elsewhere.
func TestNobodyListens(t *testing.T) {
	b := setup(t, nil)
	b.far.Close()
	if no := b.refused(one()); no.OnWire() || !no.Again || no.Reason != message.ReasonVendorUnreachable {
		t.Errorf("%v", no)
	}
}

// A message of many parts uses up the rate of many.
func TestRateCountsParts(t *testing.T) {
	const rate, parts, all = 50, 5, 5
	b := setup(t, nil)
	b.link.SetShare(vendors.Share{Binds: 1, Rate: rate})
	began := time.Now()
	for range all {
		s := one()
		s.Parts = parts
		if _, err := b.link.Submit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	// The parts of a message leave together, and are owed then.
	least := time.Duration((all-1)*parts-rate/20) * time.Second / rate
	if took := b.far.Came()[all-1].At.Sub(began); took < least {
		t.Errorf("%d parts at %d a second came within %v, the least is %v", all*parts, rate, took, least)
	}
}

// What is taken back on its way uses up nothing of the rate.
func TestTakenBack(t *testing.T) {
	b := setup(t, nil)
	b.link.SetShare(vendors.Share{Binds: 1, Rate: 0.001})
	s := one()
	s.Still = func() error { return &message.SubmitError{Reason: message.ReasonOptedOut} }
	for range 3 {
		if no := b.refused(s); no.Reason != message.ReasonOptedOut {
			t.Fatal(no)
		}
	}
	b.accepted()
}

// Whoever will be gone before its turn is told at once, and a share that comes and goes
// forgives nothing.
func TestNoTurnInTime(t *testing.T) {
	b := setup(t, nil)
	slow := vendors.Share{Binds: 1, Rate: 0.001}
	b.link.SetShare(slow)
	b.accepted()
	for range 3 {
		b.link.SetShare(vendors.Share{})
		b.link.SetShare(slow)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		_, err := b.link.Submit(ctx, one())
		cancel()
		var no *message.SubmitError
		if !errors.As(err, &no) || no.Reason != message.ReasonVendorThrottled || no.OnWire() || !no.Again || no.RetryAfter() <= 0 {
			t.Errorf("%v", err)
		}
	}
	if n := len(b.far.Came()); n != 1 {
		t.Errorf("%d submissions came", n)
	}
}

// A rate that is raised is that of what is owed already.
func TestRateIsRaised(t *testing.T) {
	b := setup(t, nil)
	b.link.SetShare(vendors.Share{Binds: 1, Rate: 0.001})
	b.accepted()
	b.link.SetShare(vendors.Share{Binds: 1, Rate: 100})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := b.link.Submit(ctx, one()); err != nil {
		t.Error(err)
	}
}

// A yes that was under way when the circuit opened does not hide why it did.
func TestLateYes(t *testing.T) {
	b := setup(t, nil)
	hold, done := make(chan struct{}), make(chan error, 1)
	b.far.Answer(vendortest.Reply{Hold: hold})
	go func() {
		_, err := b.link.Submit(context.Background(), one())
		done <- err
	}()
	if _, err := b.far.WaitCame(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b.far.SetSick(401)
	b.far.Do(say(401, ""))
	b.refused(one())
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st := b.link.Status(); st.Bind != "disconnected" || st.LastError == "" {
		t.Errorf("%+v", st)
	}
}

// What cannot go this way is said before anything is written.
func TestRefusedHere(t *testing.T) {
	b := setup(t, nil)
	for want, change := range map[message.Reason]func(*message.Submission){
		message.ReasonEncodingMismatch: func(s *message.Submission) { s.Header = []byte{5, 4, 0, 0, 0, 1} },
		message.ReasonMessageTooLong:   func(s *message.Submission) { s.Text = strings.Repeat("é", 1601) },
		message.ReasonExpired:          func(s *message.Submission) { s.ExpiresAt = time.Now() },
		message.ReasonInternal:         func(s *message.Submission) { s.Whole, s.Parts = false, 2 },
	} {
		s := one()
		change(&s)
		if no := b.refused(s); no.Reason != want || no.OnWire() || no.Again {
			t.Errorf("%v, want %s", no, want)
		}
	}
	if n := len(b.far.Came()); n != 0 {
		t.Errorf("%d submissions came", n)
	}
}

// A machine whose clock is wrong does not end a message too early.
func TestExpiryByTheGivenClock(t *testing.T) {
	b := setup(t, nil)
	ahead, err := httpvendor.New(twilio.Spec(), httpvendor.Config{PublicURL: "https://gw.example.com",
		Now: func() time.Time { return time.Now().Add(10 * time.Minute) }}, b.row)
	if err != nil {
		t.Fatal(err)
	}
	s := one()
	s.ExpiresAt = time.Now().Add(5 * time.Minute)
	var no *message.SubmitError
	if _, err := ahead.Submit(t.Context(), s); !errors.As(err, &no) || no.Reason != message.ReasonExpired {
		t.Errorf("by the given clock: %v, want %s", err, message.ReasonExpired)
	}
}

func TestRows(t *testing.T) {
	good := snapshot.Vendor{ID: message.NewID(), Name: "twilio-1", Username: sid, Password: token}
	for field, change := range map[string]func(*snapshot.Vendor){
		"":         func(*snapshot.Vendor) {},
		"base_url": func(v *snapshot.Vendor) { v.BaseURL = "http://api.twilio.com" },
		"base_url is not a URL": func(v *snapshot.Vendor) {
			v.BaseURL = "https://user:" + token + "@api.twilio.com"
		},
		"username": func(v *snapshot.Vendor) { v.Username, v.AccountSID = "", sid },
		"password": func(v *snapshot.Vendor) { v.Password = "" },
		"tls_ca":   func(v *snapshot.Vendor) { v.TLSCA = "none" },
	} {
		v := good
		change(&v)
		link, err := twilio.Kind(httpvendor.Config{PublicURL: "https://gw.example.com"}).New(&v)
		switch {
		case field == "" && err != nil:
			t.Error(err)
		case field == "":
			link.Stop(t.Context())
		case err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), token):
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := twilio.Kind(httpvendor.Config{}).New(&good); err == nil || !strings.Contains(err.Error(), "PUBLIC_URL") {
		t.Errorf("without a public URL: %v", err)
	}
}

// The certificate is checked, always.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
		t.Fatal("no certificate")
	}
	far, err := vendortest.NewTwilio(vendortest.HTTPConfig{User: sid, Password: token, TLS: &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for name, c := range map[string]struct {
		ca, server string
		ok         bool
	}{"unknown authority": {"", "", false}, "another name": {ca, "api.example.org", false}, "right": {ca, "example.com", true}} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, func(v *snapshot.Vendor) { v.BaseURL, v.TLSCA, v.ServerName = far.URL(), c.ca, c.server })
			_, err := b.link.Submit(t.Context(), one())
			var no *message.SubmitError
			if c.ok != (err == nil) || errors.As(err, &no) && no.OnWire() {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTest(t *testing.T) {
	b := setup(t, nil)
	kind := twilio.Kind(httpvendor.Config{})
	if detail, err := kind.Test(t.Context(), b.row); err != nil || detail == "" || b.far.Probes() != 1 {
		t.Errorf("%q, %v, %d reads", detail, err, b.far.Probes())
	}
	wrong := *b.row
	wrong.Password = "another secret"
	if detail, err := kind.Test(t.Context(), &wrong); err == nil || strings.Contains(err.Error(), wrong.Password) {
		t.Errorf("wrong credentials: %q, %v", detail, err)
	}
	b.far.SetSick(500)
	if _, err := kind.Test(t.Context(), b.row); err == nil {
		t.Error("a sick vendor is well")
	}
	if n := len(b.far.Came()); n != 0 {
		t.Errorf("%d messages were sent by tests", n)
	}
}

// Several accounts of one kind have nothing to do with each other.
func TestSeveralAccounts(t *testing.T) {
	a, b := setup(t, nil), setup(t, nil)
	a.far.Do(say(401, ""))
	a.far.SetSick(401)
	a.refused(one())
	b.accepted()
	if len(a.far.Came()) != 1 || len(b.far.Came()) != 1 || a.link.Room() != 0 {
		t.Error("they are not apart")
	}
}

func ExampleSpec() {
	spec := twilio.Spec()
	fmt.Println(spec.Kind, spec.Codes["21610"].Reason)
	// Output: twilio opted_out
}
