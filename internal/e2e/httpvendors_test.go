package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// overHTTP is a vendor with an HTTP API that the gateway knows, and one that pretends
// to be it: it lacks the key that webhooks are signed with.
type overHTTP struct {
	*vendortest.HTTPVendor
	s      *system
	name   string
	forger *vendortest.HTTPVendor
	area   string // what the numbers begin with that it is the vendor for
}

const (
	twilioSID = "AC00000000000000000000000000000001"
	keySeed   = "0123456789abcdef0123456789abcdef"
	wrongSeed = "fedcba9876543210fedcba9876543210"
)

// newHTTPVendor starts a vendor, which staff add with a route for its area.
func (s *system) newHTTPVendor(staff *office, kind, area string) *overHTTP {
	s.tb.Helper()
	row := map[string]any{"instance_name": kind + "-1", "provider_type": kind, "password": "a secret", "response_timeout_seconds": 2, "supports_mms": true}
	start := vendortest.NewTwilio
	cfg := vendortest.HTTPConfig{User: twilioSID, Password: "a secret", Key: keySeed, Hooks: fmt.Sprintf("http://127.0.0.1:%d/inbound/%s-1", s.apiPort, kind)}
	if kind == "telnyx" {
		start, row["signing_keys"] = vendortest.NewTelnyx, []string{vendortest.TelnyxPublicKey(keySeed)}
	} else {
		row["username"], row["signing_keys"] = twilioSID, []string{keySeed}
	}
	v := &overHTTP{s: s, name: kind + "-1", area: area}
	var err error
	if v.HTTPVendor, err = start(cfg); err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(v.Close)
	cfg.Key = wrongSeed
	if v.forger, err = start(cfg); err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(v.forger.Close)
	row["base_url"] = v.URL()
	var made struct{ ID string }
	staff.want(http.StatusCreated, http.MethodPost, "/vendors", row, &made)
	var test struct{ OK bool }
	if staff.want(http.StatusOK, http.MethodPost, "/vendors/"+v.name+"/test", nil, &test); !test.OK || v.Probes() != 1 {
		s.tb.Fatalf("the test of %s: ok %t, %d looks", v.name, test.OK, v.Probes())
	}
	staff.want(http.StatusCreated, http.MethodPost, "/routes", map[string]any{"vendor_id": made.ID, "dest_pattern": "^" + strings.TrimPrefix(area, "+"), "rate_per_msg": "0.0045"}, nil)
	return v
}

// to is the n-th number of its area.
func (v *overHTTP) to(n int) string { return fmt.Sprintf("%s555%04d", v.area, n) }

// sent posts a text and gives it with what came of it at the vendor.
func (v *overHTTP) sent(n int, text string) (string, vendortest.Came) {
	v.s.tb.Helper()
	id := v.s.post(map[string]any{"from": from, "to": v.to(n), "body": text}).ID
	return id, v.came(n, 1)
}

// came waits until the vendor was asked times times for the n-th number, and gives the
// last of it.
func (v *overHTTP) came(n, times int) (last vendortest.Came) {
	v.s.tb.Helper()
	v.s.until(fmt.Sprintf("%s was asked %d times for number %d", v.name, times, n), func() bool {
		got := 0
		for _, c := range v.Came() {
			if c.To == v.to(n) {
				got, last = got+1, c
			}
		}
		return got >= times
	})
	return last
}

// says has the vendor report statuses of a message, in this order.
func (v *overHTTP) says(c vendortest.Came, states ...message.ReceiptState) {
	v.s.tb.Helper()
	for _, state := range states {
		if err := v.SendReceipt(v.s.tb.Context(), c, state); err != nil {
			v.s.tb.Errorf("%s: status %s of number %s: %v", v.name, state, c.To, err)
		}
	}
}

// is waits until the message has a status.
func (s *system) is(id string, want message.Status) {
	s.tb.Helper()
	s.until("message "+id+" is "+string(want), func() bool {
		now := message.Status(s.get(id).Status)
		if now != want && now.Final() {
			s.tb.Fatalf("message %s is %s, want %s", id, now, want)
		}
		return now == want
	})
}

// TestHTTPVendors sends texts over Twilio and over Telnyx, whose webhooks come signed,
// before the answer, twice, in any order, and from somebody else.
func TestHTTPVendors(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.alter("delete from routing_rules")
	s.env = append(s.env, fmt.Sprintf("PUBLIC_URL=http://127.0.0.1:%d", s.apiPort))
	s.restartGateway()
	staff := s.office(snapshot.RoleOperator)
	for _, v := range []*overHTTP{s.newHTTPVendor(staff, "twilio", "+1310"), s.newHTTPVendor(staff, "telnyx", "+1415")} {
		s.current()
		t.Run(v.name, func(t *testing.T) {
			v.statuses(t)
			v.inDoubt(t)
			v.throttled(t)
			v.many(t)
			v.inbound(t)
			v.mms(t)
		})
	}
	t.Run("between numbers of ours", s.mmsInTheHouse)
}

