package smtpout

import (
	"crypto/tls"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
)

func login(password string) func(*Target) {
	return func(t *Target) { t.Username, t.Password = "gw", secret.Conceal(password) }
}

func mode(m TLSMode) func(*Target) { return func(t *Target) { t.TLS = m } }

func trusting(id identity) func(*Config) { return func(c *Config) { c.Roots = id.roots } }

// secured tells of each mail whether it came over TLS.
func secured(script func(*talk), told chan<- bool) func(*talk) {
	return func(k *talk) {
		defer func() { told <- k.secure }()
		script(k)
	}
}

func TestTLSModes(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	for _, tt := range []struct {
		name   string
		mode   TLSMode
		script func(*talk)
		secure bool
		stage  Stage // of the error; empty: none
	}{
		{"opportunistic, offered", TLSOpportunistic, serveTLS(nil, id.config, nil), true, ""},
		{"opportunistic, not offered", TLSOpportunistic, serve(nil), false, ""},
		{"opportunistic, offered and not now", TLSOpportunistic, serveTLS(answers{"STARTTLS": "454 4.7.0 not now"}, id.config, nil), false, ""},
		{"opportunistic, offered, then closed", TLSOpportunistic, serveTLS(answers{"STARTTLS": cut}, id.config, nil), false, StageSTARTTLS},
		{"opportunistic, nonsense", TLSOpportunistic, serveTLS(answers{"STARTTLS": "250 fine"}, id.config, nil), false, StageSTARTTLS},
		{"never, offered", TLSNever, serveTLS(nil, id.config, nil), false, ""},
		{"required", TLSRequired, serveTLS(nil, id.config, nil), true, ""},
		{"required, stripped", TLSRequired, serve(nil), false, StageSTARTTLS},
		{"required, not now", TLSRequired, serveTLS(answers{"STARTTLS": "454 4.7.0 not now"}, id.config, nil), false, StageSTARTTLS},
		{"required, an old peer", TLSRequired, serve(answers{"EHLO": "500 what?"}), false, StageSTARTTLS},
		{"implicit", TLSImplicit, func(k *talk) { k.encrypt(id.config); serve(nil)(k) }, true, ""},
		{"implicit, in the clear", TLSImplicit, func(k *talk) { k.say("220 hi"); k.untilGone() }, false, StageTLS},
	} {
		told := make(chan bool, 1)
		p := newPeer(t, secured(tt.script, told))
		s := p.sender(trusting(id))
		_, err := s.Send(t.Context(), target(mode(tt.mode)), mailOf("Hi"))
		s.Close()
		if tt.stage == "" {
			if err != nil || len(p.contents()) != 1 {
				t.Errorf("%s: %v", tt.name, err)
			}
		} else if e := failure(t, err); e.Stage() != tt.stage || !e.Retryable() || e.OnWire() || e.Reason() != message.ReasonVendorUnreachable || p.count("MAIL") != 0 {
			t.Errorf("%s: %v, heard %q", tt.name, err, p.commands())
		}
		if secure := <-told; secure != tt.secure {
			t.Errorf("%s: over TLS: %v", tt.name, secure)
		}
	}
}

