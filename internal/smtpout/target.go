package smtpout

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/secret"
)

// TLSMode is whether a connection is encrypted. The zero TLSMode is TLSOpportunistic.
type TLSMode int

// The modes. Whenever TLS is used the certificate must be right, also where it is
// opportunistic: a wrong one is an error and no reason to go on in the clear.
const (
	TLSOpportunistic TLSMode = iota // STARTTLS where the peer offers it
	TLSNever
	TLSRequired // STARTTLS, or nothing is sent
	TLSImplicit // TLS from the first octet
)

var tlsModes = []string{"opportunistic", "never", "required", "implicit"}

// String is the mode's name.
func (m TLSMode) String() string {
	if m < 0 || int(m) >= len(tlsModes) {
		return "unknown"
	}
	return tlsModes[m]
}

// Pin is the SHA-256 of a public key, as it stands in a certificate (RFC 7469 §2.4:
// SubjectPublicKeyInfo). PinOf makes one.
type Pin [sha256.Size]byte

// PinOf is the pin of a certificate's key.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// The ports of RFC 5321 §4.5.4.2 and RFC 8314 §7.3.
const (
	portSMTP  = 25
	portSMTPS = 465
)

// Target is a peer that takes mails. Treat it as a value: a Sender compares Targets of
// one Name, and a change of any field ends the connections that were made by the old one.
type Target struct {
	// Name is the peer's, for logs, metrics and errors: not empty, and one per peer.
	Name string
	// Host is a domain name or an IP address. With MX it is a domain.
	Host string
	// Port is from 1 to 65535. 0: 25, or 465 with TLSImplicit.
	Port int
	// MX looks up who takes mails for Host, and goes by their preference; the host itself
	// where there is no record (RFC 5321 §5.1).
	MX  bool
	TLS TLSMode
	// ServerName is the name in the peer's certificate. Empty: the name of the host that
	// is connected to.
	ServerName string
	// Pins are the keys that the peer may have. Any one fits; then neither the
	// certificate's name nor its authority counts. Empty: the certificate is verified.
	Pins []Pin
	// Insecure takes any certificate. Pins go before it.
	Insecure bool
	// CA are the authorities that the peer's certificate may come from, in PEM. Empty:
	// those of Config.Roots.
	CA string
	// Username and Password log in. Empty: nobody logs in. They are never sent without
	// TLS.
	Username string
	Password secret.String
	// EHLO is our name, as the peer may look it up: a domain, or an address in brackets
	// (RFC 5321 §4.1.1.1).
	EHLO   string
	Limits Limits
}

// Limits bound the use of a peer. A zero field means its default.
type Limits struct {
	// Connections is how many there are at once, open or being opened, from this
	// Sender. Default 4.
	Connections int
	// PerConnection is how many mails a connection carries before it is closed.
	// Default 100.
	PerConnection int
	// Idle is how long a connection is kept without a mail. Default 30 s, below the five
	// minutes that peers should wait (RFC 5321 §4.5.3.2.7) and the minute that some do.
	Idle time.Duration
	// Connect bounds the connection to one host, TLS handshakes each again. Default 30 s.
	Connect time.Duration
	// Command bounds the peer's greeting and its answer to each command. Default 5 min
	// (RFC 5321 §4.5.3.2, which asks for two to five).
	Command time.Duration
	// Block bounds each write of the mail's content, of 16 KiB at most. Default 3 min
	// (RFC 5321 §4.5.3.2.5). The whole content has Command and the time of its Size at
	// 4 KiB a second, so that no peer holds a mail by a trickle.
	Block time.Duration
	// Final bounds the answer to the final dot. Default 10 min (RFC 5321 §4.5.3.2.6):
	// who waits less makes doubles.
	Final time.Duration
}

// The defaults of Limits.
const (
	DefaultConnections   = 4
	DefaultPerConnection = 100
	DefaultIdle          = 30 * time.Second
	DefaultConnect       = 30 * time.Second
	DefaultCommand       = 5 * time.Minute
	DefaultBlock         = 3 * time.Minute
	DefaultFinal         = 10 * time.Minute
)

// minRate is the slowest that a content may go, in octets per second: half of a modem
// line, at which 8 MiB take half an hour.
const minRate = 4 << 10

