package main

import (
	"bytes"
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
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/webhook"
)

// sample is one message of the demo.
type sample struct {
	name  string
	to    string
	body  string
	class message.Class // empty: the account's
}

// samples are texts at the edges of what an SMS can hold.
func samples() []sample {
	return []sample{
		{"160 characters of GSM 7", "+13105550101", strings.Repeat("0123456789", 16), ""},
		{"161 characters of GSM 7", "+13105550102", strings.Repeat("0123456789", 16) + "!", ""},
		{"extension characters", "+13105550103", "Braces {} [] pipe | tilde ~ caret ^ backslash \\ and 5 €", ""},
		{"extension character at the edge", "+13105550104", strings.Repeat("a", 152) + "{" + strings.Repeat("b", 40), ""},
		{"Arabic", "+13105550105", "مرحبا، طلبك في الطريق إليك وسيصل غدا", ""},
		{"Chinese", "+13105550106", "您的包裹已发出，预计明天送达。", ""},
		{"emoji at a surrogate edge", "+13105550107", strings.Repeat("ü", 66) + "😀 is whole, ж too", ""},
		{"ten parts", "+13105550108", strings.Repeat("A long text in ten parts. ", 57), ""},
		{"one-time password", "+13105550109", "Your code is 482913. It is valid for ten minutes.", message.ClassOTP},
		{demoVendor + " refuses it, " + demoStandby + " takes it", "+13105550007", "Another vendor has this one.", ""}, // 0007: see smscsim --help
	}
}

// sent is a sample on its way.
type sent struct {
	sample
	id     string
	parts  int
	began  time.Time
	status string
	took   time.Duration
}

// demoPatience bounds the wait for the demo's messages.
const demoPatience = 60 * time.Second

// traffic sends the samples and prints them arriving.
func (d *dev) traffic(ctx context.Context) error {
	d.say("\nsending %d messages from %s", len(samples()), d.demo.From)
	w := table(d.out, "FROM\tTO\tPARTS\tSTATUS\tMS\tWHAT")
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	var list []*sent
	for _, s := range samples() {
		m, err := d.send(ctx, s)
		if err != nil {
			return fmt.Errorf("demo message (%s): %w", s.name, err)
		}
		list = append(list, m)
	}
	for _, m := range list {
		if err := d.follow(ctx, m); err != nil {
			return fmt.Errorf("demo message (%s): %w", m.name, err)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\n", d.demo.From, m.to, m.parts, m.status, m.took.Milliseconds(), m.name)
	}
	in, err := d.receive(ctx)
	if err != nil {
		return fmt.Errorf("demo message (from a handset): %w", err)
	}
	fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\n", in.From, in.To, in.Segments, in.Delivery.State, in.took.Milliseconds(), "from a handset, read at /v1/inbound-messages")
	if err := w.Flush(); err != nil {
		return err
	}
	d.hooks.wait(ctx, len(list))
	d.say("%d webhooks came, %d with a good signature", d.hooks.counts().came, d.hooks.counts().good)
	if err := d.variety(ctx); err != nil {
		return fmt.Errorf("demo messages of other ends: %w", err)
	}
	d.say("some that fail, are refused, wait, are held or in doubt are on their way: see the console")
	return nil
}

type createdMessage struct {
	ID        string    `json:"id"`
	Status    string    `json:"status"`
	Segments  int       `json:"segments"`
	CreatedAt time.Time `json:"created_at"`
	Delivered time.Time `json:"delivered_at"`
}

func (d *dev) send(ctx context.Context, s sample) (*sent, error) {
	fields := map[string]any{"from": d.demo.From, "to": s.to, "body": s.body, "webhook_url": d.hooks.url(), "client_reference": "demo"}
	if s.class != "" {
		fields["message_class"] = s.class
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	m := &sent{sample: s, began: time.Now()}
	var got createdMessage
	if err := d.call(ctx, http.MethodPost, "/v1/messages", body, http.StatusAccepted, &got); err != nil {
		return nil, err
	}
	m.id, m.parts = got.ID, got.Segments
	return m, nil
}

// follow waits until a message has ended.
func (d *dev) follow(ctx context.Context, m *sent) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var got createdMessage
		if err := d.call(ctx, http.MethodGet, "/v1/messages/"+m.id, nil, http.StatusOK, &got); err != nil {
			return err
		}
		if message.Status(got.Status).Final() {
			m.status, m.took = got.Status, time.Since(m.began)
			if !got.Delivered.IsZero() {
				m.took = got.Delivered.Sub(got.CreatedAt)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is still %s", got.Status)
		case <-tick.C:
		}
	}
}

func (d *dev) call(ctx context.Context, method, path string, body []byte, want int, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, d.url()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(d.demo.APIKey, d.demo.APISecret)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return json.Unmarshal(answer, into)
}

// hookSink is a customer's webhook consumer: it checks each signature.
type hookSink struct {
	secret string
	server *http.Server
	addr   string

	mu      sync.Mutex
	seen    hookCounts
	final   map[string]bool // events of final statuses, by webhook-id
	changed chan struct{}   // closed and replaced at each event
}

type hookCounts struct{ came, good int }

func (d *dev) startHooks(context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.hooks = &hookSink{addr: l.Addr().String(), final: map[string]bool{}, changed: make(chan struct{})}
	d.hooks.server = &http.Server{Handler: d.hooks, ReadHeaderTimeout: 5 * time.Second}
	go func() { // ends with Shutdown, which the part's stop calls
		if err := d.hooks.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.say("webhook consumer: %v", err)
		}
	}()
	d.add("webhook consumer", nil, d.hooks.server.Shutdown)
	return nil
}