// statuses: of a text of one part, of one of several, and of one that is with the
// handset before the vendor has answered. What somebody else says of them is not heard.
func (v *overHTTP) statuses(t *testing.T) {
	short, c := v.sent(1, "short")
	if c.Text != "short" || c.From != from {
		t.Errorf("came as %+v", c)
	}
	v.s.is(short, message.StatusSent)
	if err := v.forger.SendReceipt(t.Context(), c, message.ReceiptRejected); err == nil || errors.Is(err, vendortest.ErrAskedAgain) {
		t.Errorf("a status that is not signed by the vendor was taken: %v", err)
	}
	v.says(c, message.ReceiptDelivered, message.ReceiptEnroute, message.ReceiptDelivered)
	v.s.is(short, message.StatusDelivered)

	words := strings.Repeat("one text in several parts ", 20)
	long, c := v.sent(2, words)
	v.says(c, message.ReceiptAccepted, message.ReceiptEnroute, message.ReceiptDelivered)
	v.s.is(long, message.StatusDelivered)
	if r := v.s.get(long); c.Text != words || r.Segments < 4 {
		t.Errorf("%d parts came as %q", r.Segments, c.Text)
	}

	v.Answer(vendortest.Reply{First: message.ReceiptDelivered})
	early, _ := v.sent(3, "it is there before the answer")
	v.s.is(early, message.StatusDelivered)

	lost, c := v.sent(4, "nobody has it")
	v.says(c, message.ReceiptEnroute, message.ReceiptUndeliverable)
	v.s.is(lost, message.StatusUndelivered)
}

// inDoubt: a vendor that does not answer in time may have the message. It is not sent
// again, and its webhook settles it.
func (v *overHTTP) inDoubt(t *testing.T) {
	v.Answer(vendortest.Reply{Kind: vendortest.Silent})
	id, c := v.sent(10, "no answer")
	v.s.is(id, message.StatusInDoubt)
	v.says(c, message.ReceiptDelivered)
	v.s.is(id, message.StatusDelivered)
	v.once(t, 10, 1)
}

// throttled: a vendor that is asked too much is asked later.
func (v *overHTTP) throttled(t *testing.T) {
	v.Answer(vendortest.Reply{Kind: vendortest.Throttle})
	id, first := v.sent(20, "too fast")
	c := v.came(20, 2)
	if waited := c.At.Sub(first.At); waited.Seconds() < 1 { // its Retry-After
		t.Errorf("asked again after %s", waited)
	}
	v.says(c, message.ReceiptDelivered)
	v.s.is(id, message.StatusDelivered)
	v.once(t, 20, 2)
}

// many: each of many texts comes to the vendor once, and its statuses in any order come
// to it.
func (v *overHTTP) many(t *testing.T) {
	const first, n = 100, 100
	ids := make([]string, n)
	for i := range n {
		ids[i] = v.s.post(map[string]any{"from": from, "to": v.to(first + i), "body": fmt.Sprintf("message %d", i)}).ID
	}
	type status struct {
		came  vendortest.Came
		state message.ReceiptState
	}
	var list []status
	for i := range n {
		c := v.came(first+i, 1)
		for _, state := range []message.ReceiptState{message.ReceiptAccepted, message.ReceiptEnroute, message.ReceiptDelivered, message.ReceiptDelivered} {
			list = append(list, status{c, state})
		}
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, st := range list {
		v.says(st.came, st.state)
	}
	for i, o := range v.s.ended(ids) {
		if o.status != message.StatusDelivered {
			t.Errorf("message %d is %s (%s)", i, o.status, o.reason)
		}
		v.once(t, first+i, 1)
	}
}

// once wants the vendor to have been asked so often for the n-th number, and no more.
func (v *overHTTP) once(t *testing.T, n, times int) {
	t.Helper()
	got := 0
	for _, c := range v.Came() {
		if c.To == v.to(n) {
			got++
		}
	}
	if got != times {
		t.Errorf("%s was asked %d times for number %d, want %d", v.name, got, n, times)
	}
}

// inbound: what handsets write becomes a message of the number's owner, once.
func (v *overHTTP) inbound(t *testing.T) {
	ctx := stacktest.Context(t)
	m := vendortest.Inbound{ID: "in-" + v.name, From: v.to(9000), To: from, Text: "hello from a handset of " + v.name}
	for range 2 {
		if err := v.SendInbound(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	forged := m
	forged.ID, forged.Text = "forged", "not from a handset of "+v.name
	if err := v.forger.SendInbound(ctx, forged); err == nil || errors.Is(err, vendortest.ErrAskedAgain) {
		t.Errorf("a message that is not signed by the vendor was taken: %v", err)
	}
	v.s.receives(t, m.From, m.Text)
}

// receives wants the account to have these texts of a handset, and no others.
func (s *system) receives(t *testing.T, sender string, want ...string) {
	t.Helper()
	var got []string
	s.until("the owner has what "+sender+" wrote", func() bool {
		got = s.received(t, sender)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("the owner has %q of %s, want %q", got, sender, want)
	}
}

// received are the texts that the account has of a handset.
func (s *system) received(t *testing.T, sender string) (texts []string) {
	t.Helper()
	for _, m := range s.inbound(sender) {
		if m.Delivery.State == "stored" {
			texts = append(texts, given(m.Body))
		}
	}
	return texts
}
