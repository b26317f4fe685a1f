package deliver

import (
	"context"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/webhook"
)

// Tester tries the destinations of a number with a message that nobody sent. It writes
// nothing. Safe for concurrent use.
type Tester struct {
	Snapshot func() *snapshot.Snapshot
	Sender   interface {
		Send(ctx context.Context, r webhook.Request) webhook.Result
	}
	Mailer Mailer // nil: there is no relay
	Peers  Peers  // nil: nothing goes over MM4
	Now    func() time.Time
}

// testSender is who has not written: a number that is nobody's.
const testSender message.Address = "+12025550100"

// Test tries each destination once, in order.
func (t *Tester) Test(ctx context.Context, account message.ID, number message.Address) []message.DestinationTest {
	s, now := t.Snapshot(), t.Now()
	m := message.Received{Complete: true, ReceivedAt: now, Message: &message.Message{ID: message.NewID(), AccountID: account, Direction: message.Inbound, Kind: message.SMS,
		From: testSender, To: number, Body: "This is a test of the number's settings. Nobody sent it.", Encoding: message.EncodingGSM7, Segments: 1}}
	plan, err := planOf(s, m)
	if err != nil {
		return []message.DestinationTest{{Position: 1, Detail: "the message could not be made"}}
	}
	out := make([]message.DestinationTest, 0, len(plan))
	for _, p := range plan {
		began := t.Now()
		r := t.try(ctx, s, m, p)
		r.Position, r.Method, r.Took = p.Position, p.Method, t.Now().Sub(began)
		out = append(out, r)
	}
	return out
}

func (t *Tester) try(ctx context.Context, s *snapshot.Snapshot, m message.Received, p message.InboundPlanned) message.DestinationTest {
	switch {
	case p.State == message.InboundFailed:
		return message.DestinationTest{Detail: p.LastError}
	case p.State == message.InboundStored:
		return message.DestinationTest{OK: true, Detail: "it is stored"}
	case p.Method == message.InboundSMPP:
		return message.DestinationTest{OK: true, Detail: "it goes to who is bound, or waits"}
	case p.Method == message.InboundMM4 && t.Peers == nil:
		return message.DestinationTest{Detail: errNoMM4.Error()}
	case p.Method == message.InboundMM4:
		peer := s.MM4PeerOf(m.AccountID) // the plan has found one in the same snapshot
		if err := t.Peers.Send(ctx, peer, m.ID, p.Position, forwardOf(m)); err != nil {
			return message.DestinationTest{Detail: err.Error()}
		}
		return message.DestinationTest{OK: true, Detail: "the peer has it"}
	case p.Method == message.InboundEmail && t.Mailer == nil:
		return message.DestinationTest{Detail: "no e-mail relay is configured"}
	case p.Method == message.InboundEmail:
		if err := t.Mailer.Send(ctx, mailOf(m, p.InboundDelivery, s, nil, 0)); err != nil {
			return message.DestinationTest{Detail: err.Error()}
		}
		return message.DestinationTest{OK: true, Detail: "the relay has it"}
	}
	for _, n := range p.Notifications {
		r := t.Sender.Send(ctx, webhook.Request{URL: n.URL, Method: n.Method, Body: []byte(message.Filled(n.Payload, 0, m.ReceivedAt)), EventID: n.EventID.String(), Secret: secretOf(s, n)})
		if r.Outcome() != webhook.Delivered {
			detail := "HTTP " + strconv.Itoa(r.HTTPStatus)
			if r.Err != nil {
				detail = r.Err.Error()
			}
			return message.DestinationTest{Detail: detail}
		}
	}
	return message.DestinationTest{OK: true, Detail: "HTTP 2xx"}
}

// secretOf is what signs: the endpoint's secret, the destination's, or the account's.
func secretOf(s *snapshot.Snapshot, n message.Notification) string {
	for _, e := range s.Endpoints[n.AccountID] {
		if e.ID == n.EndpointID {
			return e.Secret
		}
	}
	if d := s.Destinations.ByID(n.InboundRoute); d != nil && d.WebhookSecret != "" {
		return d.WebhookSecret
	}
	return s.Accounts[n.AccountID].WebhookSecret
}
