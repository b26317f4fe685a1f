package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/webhook"
)

// consumer is the customer's side of the webhooks.
type consumer struct {
	records *records
	secret  string // empty: signatures are not looked at
	forged  atomic.Int64
	server  *http.Server
	address string
	ended   chan error // one element when serving has ended
}

// maxEvent is the most that an event has: 20 kB.
const maxEvent = 20_000

// startConsumer listens on a free port of the loopback.
func startConsumer(r *records, secret string) (*consumer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &consumer{records: r, secret: secret, address: listener.Addr().String(), ended: make(chan error, 1)}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: requestTimeout}
	go func() { c.ended <- c.server.Serve(listener) }()
	return c, nil
}

func (c *consumer) url() string { return "http://" + c.address + "/hooks" }

// stop waits until nothing is served any more.
func (c *consumer) stop() error {
	err := c.server.Close()
	if ended := <-c.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// ServeHTTP takes one event.
func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEvent))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if c.secret != "" && !signed(r.Header, body, c.secret) {
		c.forged.Add(1)
		http.Error(w, "not signed by Postrider", http.StatusUnauthorized)
		return
	}
	c.records.event(stringMember(body, `"client_reference":"`), stringMember(body, `"type":"message.`))
	w.WriteHeader(http.StatusNoContent)
}

// stringMember is what stands between a mark and the next quotation mark: the
// consumer shares the machine with what it measures, so it reads two members
// and no more. Both are of our own making and hold nothing escaped.
func stringMember(body []byte, mark string) string {
	_, rest, found := bytes.Cut(body, []byte(mark))
	if !found {
		return ""
	}
	value, _, found := bytes.Cut(rest, []byte{'"'})
	if !found {
		return ""
	}
	return string(value)
}

// signed makes the signature again, as a customer does.
func signed(got http.Header, body []byte, secret string) bool {
	seconds, err := strconv.ParseInt(got.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return false
	}
	want := http.Header{}
	if err := webhook.Sign(want, got.Get("webhook-id"), time.Unix(seconds, 0), body, secret, ""); err != nil {
		return false
	}
	return want.Get("webhook-signature") == got.Get("webhook-signature")
}
