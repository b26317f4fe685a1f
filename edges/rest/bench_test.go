package rest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// instantIngress accepts at once and keeps nothing.
type instantIngress struct{ Ingress }

func (instantIngress) Accept(_ context.Context, r ingress.Request) (ingress.Outcome, error) {
	m := &message.Message{
		ID: message.NewID(), AccountID: r.AccountID, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusAccepted,
		From: "+12025550143", To: "+13105550117", Body: r.Body, Encoding: message.EncodingGSM7, Segments: 1, Class: message.ClassConversation,
		Delivery: message.AtMostOnce, CampaignID: "C8X2KQ1", ClientReference: r.ClientReference, Metadata: r.Metadata,
		Price: message.Price{Amount: 4500, Currency: "USD", Estimated: true}, CreatedAt: began, UpdatedAt: began, ExpiresAt: began,
	}
	if r.Key != nil {
		if _, _, err := r.Key.Render(m, nil); err != nil {
			return ingress.Outcome{}, err
		}
	}
	return ingress.Outcome{Message: m}, nil
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

const benchBody = `{"from":"+12025550143","to":"+13105550117","body":"Your parcel is on its way","webhook_url":"https://shop.example/hooks/sms","validity_seconds":3600,"client_reference":"order-8812","metadata":{"shop":"7"}}`

func benchServer(b *testing.B) *Server {
	config := configuration()
	config.Accounts[accountA].APIRateLimit = 1 << 40
	return &Server{
		Ingress: instantIngress{}, Secrets: &fakeSecrets{}, Snapshot: func() *snapshot.Snapshot { return config },
	}
}

func BenchmarkHandlerPost(b *testing.B) {
	for name, auth := range map[string]string{"basic": "", "bearer": "token"} {
		b.Run(name, func(b *testing.B) {
			s := benchServer(b)
			h := s.Handler()
			r := httptest.NewRequest("POST", "/v1/messages", nil)
			r.SetBasicAuth("keyA", "secretA")
			if auth != "" {
				config := s.Snapshot()
				config.SigningKeys[0].SignsFrom = began.AddDate(-20, 0, 0)
				token, err := s.tokens.sign(config, config.Credentials["keyA"], []string{scopeMessagesWrite}, s.now())
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+token)
			}
			r.Header.Set("Content-Type", jsonType)
			r.Header.Set("Idempotency-Key", "order-8812")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					q := *r
					q.Body = readCloser{strings.NewReader(benchBody)}
					w := &discard{header: http.Header{}}
					h.ServeHTTP(w, &q)
					if w.header.Get("Location") == "" {
						b.Error("not accepted")
						return
					}
				}
			})
		})
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// BenchmarkPost is the whole way over loopback, client included.
func BenchmarkPost(b *testing.B) {
	t := setup(b, func(t *bundle) {
		s := benchServer(b)
		s.Journal, s.Now = t.journal, t.clock.now
		t.server = s
	})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := t.do("POST", "/v1/messages", benchBody, as("keyA"), header("Idempotency-Key", "order-8812")); r.StatusCode != 202 {
				b.Error(r.StatusCode)
				return
			}
		}
	})
}

func BenchmarkDecodeCreate(b *testing.B) {
	b.ReportAllocs()
	body := []byte(benchBody)
	for b.Loop() {
		if _, _, refusal := decodeCreate(body, began, publicHTTPS); refusal != nil {
			b.Fatal(refusal)
		}
	}
}

func BenchmarkVerifyToken(b *testing.B) {
	s := benchServer(b)
	s.Handler()
	snap := s.Snapshot()
	token, err := s.tokens.sign(snap, snap.Credentials["keyA"], []string{scopeMessagesWrite}, began)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.tokens.recent = nil
			if _, err := s.tokens.verify(snap, token, began); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.tokens.verify(snap, token, began); err != nil {
				b.Fatal(err)
			}
		}
	})
}
