package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

// journal holds one message.
type journal struct {
	mu      sync.Mutex
	message message.Received
	plan    []message.InboundPlanned
	status  message.Status
	down    error
	files   []message.Media
}

func (j *journal) MessageMedia(context.Context, message.ID, string) ([]message.Media, error) {
	return j.files, j.down
}

func (j *journal) Received(context.Context, message.ID) (message.Received, error) {
	m := j.message
	m.Media = slices.Clone(m.Media)
	return m, j.down
}

func owed(p message.InboundPlanned) message.InboundOwed {
	o := message.InboundOwed{InboundDelivery: p.InboundDelivery}
	for _, n := range p.Notifications {
		o.Notifications = append(o.Notifications, n.ID)
	}
	return o
}

func (j *journal) PlanInbound(_ context.Context, _ message.ID, plan []message.InboundPlanned, _ string) (out []message.InboundOwed, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		return nil, j.down
	}
	if j.plan == nil {
		j.plan = plan
	}
	for _, p := range j.plan {
		out = append(out, owed(p))
	}
	return out, nil
}

func (j *journal) FallBack(_ context.Context, _ message.ID, position int, to message.InboundPlanned) (*message.InboundOwed, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.plan {
		if p.Position == position && p.State == message.InboundDelivered {
			return nil, nil
		}
	}
	j.plan = append(j.plan, to)
	return new(owed(to)), nil
}

func (j *journal) InboundOutcomes(context.Context, message.ID) (out []message.InboundDelivery, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.plan {
		out = append(out, p.InboundDelivery)
	}
	return out, j.down
}

func (j *journal) RecordMail(_ context.Context, _ message.ID, position int, state message.InboundState, failure string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, p := range j.plan {
		if p.Position == position {
			j.plan[i].State, j.plan[i].LastError, j.plan[i].Attempts = state, failure, p.Attempts+1
		}
	}
	return nil
}

func (j *journal) SettleInbound(context.Context, message.ID) (message.Status, error) {
	return j.status, j.down
}

// mailer takes mails.
type mailer struct {
	mails []email.Mail
	says  error
}

func (m *mailer) Send(_ context.Context, l email.Mail) error {
	m.mails = append(m.mails, l)
	return m.says
}

type bundle struct {
	*journal
	mailer  mailer
	config  *snapshot.Snapshot
	clock   time.Time
	account message.ID
	*Activities
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{clock: time.Now(), account: message.NewID()}
	b.config = &snapshot.Snapshot{Accounts: map[message.ID]*snapshot.Account{b.account: {ID: b.account, Status: snapshot.AccountActive, WebhookSecret: "x"}},
		Numbers:   map[message.Address]*snapshot.Number{"+12025550143": {Number: "+12025550143", AccountID: b.account, SMSEnabled: true, Tag: "support"}},
		Endpoints: map[message.ID][]snapshot.Endpoint{}, SMPPCredentials: map[string]*snapshot.SMPPCredential{}}
	b.journal = &journal{message: message.Received{Complete: true, ReceivedAt: b.clock, Message: &message.Message{ID: message.NewID(), AccountID: b.account,
		Direction: message.Inbound, Kind: message.SMS, From: "+13105550117", To: "+12025550143", Body: "Where is it?", Encoding: message.EncodingGSM7, Segments: 1}}}
	b.Activities = &Activities{Journal: b.journal, Snapshot: func() *snapshot.Snapshot { return b.config }, Mailer: &b.mailer, Now: func() time.Time { return b.clock },
		MediaURL: func(f message.MediaFile) string { return "https://gw.example/media/" + f.ContentType }}
	return b
}

func (b *bundle) goes(number message.Address, places ...message.Place) {
	for i, p := range places {
		b.config.Destinations.Add(&message.Destination{ID: message.NewID(), AccountID: b.account, Number: number, Position: i + 1, Place: p, Active: true})
	}
}

func (b *bundle) planned(t *testing.T) []message.InboundPlanned {
	t.Helper()
	if _, err := b.PlanInbound(t.Context(), Input{MessageID: b.message.ID}); err != nil {
		t.Fatal(err)
	}
	return b.plan
}

