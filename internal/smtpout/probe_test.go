package smtpout

import (
	"context"
	"encoding/pem"
	"testing"
)

// A probe says nothing of a mail, goes as far as AUTH, and leaves no connection.
func TestProbe(t *testing.T) {
	t.Parallel()
	id := newIdentity(t, "mx.peer.example")
	for name, c := range map[string]struct {
		answers answers
		stage   Stage // of the error; empty: none
	}{
		"let in": {}, "wrong password": {answers{"AUTH": "535 5.7.8 no"}, StageAUTH}, "closed": {answers{"greeting": "421 4.3.2 later"}, StageGreeting},
	} {
		p := newPeer(t, serveTLS(c.answers, id.config, nil, "AUTH PLAIN"))
		s := p.sender(trusting(id))
		err := s.Probe(t.Context(), target(mode(TLSRequired), login("hunter2")))
		switch {
		case c.stage == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.stage != "":
			if e := failure(t, err); e.Stage() != c.stage {
				t.Errorf("%s: %v", name, err)
			}
		case p.count("QUIT") != 1 || p.count("MAIL") != 0:
			t.Errorf("%s: heard %q", name, p.commands())
		}
		s.Close()
		if err := s.Probe(t.Context(), target()); err == nil {
			t.Errorf("%s: probed after Close", name)
		}
	}
}

func TestProbeEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := newPeer(t, func(k *talk) { cancel(); k.untilGone() })
	if e := failure(t, p.sender().Probe(ctx, target())); e.OnWire() || !e.Retryable() {
		t.Errorf("%v", e)
	}
	if e := failure(t, p.sender().Probe(t.Context(), target(func(t *Target) { t.Port = -1 }))); e.Stage() != StageCheck {
		t.Errorf("%v", e)
	}
}

// A target may bring the authorities of its peer's certificate.
func TestCertificateAuthorityOfTheTarget(t *testing.T) {
	t.Parallel()
	id, other := newIdentity(t, "mx.peer.example"), newIdentity(t, "mx.peer.example")
	written := func(id identity) func(*Target) {
		return func(t *Target) {
			t.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.leaf.Raw}))
		}
	}
	p := newPeer(t, serveTLS(nil, id.config, nil))
	s := p.sender(trusting(other))
	if err := s.Probe(t.Context(), target(mode(TLSRequired), written(id))); err != nil {
		t.Error(err)
	}
	for _, wrong := range []*Target{target(mode(TLSRequired), written(other)), target(mode(TLSRequired))} {
		if e := failure(t, s.Probe(t.Context(), wrong)); e.Stage() != StageSTARTTLS && e.Stage() != StageTLS || !e.Configuration() {
			t.Errorf("%v", e)
		}
	}
	bad := target(func(t *Target) { t.CA = "no certificate" })
	if e := failure(t, s.Probe(t.Context(), bad)); e.Stage() != StageCheck {
		t.Errorf("%v", e)
	}
	a, b := target(written(id)), target(written(other))
	if a.same(b) || !a.same(target(written(id))) {
		t.Error("connections of one authority serve another")
	}
}
