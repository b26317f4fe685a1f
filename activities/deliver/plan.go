package deliver

import (
	"math/rand/v2"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/snapshot"
)

// planOf says where a message goes: to the active destinations of its number or else
// of its account; to the account's endpoints that want such events if nothing is set;
// and to the store if there is nobody to be told.
func planOf(s *snapshot.Snapshot, m message.Received) ([]message.InboundPlanned, error) {
	stored := []message.InboundPlanned{{InboundDelivery: message.InboundDelivery{Position: 1, Method: message.InboundStorage, State: message.InboundStored}}}
	account := s.Accounts[m.AccountID]
	if account == nil || account.Status != snapshot.AccountActive {
		return stored, nil
	}
	list := s.Destinations.Of(m.AccountID, m.To)
	if len(list) == 0 {
		if !endpointsWant(s, m.AccountID) {
			return stored, nil
		}
		list = []*message.Destination{{AccountID: m.AccountID, Position: 1, Place: message.Place{Method: message.InboundWebhook}, Active: true}}
	}
	var out []message.InboundPlanned
	for _, d := range list {
		if !d.Active {
			continue
		}
		p, err := planOne(s, m, *d)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return stored, nil
	}
	return out, nil
}

func endpointsWant(s *snapshot.Snapshot, account message.ID) bool {
	for _, e := range s.Endpoints[account] {
		if notification.Wants(e, notification.MessageReceived) {
			return true
		}
	}
	return false
}

// planOne says what has to be done for one destination.
func planOne(s *snapshot.Snapshot, m message.Received, d message.Destination) (message.InboundPlanned, error) {
	p := message.InboundPlanned{InboundDelivery: message.InboundDelivery{Position: d.Position, Method: d.Method, State: message.InboundPending,
		RouteID: d.ID, Fallback: d.Fallback}}
	fail := func(why string) { p.State, p.LastError = message.InboundFailed, why }
	switch d.Method {
	case message.InboundStorage:
		p.State = message.InboundStored
	case message.InboundEmail:
		p.Email = d.Email
	case message.InboundMM4:
		if s.MM4PeerOf(m.AccountID) == nil {
			fail(errNoPeer.Error())
		}
	case message.InboundSMPP:
		if c := s.SMPPCredentials[d.SystemID]; c != nil && c.AccountID == m.AccountID {
			p.Credential = c.ID
		} else {
			fail("the account has no SMPP credential " + d.SystemID)
		}
	case message.InboundWebhook:
		list, err := webhooks(s, m, d)
		if err != nil {
			return p, err
		}
		if p.Notifications = list; len(list) == 0 {
			p.State = message.InboundStored // no endpoint asks for it
		}
	default:
		fail(string(d.Method) + " is not served")
	}
	return p, nil
}

// webhooks are the events of one destination: to its URL, or to the endpoints of the
// account that want them. It is one event wherever it goes, so its id is the
// message's.
func webhooks(s *snapshot.Snapshot, m message.Received, d message.Destination) ([]message.Notification, error) {
	number := numberOf(s, m)
	base := message.Notification{EventID: m.ID, AccountID: m.AccountID, MessageID: m.ID, InboundPosition: d.Position}
	var out []message.Notification
	add := func(n message.Notification, format string) error {
		n.ID = message.NewID()
		n, err := notification.OfReceived(n, m, number, format)
		out = append(out, n)
		return err
	}
	if d.URL != "" {
		n := base
		n.URL, n.FailoverURL, n.InboundRoute, n.Method, n.Retries = d.URL, d.FailoverURL, d.ID, d.HTTPMethod, d.Retries
		err := add(n, d.Format)
		return out, err
	}
	for _, e := range s.Endpoints[m.AccountID] {
		if !notification.Wants(e, notification.MessageReceived) {
			continue
		}
		n := base
		n.URL, n.FailoverURL, n.EndpointID, n.Retries = e.URL, e.FailoverURL, e.ID, d.Retries
		if err := add(n, e.Format); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// numberOf is the account's number that the message came to; nil: it is its own no more.
func numberOf(s *snapshot.Snapshot, m message.Received) *snapshot.Number {
	if n := s.Numbers[m.To]; n != nil && n.AccountID == m.AccountID {
		return n
	}
	return nil
}

// said is what the event of the message says of its number.
func said(s *snapshot.Snapshot, m message.Received) string {
	n := numberOf(s, m)
	if n == nil {
		return ""
	}
	return message.SaidOfNumber(n.Tag, n.Group)
}

// mailGaps lie between the tries of an e-mail; the last goes on.
var mailGaps = [...]time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}

// again asks for another try after so many that were made before this one. The relay
// being away is expected: no error of ours.
func again(made int) error {
	gap := mailGaps[min(made, len(mailGaps)-1)]
	return temporal.NewApplicationErrorWithOptions("the relay did not take the e-mail", "email_pending",
		temporal.ApplicationErrorOptions{NextRetryDelay: time.Duration(float64(gap) * (0.8 + 0.2*rand.Float64())), Category: temporal.ApplicationErrorCategoryBenign})
}