var (
	store = message.Place{Method: message.InboundStorage}
	hook  = message.Place{Method: message.InboundWebhook, URL: "https://shop.example/sms", HTTPMethod: "PUT", FailoverURL: "https://shop.example/b"}
	esme  = message.Place{Method: message.InboundSMPP, SystemID: "acme"}
	inbox = message.Place{Method: message.InboundEmail, Email: "inbox@shop.example"}
)

// PlanInbound is the activity: the journal has one of that name as well.
func (b *bundle) PlanInbound(ctx context.Context, in Input) (Plan, error) {
	return b.Activities.PlanInbound(ctx, in)
}

// Without settings the account's endpoints are told that want it, else it is stored.
func TestPlanWithoutSettings(t *testing.T) {
	b := setup(t)
	if p := b.planned(t); len(p) != 1 || p[0].State != message.InboundStored || p[0].Method != message.InboundStorage {
		t.Errorf("no endpoint: %+v", p)
	}
	b = setup(t)
	b.config.Endpoints[b.account] = []snapshot.Endpoint{{ID: message.NewID(), URL: "https://a.example", EventTypes: []string{"message.delivered"}}}
	if p := b.planned(t); p[0].State != message.InboundStored {
		t.Errorf("an endpoint for other events: %+v", p)
	}
	b = setup(t)
	all, some := message.NewID(), message.NewID()
	b.config.Endpoints[b.account] = []snapshot.Endpoint{{ID: all, URL: "https://a.example", Format: "event"}, {ID: some, URL: "https://b.example", Format: "flat", EventTypes: []string{"message.received"}}}
	p := b.planned(t)
	if len(p) != 1 || p[0].State != message.InboundPending || len(p[0].Notifications) != 2 || p[0].Notifications[0].EndpointID != all ||
		p[0].Notifications[1].EndpointID != some || p[0].Notifications[0].EventID != b.message.ID || p[0].Notifications[0].Type != notification.MessageReceived {
		t.Errorf("%+v", p)
	}
	if flat := p[0].Notifications[1].Payload; !strings.HasPrefix(flat, `{"from":"+13105550117","to":"+12025550143","body":"Where is it?","message_id":"`) || strings.Contains(flat, "complete") {
		t.Error(flat)
	}
}

// A number's own destinations stand in for the account's.
func TestPlanByNumber(t *testing.T) {
	b := setup(t)
	credential := message.NewID()
	b.config.SMPPCredentials["acme"] = &snapshot.SMPPCredential{ID: credential, AccountID: b.account, SystemID: "acme"}
	b.goes("", store)
	b.goes("+12025550143", hook, esme, inbox, store, message.Place{Method: message.InboundMM4})
	p := b.planned(t)
	var states []message.InboundState
	for _, d := range p {
		states = append(states, d.State)
	}
	if !slices.Equal(states, []message.InboundState{message.InboundPending, message.InboundPending, message.InboundPending, message.InboundStored, message.InboundFailed}) {
		t.Fatalf("%v", states)
	}
	n := p[0].Notifications[0]
	if n.URL != hook.URL || n.FailoverURL != hook.FailoverURL || n.Method != "PUT" || n.InboundRoute != p[0].RouteID || n.EndpointID != (message.ID{}) || n.InboundPosition != 1 {
		t.Errorf("%+v", n)
	}
	if p[1].Credential != credential || p[2].Email != inbox.Email {
		t.Errorf("%+v", p)
	}
	other := setup(t)
	other.goes("", inbox)
	if p := other.planned(t); len(p) != 1 || p[0].Method != message.InboundEmail {
		t.Errorf("the account's: %+v", p)
	}
}