// Only the second EHLO counts: the first was in the clear, and anybody's.
func TestExtensionsAreForgotten(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	p := newPeer(t, func(k *talk) {
		k.say("220 hi")
		k.hear()
		k.raw("250-peer\r\n250-SIZE 1\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
		k.hear()
		k.say("220 go on")
		k.encrypt(id.config)
		serve(nil)(&talk{peer: k.peer, conn: greeted{k.conn, new(sync.Once)}, r: k.r, secure: true})
	})
	m := mailOf("Hi")
	m.Size = 4
	if _, err := p.sender(trusting(id)).Send(t.Context(), target(), m); err != nil {
		t.Fatal(err)
	}
	if p.count("EHLO mm4.gw.example") != 2 || p.count("MAIL FROM:<"+fromPath+"> SIZE") != 0 {
		t.Errorf("%q", p.commands())
	}
}

// What is put in between STARTTLS and TLS is not believed.
func TestInjectionBeforeTLS(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	p := newPeer(t, func(k *talk) {
		k.say("220 hi")
		k.hear()
		k.raw("250-peer\r\n250 STARTTLS\r\n")
		k.hear()
		k.raw("220 go on\r\n250-peer\r\n250 AUTH PLAIN\r\n250 fine\r\n250 fine\r\n354 go on\r\n250 taken\r\n")
		k.untilGone()
	})
	_, err := p.sender(trusting(id)).Send(t.Context(), target(login("s3cret")), mailOf("Hi"))
	if e := failure(t, err); e.Stage() != StageSTARTTLS || !e.Configuration() || p.count("AUTH") != 0 || p.count("MAIL") != 0 {
		t.Errorf("%v, heard %q", err, p.commands())
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	id, other := newIdentity(t, "mx.peer.example"), newIdentity(t, "mx.other.example")
	both := id.roots.Clone()
	both.AddCert(other.leaf)
	var wrong Pin
	for _, tt := range []struct {
		name   string
		of     identity
		change func(*Target)
		ok     bool
	}{
		{"right", id, func(*Target) {}, true},
		{"of another name", other, func(*Target) {}, false},
		{"of another name that is expected", other, func(t *Target) { t.ServerName = "mx.other.example" }, true},
		{"unknown", newIdentity(t, "mx.peer.example"), func(*Target) {}, false},
		{"unknown and insecure", newIdentity(t, "x"), func(t *Target) { t.Insecure = true }, true},
		{"pinned", other, func(t *Target) { t.Pins = []Pin{wrong, PinOf(other.leaf)} }, true},
		{"another is pinned", id, func(t *Target) { t.Pins = []Pin{PinOf(other.leaf)} }, false},
		{"another is pinned, insecure", id, func(t *Target) { t.Pins, t.Insecure = []Pin{wrong}, true }, false},
	} {
		for _, m := range []TLSMode{TLSOpportunistic, TLSRequired, TLSImplicit} {
			script := serveTLS(nil, tt.of.config, nil, "AUTH PLAIN")
			if m == TLSImplicit {
				script = func(k *talk) { k.encrypt(tt.of.config); serve(nil, "AUTH PLAIN")(k) }
			}
			p := newPeer(t, script)
			_, err := p.sender(func(c *Config) { c.Roots = both }).Send(t.Context(), target(tt.change, mode(m), login("s3cret")), mailOf("Hi"))
			if tt.ok {
				if err != nil {
					t.Errorf("%s, %s: %v", tt.name, m, err)
				}
				continue
			}
			if e := failure(t, err); e.Stage() != StageTLS || !e.Configuration() || !e.Retryable() || p.count("AUTH") != 0 || p.count("MAIL") != 0 {
				t.Errorf("%s, %s: %v, heard %q", tt.name, m, err, p.commands())
			}
		}
	}
}

func TestOldTLS(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	id.config.MaxVersion = tls.VersionTLS11
	id.config.MinVersion = tls.VersionTLS10
	p := newPeer(t, serveTLS(nil, id.config, nil))
	_, err := p.sender(trusting(id)).Send(t.Context(), target(), mailOf("Hi"))
	if e := failure(t, err); e.Stage() != StageTLS || p.count("MAIL") != 0 {
		t.Errorf("%v", err)
	}
}

func TestAUTH(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	const password = "s3cret"
	name, word := encode("gw"), encode(password)
	plain := "AUTH PLAIN " + encode("\x00gw\x00"+password)
	for _, tt := range []struct {
		name    string
		offer   string
		answers answers
		heard   string // all that is said to log in
		codes   string // of the error; "-": without; empty: no error
	}{
		{"PLAIN", "AUTH LOGIN PLAIN", nil, plain, ""},
		{"in small letters", "auth plain", nil, plain, ""},
		{"of the old kind", "AUTH=PLAIN LOGIN", nil, plain, ""},
		{"LOGIN", "AUTH XOAUTH2 LOGIN", answers{"AUTH": "334 VXNlcm5hbWU6", name: "334 whatever", word: "235 fine"}, "AUTH LOGIN " + name + " " + word, ""},
		{"LOGIN without prompts", "AUTH LOGIN", answers{"AUTH": "334 ", name: "334", word: "235"}, "AUTH LOGIN " + name + " " + word, ""},
		{"refused", "AUTH PLAIN", answers{"AUTH": "535 5.7.8 no"}, plain, "535 5.7.8"},
		{"refused in the middle", "AUTH LOGIN", answers{"AUTH": "334 x", name: "535 5.7.8 who?"}, "AUTH LOGIN " + name, "535 5.7.8"},
		{"not now", "AUTH PLAIN", answers{"AUTH": "454 4.7.0 later"}, plain, "454 4.7.0"},
		{"more is asked", "AUTH PLAIN", answers{"AUTH": "334 more"}, plain, "-"},
		{"nothing of ours", "AUTH CRAM-MD5", nil, "", "-"},
		{"none", "SIZE", nil, "", "-"},
	} {
		p := newPeer(t, serveTLS(tt.answers, id.config, nil, tt.offer))
		s := p.sender(trusting(id))
		_, err := s.Send(t.Context(), target(login(password)), mailOf("Hi"))
		s.Close()
		var heard []string
		for _, c := range p.commands() {
			if !strings.HasPrefix(c, "EHLO") && !strings.HasPrefix(c, "STARTTLS") {
				heard = append(heard, c)
			}
		}
		said, _, _ := strings.Cut(strings.Join(heard, " "), " MAIL FROM")
		if said = strings.TrimSuffix(said, " QUIT"); said != tt.heard {
			t.Errorf("%s: the peer heard %q, want %q", tt.name, said, tt.heard)
		}
		if tt.codes == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		e := failure(t, err)
		if e.Stage() != StageAUTH || e.Codes() != strings.TrimPrefix(tt.codes, "-") || !e.Retryable() || e.Configuration() != (tt.codes != "454 4.7.0") || p.count("MAIL") != 0 {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A password does not go in the clear, whatever the peer offers there.
func TestNoPasswordInTheClear(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	for name, script := range map[string]func(*talk){
		"stripped":  serve(nil, "AUTH PLAIN LOGIN"),
		"not now":   serveTLS(answers{"STARTTLS": "454 4.7.0 not now"}, id.config, nil, "AUTH PLAIN LOGIN"),
		"no EHLO":   serve(answers{"EHLO": "500 what?"}),
		"demanding": serve(answers{"MAIL": "530 5.7.0 log in first"}, "AUTH PLAIN"),
	} {
		for _, m := range []TLSMode{TLSOpportunistic, TLSRequired} {
			p := newPeer(t, script)
			_, err := p.sender(trusting(id)).Send(t.Context(), target(login("s3cret"), mode(m)), mailOf("Hi"))
			if e := failure(t, err); !e.Retryable() || p.count("AUTH") != 0 || p.count("MAIL") != 0 {
				t.Errorf("%s, %s: %v, heard %q", name, m, err, p.commands())
			}
		}
	}
	if err := target(login("x"), mode(TLSNever)).Check(); err == nil || !strings.HasPrefix(err.Error(), "tls: a password") {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Target){
		"name":     func(t *Target) { t.Name = "" },
		"host":     func(t *Target) { t.Host = "a b" },
		"mx":       func(t *Target) { t.Host, t.MX = "127.0.0.1", true },
		"port":     func(t *Target) { t.Port = 65536 },
		"tls":      func(t *Target) { t.TLS = 9 },
		"ehlo":     func(t *Target) { t.EHLO = "gw.example\r\nMAIL" },
		"username": func(t *Target) { t.Password = secret.Conceal("x-y-z") },
		"password": func(t *Target) { t.Username = "x" },
		"username and password": func(t *Target) {
			t.Username, t.Password = "gw", secret.Conceal("x-y-z\x00")
		},
	} {
		if err := target(change).Check(); err == nil || !strings.HasPrefix(err.Error(), field+":") || strings.Contains(err.Error(), "x-y-z") {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, change := range []func(*Target){
		func(t *Target) {}, func(t *Target) { t.EHLO = "[192.0.2.1]" }, func(t *Target) { t.EHLO = "[IPv6:2001:db8::1]" },
		func(t *Target) { t.Host = "2001:db8::1" }, login("x"),
	} {
		if err := target(change).Check(); err != nil {
			t.Error(err)
		}
	}
	if TLSRequired.String() != "required" || TLSMode(9).String() != "unknown" {
		t.Error("the names of modes")
	}
}