func (h *hookSink) url() string { return "http://" + h.addr + "/hooks" }

// trust sets the secret that events must be signed with.
func (h *hookSink) trust(secret string) {
	h.mu.Lock()
	h.secret = secret
	h.mu.Unlock()
}

// ServeHTTP takes one event.
func (h *hookSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/gone") {
		http.Error(w, "this shop has closed", http.StatusGone)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen.came++
	if h.verify(r.Header, body) {
		h.seen.good++
		if bytes.Contains(body, []byte(`"type":"message.delivered"`)) {
			h.final[r.Header.Get("webhook-id")] = true
		}
	}
	close(h.changed)
	h.changed = make(chan struct{})
	w.WriteHeader(http.StatusNoContent)
}

// verify signs the event again, as a consumer would.
func (h *hookSink) verify(got http.Header, body []byte) bool {
	seconds, err := strconv.ParseInt(got.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return false
	}
	want := http.Header{}
	if err := webhook.Sign(want, got.Get("webhook-id"), time.Unix(seconds, 0), body, h.secret, ""); err != nil {
		return false
	}
	return want.Get("webhook-signature") == got.Get("webhook-signature")
}

func (h *hookSink) counts() hookCounts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// wait returns when n messages were reported as delivered, or ctx ends.
func (h *hookSink) wait(ctx context.Context, n int) {
	for {
		h.mu.Lock()
		done, changed := len(h.final) >= n, h.changed
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (d *dev) printPlaces() {
	ui := d.ui + "/namespaces/" + d.config.TemporalNamespace + "/workflows"
	if d.ui == "" {
		ui = "that of the Temporal at " + d.config.TemporalAddress + ", namespace " + d.config.TemporalNamespace
	}
	d.say(`
console       %s/console
              %s
              or as operator, support, compliance or viewer%s
portal        %s/portal
              %s, who may do everything, or %s
              All of them have the password %s
API docs      %s/docs
Temporal UI   %s
metrics       http://127.0.0.1:%d/metrics
SMSC counts   http://%s/stats
logs          %s/log
variables     . %s/demo.env
demo key      %s
demo secret   %s

Send one yourself:

  curl -sS -u '%s:%s' -H 'Content-Type: application/json' \
    -d '{"from":"%s","to":"+13105550123","body":"Hello from Postrider"}' %s/v1/messages

Answer it as a handset would, and read what came:

  curl -sS -d '{"from":"+13105550123","to":"%s","text":"Hello back"}' http://%s/mo
  curl -sS -u '%s:%s' %s/v1/inbound-messages?from=%%2B13105550123

Look at vendors, routes and a message's way in a shell:

  %s/postrider admin vendor status
  %s/postrider admin message show ID

Ctrl-C stops everything.`, d.url(), d.demo.AdminEmail, d.demo.PeopleSuffix, d.url(), d.person("owner"), d.person("reader"), d.demo.AdminPassword, d.url(), ui, d.config.MetricsPort, d.smsc.HTTP, d.flags.dir, d.flags.dir,
		d.demo.APIKey, d.demo.APISecret, d.demo.APIKey, d.demo.APISecret, d.demo.From, d.url(),
		d.demo.From, d.smsc.HTTP, d.demo.APIKey, d.demo.APISecret, d.url(), d.flags.dir, d.flags.dir)
}

func splitPort(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.Atoi(port)
	return host, n, err
}