// What cannot be delivered is stored or has failed, and never somebody else's.
func TestPlanOthers(t *testing.T) {
	b := setup(t)
	b.config.SMPPCredentials["acme"] = &snapshot.SMPPCredential{ID: message.NewID(), AccountID: message.NewID(), SystemID: "acme"}
	b.goes("+12025550143", esme)
	if p := b.planned(t); p[0].State != message.InboundFailed || p[0].Credential != (message.ID{}) {
		t.Errorf("another account's ESME: %+v", p)
	}
	b = setup(t)
	b.goes("+12025550143", hook)
	b.message.AccountID = message.NewID() // it is another's by now
	if p := b.planned(t); p[0].Method != message.InboundStorage {
		t.Errorf("an earlier owner's: %+v", p)
	}
	b = setup(t)
	b.goes("+12025550143", hook)
	b.config.Destinations.Of(b.account, "+12025550143")[0].Active = false
	if p := b.planned(t); p[0].State != message.InboundStored {
		t.Errorf("switched off: %+v", p)
	}
	b = setup(t)
	b.goes("+12025550143", hook)
	b.config.Accounts[b.account].Status = snapshot.AccountSuspended
	if p := b.planned(t); p[0].State != message.InboundStored {
		t.Errorf("suspended: %+v", p)
	}
}

