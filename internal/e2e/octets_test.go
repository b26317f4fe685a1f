package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// arrived is what the simulator tells of a message.
type arrived struct {
	DataCoding byte   `json:"data_coding"`
	Octets     string `json:"octets"`
	Header     string `json:"header"`
	Text       string `json:"text"`
	Parts      int    `json:"parts"`
	TLVs       []struct{ Tag, Value string }
}

// arrival is the one message that the vendor has for a destination.
func (s *system) arrival(to string) arrived {
	s.tb.Helper()
	var list []arrived
	s.until("it arrives at "+to, func() bool {
		list = nil
		s.smscGet("/messages?destination="+url.QueryEscape(to), &list)
		return len(list) > 0
	})
	if len(list) != 1 {
		s.tb.Fatalf("%d messages for %s", len(list), to)
	}
	return list[0]
}

// sql connects to the database, as an operator does, until the test ends.
func (s *system) sql() *pgx.Conn {
	s.tb.Helper()
	if s.shell == nil {
		ctx, pg := stacktest.Context(s.tb), s.postgres.Server()
		conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://%s:%s@/postrider?host=%s&port=%d", url.PathEscape(pg.User), url.PathEscape(pg.Password), url.QueryEscape(pg.Host), pg.Port))
		if err != nil {
			s.tb.Fatal(err)
		}
		s.tb.Cleanup(func() { _ = conn.Close(context.Background()) })
		s.shell = conn
	}
	return s.shell
}

// alter changes something in SQL.
func (s *system) alter(sql string, args ...any) {
	s.tb.Helper()
	if _, err := s.sql().Exec(stacktest.Context(s.tb), sql, args...); err != nil {
		s.tb.Fatal(err)
	}
}

// number reads one from the database.
func (s *system) number(sql string, args ...any) (n int) {
	s.tb.Helper()
	if err := s.sql().QueryRow(stacktest.Context(s.tb), sql, args...).Scan(&n); err != nil {
		s.tb.Fatal(err)
	}
	return n
}

// TestOctets: what a customer sends that is no text arrives octet for octet with its
// ports and class, and an optional parameter arrives once the vendor's row allows it.
func TestOctets(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := s.newESME()
	e.rebind(smpp.ModeTransceiver, s.smppPort)
	ctx := stacktest.Context(t)
	var ids []string
	send := func(i int, change func(m *smpp.SubmitSM)) string {
		t.Helper()
		m := submission(destination(i), "")
		change(m)
		resp, err := e.session.Submit(ctx, m)
		if err != nil {
			t.Fatalf("submit %d: %v", i, err)
		}
		ids = append(ids, resp.MessageID)
		return resp.MessageID
	}

	push := make([]byte, 127)
	for i := range push {
		push[i] = byte(255 - i)
	}
	id := send(1, func(m *smpp.SubmitSM) {
		m.DataCoding, m.ESMClass = 0xF5, smpp.ESMUDHI
		m.ShortMessage = append([]byte("\x06\x05\x04\x0B\x84\x23\xF0"), push...)
		m.TLVs.Add(0x1403, []byte("not yet"))
	})
	if got := s.arrival(destination(1)); got.Octets != hex.EncodeToString(push) || got.Header != "05040b8423f0" || got.DataCoding != 0xF5 || len(got.TLVs) != 0 {
		t.Errorf("arrived as %+v", got)
	}
	if r := s.get(messageID(t, id).String()); r.Encoding != "binary" || r.Body != "" || r.Segments != 1 {
		t.Errorf("shown as %+v", r)
	}

	// Two parts, for ports, as octets that are neither text nor whole before.
	for n := range byte(2) {
		send(2, func(m *smpp.SubmitSM) {
			m.DataCoding, m.ESMClass = 4, smpp.ESMUDHI
			m.ShortMessage = append([]byte{0x0B, 0, 3, 9, 2, n + 1, 5, 4, 0x0B, 0x84, 0x23, 0xF0}, push...)
		})
	}
	if got, want := s.arrival(destination(2)), hex.EncodeToString(push); got.Octets != want+want || got.Header != "05040b8423f0" || got.DataCoding != 4 || got.Parts != 2 {
		t.Errorf("arrived as %+v", got)
	}

	send(3, func(m *smpp.SubmitSM) { m.DataCoding, m.ShortMessage = 0xF0, []byte("now") })
	if got := s.arrival(destination(3)); got.Text != "now" || got.DataCoding != 0xF0 {
		t.Errorf("flash arrived as %+v", got)
	}

	s.alter("update vendors set pass_tlvs = '{5123}' where id = $1", s.vendor)
	s.until("the link is made anew", func() bool {
		var stats struct{ Sessions, Binds int }
		s.smscGet("/stats", &stats)
		return stats.Binds == 2 && stats.Sessions == 1
	})
	send(4, func(m *smpp.SubmitSM) {
		m.ShortMessage = []byte("hello")
		m.TLVs.Add(0x1403, []byte{1, 2})
		m.TLVs.Add(0x1404, []byte{3})
	})
	if got := s.arrival(destination(4)); got.Text != "hello" || fmt.Sprint(got.TLVs) != "[{1403 0102}]" {
		t.Errorf("arrived as %+v", got)
	}
	e.wantReceipts(ids)

	// With no SMPP vendor there is nowhere to go.
	s.alter("update vendors set provider_type = 'twilio' where id = $1", s.vendor)
	s.until("binary is refused", func() bool {
		m := submission(destination(5), "")
		m.DataCoding, m.ShortMessage = 4, []byte{0}
		_, err := e.session.Submit(ctx, m)
		refused, ok := err.(*smpp.StatusError)
		return ok && refused.Status == smpp.StatusOf(message.ReasonEncodingMismatch)
	})
	e.unbind()
}
