// Package httpvendor is the link to a vendor that takes messages by an HTTP
// request and reports by webhooks. What differs between such vendors is a Spec:
// rows (where its API is, what its codes and statuses mean) and two functions
// (the request for a message, the meaning of a webhook). All else is here, once:
// the window, the rate, time-outs, pauses, the circuit, caps and signatures.
//
// The rule not to break: a request that was written and not answered with a
// clear yes or no is ambiguous. No vendor of this kind has a key that makes a
// repetition harmless, so nothing is sent again from here.
package httpvendor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/vendors"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// Spec describes a kind of vendor.
type Spec struct {
	// Kind is its provider_type.
	Kind string
	// BaseURL is where its API is, without a slash at the end; a vendor's row may
	// name another place.
	BaseURL string
	// Auth is how a request shows who sends it.
	Auth Auth
	// Probe is the path of something that only the account can read: whether host,
	// credentials and ids are right, without sending anything. Placeholders as in
	// Request.Path.
	Probe string
	// ID and Code say where the vendor's id for a message and the code of a refusal
	// stand in its JSON: names and indices joined by dots, as "data.id".
	ID, Code string
	// Codes says what the vendor's codes mean, in answers below 500 and in receipts.
	Codes map[string]Row
	// Statuses says what an HTTP status means when the code is in no row, where that
	// is something else than usual.
	Statuses map[int]Row
	// States are the vendor's words for where a message is. A word that is not among
	// them is kept as ReceiptUnknown and changes nothing.
	States map[string]message.ReceiptState
	// MaxText is how many characters a message may have; 0: any number.
	MaxText int
	// Signature checks that a webhook is the vendor's. PasswordSigns: the password is
	// the key of a vendor without signing keys whose user name is its account.
	Signature     Signature
	PasswordSigns bool
	// FileHosts are where the files of its messages lie beside the API's own host, each
	// with all names below it. FilesNeedAuth: the API's host gives them to those alone
	// who show user name and password.
	FileHosts     []string
	FilesNeedAuth bool
	// AnswerType and Answer are what a webhook that was taken is answered with.
	AnswerType, Answer string

	// Submit makes the request for a message. Its status is to be reported at
	// callback.
	Submit func(v *snapshot.Vendor, s message.Submission, callback string) (Request, error)
	// Read says what a webhook tells, whose signature is checked already. Whose and
	// since when it is, its reason and attempt are filled in by the caller; a receipt
	// has its state by word, see Receipt.
	Read func(v *snapshot.Vendor, r vendors.HookRequest) (Events, error)
}

// Request is what is posted to the vendor: either a form or JSON.
type Request struct {
	Path string // below the base; {account} and {profile} stand for the vendor's ids
	Form url.Values
	JSON any
}

// Events is what a webhook tells. Both nil: nothing that matters here.
type Events struct {
	Receipts []Receipt
	Inbound  []message.InboundMessage
}

// Receipt is what a vendor says of a message.
type Receipt struct {
	ID     string // the vendor's id for it
	Word   string // the vendor's word for where it is, see Spec.States
	Code   string // why not; empty: nothing is wrong
	From   string // of the message, as written
	To     string
	DoneAt time.Time // zero: it did not say
}

// Auth is how a request is authenticated.
type Auth int

// The ways.
const (
	Basic  Auth = iota // user name and password (RFC 7617)
	Bearer             // the password as a token (RFC 6750)
)

// Row is what a code or a status means.
type Row struct {
	Reason message.Reason
	// Again: the vendor did not take the message and may take it later, After from
	// now; 0: later each time.
	Again bool
	After time.Duration
	// Pause: it concerns the whole link, and nothing goes out until the vendor's
	// Retry-After has passed.
	Pause bool
	// Shut: nothing can go out until somebody sets right what is wrong with the
	// account; the link looks every now and then whether it is.
	Shut bool
	// Fault: it is the vendor's or the account's trouble, not the message's.
	Fault bool
	// Unclear: the vendor may have taken the message.
	Unclear bool
}

// No is a refusal for good.
func No(r message.Reason) Row { return Row{Reason: r} }

// Fault is a refusal for good for which the message can do nothing.
func Fault(r message.Reason) Row { return Row{Reason: r, Fault: true} }

// Later is a refusal for now; after 0: the gap grows with each try.
func Later(r message.Reason, after time.Duration) Row {
	return Row{Reason: r, Again: true, After: after}
}