// The body is that of the contract, and has its limit.
func TestPayload(t *testing.T) {
	b := setup(t)
	b.goes("+12025550143", hook)
	b.message.Keyword, b.message.Complete = "HELP", false
	var e struct {
		Type string
		Data map[string]any
	}
	if err := json.Unmarshal([]byte(b.planned(t)[0].Notifications[0].Payload), &e); err != nil || e.Type != "message.received" {
		t.Fatal(err, e)
	}
	for name, want := range map[string]any{"from": "+13105550117", "to": "+12025550143", "body": "Where is it?", "message_id": b.message.ID.String(), "type": "sms",
		"segments": 1.0, "complete": false, "keyword": "HELP", "tag": "support", "group": nil} {
		if got, ok := e.Data[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, unit := range []string{"a", "<", "é", "😀", "\u2028"} {
		b := setup(t)
		b.goes("+12025550143", hook)
		b.message.Body = strings.Repeat(unit, 39_000/len(unit))
		p := b.planned(t)[0].Notifications[0].Payload
		var long struct {
			Data struct {
				Body      string
				Truncated bool
			}
		}
		if err := json.Unmarshal([]byte(p), &long); err != nil || len(p) > notification.MaxPayload || len(p) < notification.MaxPayload-300 || !long.Data.Truncated ||
			!utf8.ValidString(long.Data.Body) || !strings.HasPrefix(b.message.Body, long.Data.Body) {
			t.Errorf("%q: %d octets, truncated %v, %v", unit, len(p), long.Data.Truncated, err)
		}
	}
	b = setup(t)
	b.goes("+12025550143", hook)
	b.message.Encoding = message.EncodingBinary
	if p := b.planned(t)[0].Notifications[0].Payload; !strings.Contains(p, `"body":null`) {
		t.Error(p)
	}
}

// A plan that was made before holds, and tells what is left of it.
func TestPlanAgain(t *testing.T) {
	b := setup(t)
	b.goes("+12025550143", hook)
	b.config.Destinations.Of(b.account, "+12025550143")[0].Fallback = &message.Fallback{AfterSeconds: 60, Place: inbox}
	first := b.planned(t)[0].Notifications[0].ID
	b.config.Destinations = snapshot.Destinations{}
	b.plan[0].CreatedAt = b.clock
	b.plan = append(b.plan, message.InboundPlanned{InboundDelivery: message.InboundDelivery{Position: 101}})
	plan, err := b.PlanInbound(t.Context(), Input{MessageID: b.message.ID})
	if err != nil || len(plan.Destinations) != 1 || plan.Destinations[0].Webhooks[0] != first || !plan.Destinations[0].Fallback ||
		!plan.Destinations[0].After.Equal(b.clock.Add(time.Minute)) {
		t.Errorf("%+v, %v", plan, err)
	}
	b.down = errors.New("the database is away")
	if _, err := b.PlanInbound(t.Context(), Input{MessageID: b.message.ID}); err == nil {
		t.Error("no error")
	}
}

func TestFallBack(t *testing.T) {
	b := setup(t)
	b.goes("+12025550143", hook)
	b.config.Destinations.Of(b.account, "+12025550143")[0].Fallback = &message.Fallback{AfterSeconds: 60, Place: inbox}
	b.planned(t)
	p, err := b.Activities.FallBack(t.Context(), Input{MessageID: b.message.ID, Position: 1})
	if err != nil || p == nil || p.Position != 101 || p.Method != message.InboundEmail || !p.Pending || p.Fallback {
		t.Errorf("%+v, %v", p, err)
	}
	if b.plan[1].Email != inbox.Email {
		t.Errorf("%+v", b.plan)
	}
	if p, err := b.Activities.FallBack(t.Context(), Input{MessageID: b.message.ID, Position: 2}); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	b.plan = b.plan[:1]
	b.plan[0].State = message.InboundDelivered
	if p, err := b.Activities.FallBack(t.Context(), Input{MessageID: b.message.ID, Position: 1}); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

// temporary is a relay that puts a mail off.
func temporary(t *testing.T) error {
	t.Helper()
	r, err := email.Parse("127.0.0.1:1", "gateway@postrider.example", nil) // nobody listens on tcpmux
	if err != nil {
		t.Fatal(err)
	}
	sent := r.Send(t.Context(), email.Mail{To: "a@b.example"})
	if !email.Temporary(sent) {
		t.Fatal(sent)
	}
	return sent
}

func TestSendMail(t *testing.T) {
	b := setup(t)
	b.goes("+12025550143", inbox)
	b.planned(t)
	b.plan[0].CreatedAt = b.clock
	in := Input{MessageID: b.message.ID, Position: 1}
	b.mailer.says = temporary(t)
	err := b.SendMail(t.Context(), in)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.NextRetryDelay() < 20*time.Second || b.plan[0].State != message.InboundPending || b.plan[0].LastError == "" {
		t.Errorf("put off: %v, %+v", err, b.plan[0])
	}
	b.mailer.says = nil
	if err := b.SendMail(t.Context(), in); err != nil || b.plan[0].State != message.InboundDelivered {
		t.Errorf("%v, %+v", err, b.plan[0])
	}
	m := b.mailer.mails[1]
	if !reflect.DeepEqual(m, b.mailer.mails[0]) || m.ID != message.Hex32(b.message.ID) || m.To != inbox.Email || m.Body != "Where is it?" || m.From != "+13105550117" || m.Tag != "support" {
		t.Errorf("%+v", m)
	}
	if err := b.SendMail(t.Context(), in); err != nil || len(b.mailer.mails) != 2 {
		t.Errorf("it is sent again: %v", err)
	}
}

func TestSendMailFails(t *testing.T) {
	in := func(b *bundle) Input { return Input{MessageID: b.message.ID, Position: 1} }
	for name, shape := range map[string]func(*bundle){
		"refused":  func(b *bundle) { b.mailer.says = errors.New("550") },
		"no relay": func(b *bundle) { b.Mailer = nil },
		"too late": func(b *bundle) { b.mailer.says, b.clock = temporary(t), b.clock.Add(mailFor) },
	} {
		b := setup(t)
		b.goes("+12025550143", inbox)
		b.planned(t)
		b.plan[0].CreatedAt = b.clock
		shape(b)
		if err := b.SendMail(t.Context(), in(b)); err != nil || b.plan[0].State != message.InboundFailed || b.plan[0].LastError == "" {
			t.Errorf("%s: %v, %+v", name, err, b.plan[0])
		}
	}
	b := setup(t)
	b.goes("+12025550143", inbox)
	b.planned(t)
	if err := b.GiveUpMail(t.Context(), in(b)); err != nil || b.plan[0].State != message.InboundFailed {
		t.Errorf("%v, %+v", err, b.plan[0])
	}
	b.message.Complete, b.message.Encoding = false, message.EncodingBinary
	if m := mailOf(b.message, b.plan[0].InboundDelivery, b.config, nil, 0); strings.Contains(m.Body, "Where") || !strings.Contains(m.Body, "never came") {
		t.Errorf("%q", m.Body)
	}
}
