package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/webhook"
)

// Customer is the side of all customers that Postrider calls: an endpoint for webhooks
// and the ESMEs of the accounts over SMPP. What it is told it writes into the ledger of
// the load; before there is a load it forgets it. Safe for concurrent use.
type Customer struct {
	esmes    []*esme // in the order of the accounts' system_ids
	accounts map[string]*Account
	log      func(format string, args ...any)

	load atomic.Pointer[Load]

	server *http.Server
	ended  chan error // one element, when serving has ended

	mu     sync.Mutex
	status int           // what webhooks are answered; 0: taken
	hung   chan struct{} // not nil: they are not answered until it is closed
	over   bool
}

const (
	// maxEvent is the most that an event has: 20 kB.
	maxEvent = 20_000
	// headTimeout bounds the head of a webhook's request.
	headTimeout = 30 * time.Second
)

// StartCustomer listens for webhooks at the address (host:port), which is behind the
// wire gateways>customer, and binds the ESMEs of the accounts through esme>smpp-1 and
// esme>all-2 again and again. It returns when each is bound.
func StartCustomer(ctx context.Context, w *World, listen string) (*Customer, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	c := &Customer{accounts: w.Accounts, log: w.Log, ended: make(chan error, 1)}
	if c.log == nil {
		c.log = func(string, ...any) {}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks/{account}", c.hook)
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: headTimeout}
	go func() { c.ended <- c.server.Serve(listener) }()
	for _, name := range []string{accountPrudent, accountEager, accountPBX} {
		a := w.Accounts[name]
		if a == nil {
			continue
		}
		for i, id := range a.SystemIDs {
			doors := []string{nodeSMPP, nodeAll}
			if i%2 == 1 {
				doors = []string{nodeAll, nodeSMPP}
			}
			e := newESME(c, a, id, doors, func(door string) string { return w.Wires[wireName(sideESME, door)].Addr() })
			c.esmes = append(c.esmes, e)
			e.start()
		}
	}
	for _, e := range c.esmes {
		if _, err := e.bound(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%s is not bound: %w", e.systemID, err), c.Close())
		}
	}
	return c, nil
}

// Close unbinds the ESMEs and stops listening.
func (c *Customer) Close() error {
	for _, e := range c.esmes {
		e.stop()
	}
	c.mu.Lock()
	c.over = true
	c.wakeLocked()
	c.mu.Unlock()
	err := c.server.Close()
	if ended := <-c.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Refuse has all webhooks answered with a status.
func (c *Customer) Refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
	c.wakeLocked()
}

// Hang has webhooks read and not answered.
func (c *Customer) Hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung == nil && !c.over {
		c.hung = make(chan struct{})
	}
}

// Accept undoes Refuse and Hang. Who still waits is answered.
func (c *Customer) Accept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = 0
	c.wakeLocked()
}

func (c *Customer) wakeLocked() {
	if c.hung != nil {
		close(c.hung)
		c.hung = nil
	}
}

// hook takes one event.
func (c *Customer) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEvent))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	hung := c.hung
	c.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-r.Context().Done():
			return
		}
	}
	c.mu.Lock()
	status := c.status
	c.mu.Unlock()
	if status != 0 {
		http.Error(w, "not now", status)
		return
	}
	load := c.load.Load()
	account := c.accounts[r.PathValue("account")]
	if account == nil || !signed(r.Header, body, account.HookSecret) {
		if load != nil {
			load.ledger.Forged()
		}
		http.Error(w, "not signed by Postrider", http.StatusUnauthorized)
		return
	}
	if load != nil {
		if err := note(load.ledger, account.Name, r.Header.Get("webhook-id"), body); err != nil {
			c.log("a webhook to %s: %v", account.Name, err)
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// note enters an event about a message into the ledger.
func note(l *Ledger, account, webhookID string, body []byte) error {
	var e struct {
		Type string
		Data struct {
			MessageID string `json:"message_id"`
			To        string
			Reference string `json:"client_reference"`
			Subject   string
			Media     []mediaLink
		}
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	word, ours := strings.CutPrefix(e.Type, "message.")
	if !ours {
		return nil // a campaign's, a number's
	}
	id, err := message.ParseID(e.Data.MessageID)
	if err != nil {
		return err
	}
	event, err := message.ParseID(strings.TrimPrefix(webhookID, "evt_"))
	if err != nil {
		return err
	}
	if word == "received" { // its id and its event's are those of what came in
		l.Arrived(account, e.Data.Subject, arrival{message: id, event: event, files: e.Data.Media}, body)
		return nil
	}
	key := e.Data.To
	if _, ok := indexOf(e.Data.Reference); ok {
		key = e.Data.Reference
	}
	l.Event(account, key, word, id, event, body)
	return nil
}

// signed makes the signature again, as a customer does.
func signed(got http.Header, body []byte, secret string) bool {
	at, err := strconv.ParseInt(got.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return false
	}
	want := http.Header{}
	if err := webhook.Sign(want, got.Get("webhook-id"), time.Unix(at, 0), body, secret, ""); err != nil {
		return false
	}
	return want.Get("webhook-signature") == got.Get("webhook-signature")
}

// UnbindMidWindow has each ESME unbind while submits of it are unanswered. It returns
// when all are bound again.
func (c *Customer) UnbindMidWindow(ctx context.Context) error {
	return c.midWindow(ctx, (*session).unbindAtOnce)
}

// DieMidWindow has the connection of each ESME end while submits of it are unanswered.
// It returns when all are bound again.
func (c *Customer) DieMidWindow(ctx context.Context) error {
	return c.midWindow(ctx, (*session).die)
}

// midWindow fills the window of each ESME and then ends its session.
func (c *Customer) midWindow(ctx context.Context, end func(*session) error) error {
	load := c.load.Load()
	var works sync.WaitGroup
	errs := make([]error, len(c.esmes))
	for i, e := range c.esmes {
		works.Go(func() {
			s, err := e.bound(ctx)
			if err != nil {
				errs[i] = err
				return
			}
			if load != nil {
				load.burst(ctx, e, s)
			}
			if errs[i] = end(s); errs[i] != nil {
				return
			}
			select {
			case <-s.Done():
			case <-ctx.Done():
			}
			_, errs[i] = e.bound(ctx)
		})
	}
	works.Wait()
	return errors.Join(errs...)
}

// through gives a session that is bound at a door; nil: there is none.
func (c *Customer) through(door string) (*esme, *session) {
	for _, e := range c.esmes {
		if s := e.now(); s != nil && s.door == door {
			return e, s
		}
	}
	return nil, nil
}