func (l Limits) orDefault() Limits {
	l.Connections = positive(l.Connections, DefaultConnections)
	l.PerConnection = positive(l.PerConnection, DefaultPerConnection)
	l.Idle = positive(l.Idle, DefaultIdle)
	l.Connect = positive(l.Connect, DefaultConnect)
	l.Command = positive(l.Command, DefaultCommand)
	l.Block = positive(l.Block, DefaultBlock)
	l.Final = positive(l.Final, DefaultFinal)
	return l
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Check reports whether the target can be used; the error names the field and shows no
// password.
func (t *Target) Check() error {
	switch {
	case t.Name == "":
		return errors.New("name: empty; give each peer its own")
	case !validHost(t.Host):
		return errors.New("host: want a domain name or an IP address, without a port")
	case t.MX && net.ParseIP(t.Host) != nil:
		return errors.New("mx: an IP address has no mail exchangers; give a domain as host, or leave mx out")
	case t.Port < 0 || t.Port > 65535:
		return errors.New("port: want 1 to 65535, or 0 for the usual one")
	case t.TLS < TLSOpportunistic || t.TLS > TLSImplicit:
		return errors.New("tls: want opportunistic, never, required or implicit")
	case !validEHLO(t.EHLO):
		return errors.New("ehlo: want our own domain name, or our address in brackets")
	case t.Username == "" && !t.Password.Empty():
		return errors.New("username: empty, with a password")
	case t.Username != "" && t.Password.Empty():
		return errors.New("password: empty, with a user name")
	case t.Username != "" && t.TLS == TLSNever:
		return errors.New("tls: a password is not sent without it; want required or implicit")
	case t.CA != "" && t.roots(nil) == nil:
		return errors.New("ca: holds no PEM certificate")
	case strings.Contains(t.Username+t.Password.Reveal(), "\x00"):
		return errors.New("username and password: no NUL can stand in them")
	}
	return nil
}

// validHost keeps what could end a command, a header or a log line out.
func validHost(s string) bool {
	return s != "" && len(s) <= 255 && (net.ParseIP(s) != nil || strings.Trim(s, hostOctets) == "")
}

const hostOctets = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

func validEHLO(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && net.ParseIP(strings.TrimPrefix(inner, "IPv6:")) != nil
	}
	return s != "" && len(s) <= 255 && strings.Trim(s, hostOctets) == ""
}

// same reports whether connections of t serve u, too.
func (t *Target) same(u *Target) bool {
	return t.Name == u.Name && t.Host == u.Host && t.Port == u.Port && t.MX == u.MX && t.TLS == u.TLS &&
		t.ServerName == u.ServerName && slices.Equal(t.Pins, u.Pins) && t.Insecure == u.Insecure && t.CA == u.CA &&
		t.Username == u.Username && t.Password.Equal(u.Password) && t.EHLO == u.EHLO && t.Limits == u.Limits
}

// roots are the authorities of CA, nil when there is none in it; otherwise are those of a
// target without CA.
func (t *Target) roots(otherwise *x509.CertPool) *x509.CertPool {
	if t.CA == "" {
		return otherwise
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(t.CA)) {
		return nil
	}
	return pool
}

func (t *Target) port() string {
	switch {
	case t.Port != 0:
		return strconv.Itoa(t.Port)
	case t.TLS == TLSImplicit:
		return strconv.Itoa(portSMTPS)
	}
	return strconv.Itoa(portSMTP)
}

// tlsConfig is the configuration for a host. TLS 1.2 is the least (RFC 8996).
func (t *Target) tlsConfig(host string, roots *x509.CertPool) *tls.Config {
	c := &tls.Config{ServerName: t.ServerName, RootCAs: roots, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = host
	}
	switch {
	case len(t.Pins) > 0:
		pins := slices.Clone(t.Pins)
		c.InsecureSkipVerify = true // VerifyConnection verifies, also on resumption
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 {
				got := PinOf(s.PeerCertificates[0])
				if slices.ContainsFunc(pins, func(p Pin) bool { return bytes.Equal(p[:], got[:]) }) {
					return nil
				}
			}
			return errPin
		}
	case t.Insecure:
		c.InsecureSkipVerify = true
	}
	return c
}

var errPin = fmt.Errorf("the peer's key is none of those that are pinned: %w", errCertificate)

// clone keeps the caller from changing what connections are compared with.
func (t *Target) clone() Target {
	u := *t
	u.Pins = slices.Clone(t.Pins)
	return u
}