// Throttled is too much at a time.
func Throttled() Row {
	return Row{Reason: message.ReasonVendorThrottled, Again: true, Pause: true}
}

// Shut is an account that cannot send anything.
func Shut() Row {
	return Row{Reason: message.ReasonVendorUnreachable, Again: true, Shut: true, Fault: true}
}

// NotTaken is trouble of the vendor's before it has taken the message.
func NotTaken() Row {
	return Row{Reason: message.ReasonVendorUnreachable, Again: true, Fault: true}
}

// Unclear is trouble of the vendor's after which nobody knows.
func Unclear() Row {
	return Row{Reason: message.ReasonSubmitInDoubt, Unclear: true, Fault: true}
}

// usual is what an HTTP status means (RFC 9110 §15) where a vendor's rows say
// nothing else. Redirects are not followed: whoever stands there would be given the
// credentials and the text.
func usual(status int) Row {
	switch status {
	case 301, 307, 308, 401:
		return Shut()
	case 402:
		return Fault(message.ReasonVendorRejected)
	case 408:
		return Unclear()
	case 413:
		return No(message.ReasonMessageTooLong)
	case 425, 429:
		return Throttled()
	}
	if status >= 400 && status < 500 {
		return No(message.ReasonVendorRejected)
	}
	return Unclear()
}

// Config is what the links of all vendors of a kind share.
type Config struct {
	// PublicURL is where vendors reach our webhooks, without a slash at the end.
	PublicURL string
	// Log gets what somebody may want to read; nil: nothing is logged.
	Log *slog.Logger
	// Retry is as in vendors.GateConfig.
	Retry time.Duration
	// Now is the clock by which messages expire; nil: time.Now.
	Now func() time.Time
}

// Kind is the kind of vendor that spec describes.
func Kind(spec Spec, cfg Config) vendors.Kind {
	return vendors.Kind{
		New: func(v *snapshot.Vendor) (vendors.Link, error) {
			l, err := New(spec, cfg, v)
			if err != nil {
				return nil, err
			}
			return l, nil
		},
		Test: func(ctx context.Context, v *snapshot.Vendor) (string, error) {
			a, err := newAPI(spec, v)
			if err != nil {
				return "", err
			}
			defer a.close()
			return a.probe(ctx)
		},
		Hook:  func(v *snapshot.Vendor) (vendors.Hook, error) { return newHook(spec, v) },
		Files: func(v *snapshot.Vendor) ([]string, *fetch.Credentials) { return files(spec, v) },
	}
}

// files are the hosts of the API and of the vendor's storage. The credentials are for the
// API alone.
func files(spec Spec, v *snapshot.Vendor) ([]string, *fetch.Credentials) {
	at, err := baseURL(spec, v)
	if err != nil {
		return nil, nil
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, nil
	}
	hosts := append([]string{u.Hostname()}, spec.FileHosts...)
	if !spec.FilesNeedAuth {
		return hosts, nil
	}
	return hosts, &fetch.Credentials{Hosts: hosts[:1], Username: v.Username, Password: secret.Conceal(v.Password)}
}

// baseURL checks where a vendor's API is: over TLS, unless it is on this machine.
func baseURL(spec Spec, v *snapshot.Vendor) (string, error) {
	written := spec.BaseURL
	if v.BaseURL != "" {
		written = v.BaseURL
	}
	u, err := url.Parse(strings.TrimRight(written, "/"))
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("base_url is not a URL of scheme, host and path")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u.String(), nil
	}
	return "", errors.New("base_url must begin with https://")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// account is the vendor's id for the account: its own field, or the user name.
func account(v *snapshot.Vendor) string {
	if v.AccountSID != "" {
		return v.AccountSID
	}
	return v.Username
}

// fill writes the vendor's ids into a path. A path that needs one which the row does
// not have is an error that names the field.
func fill(path string, v *snapshot.Vendor) (string, error) {
	for name, value := range map[string]string{"{account}": account(v), "{profile}": v.MessagingProfileID} {
		if !strings.Contains(path, name) {
			continue
		}
		if value == "" {
			field := "account_sid"
			if name == "{profile}" {
				field = "messaging_profile_id"
			}
			return "", fmt.Errorf("%s is needed", field)
		}
		path = strings.ReplaceAll(path, name, url.PathEscape(value))
	}
	return path, nil
}
