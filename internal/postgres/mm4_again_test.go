package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// A request that comes again has its response sent again, as it is now.
func TestMM4ResponseAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	owed := 0
	b.OnMM4Owed(func() { owed++ })
	owe := func(m message.MM4Mail) {
		t.Helper()
		if err := b.OweMM4(b.ctx, []message.MM4Mail{m, m}); err != nil {
			t.Fatal(err)
		}
	}
	first := response(p.ID, "a\xff")
	owe(first)
	due := b.mails(b.DB, "one")
	if len(due) != 1 || fmt.Sprint(due[0].Response) != fmt.Sprint(first.Response) || due[0].TransactionID != "a\xff" || due[0].Kind != message.MM4ForwardRES {
		t.Fatalf("%+v", due)
	}
	if b.mailTried("one", due[0].ID, message.MM4MailResult{State: message.MM4MailSent}); b.mailStates() != "forward_res  sent 1" || owed != 1 {
		t.Errorf("%s, told %d times", b.mailStates(), owed)
	}
	second := first
	second.Response.Status = "Error-service-denied"
	owe(second)
	again := b.mails(b.DB, "two")
	if len(again) != 1 || again[0].ID != due[0].ID || again[0].Response.Status != "Error-service-denied" || again[0].Attempts != 0 || owed != 2 {
		t.Fatalf("%+v, told %d times", again, owed)
	}
	// Another place in the same answer, another request, another peer: others.
	third := first
	third.Ordinal = 1
	owe(third)
	owe(response(p.ID, "b"))
	owe(response(b.mmsc("other").ID, "b"))
	if n := b.count("select count(*) from mm4_mails"); n != 4 {
		t.Errorf("%d rows", n)
	}
	// Who moves the octets to another place reads nothing.
	b.exec("update mm4_mails set response = (select response from mm4_mails where id = $1) where id <> $1", due[0].ID)
	if list, err := b.MM4MailsDue(b.ctx, "one", 10); err == nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := b.OweMM4(b.ctx, []message.MM4Mail{{PeerID: p.ID, Kind: message.MM4DeliveryReport}}); err == nil {
		t.Error("a report was owed that tells of no status")
	}
}

// What is on its way may be with the peer already when its request comes again: it goes
// once more, however its try ends.
func TestMM4ResponseAgainWhileSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	owed := 0
	b.OnMM4Owed(func() { owed++ })
	r := response(p.ID, "a")
	owe := func() {
		t.Helper()
		if err := b.OweMM4(b.ctx, []message.MM4Mail{r}); err != nil {
			t.Fatal(err)
		}
	}
	claims := func(instance string, want int) message.ID {
		t.Helper()
		list := b.mails(b.DB, instance)
		if len(list) != want {
			t.Fatalf("%s got %+v, want %d", instance, list, want)
		}
		if want == 0 {
			return message.ID{}
		}
		return list[0].ID
	}
	told := func(want int) {
		t.Helper()
		if owed != want {
			t.Errorf("told %d times, want %d", owed, want)
		}
	}
	sent := message.MM4MailResult{State: message.MM4MailSent, Code: "250 2.0.0"}
	owe()
	id := claims("one", 1)
	for _, ends := range []message.MM4MailState{message.MM4MailSent, message.MM4MailFailed} {
		owed = 0
		r.Response.Text = "as it is after " + string(ends)
		owe()
		claims("two", 0) // nobody sends it beside the first
		b.mailTried("one", id, message.MM4MailResult{State: ends})
		told(2)
		if got := b.mailStates(); got != "forward_res  pending 0" {
			t.Errorf("%s: %s", ends, got)
		}
		b.mailTried("one", id, message.MM4MailResult{State: ends}) // it did not hear that it was recorded
		owe()                                                      // and once more, with nobody at it
		b.mailTried("one", id, message.MM4MailResult{State: ends})
		if list := b.mails(b.DB, "one"); len(list) != 1 || list[0].Response.Text != r.Response.Text || list[0].Attempts != 0 {
			t.Fatalf("%s: %+v", ends, list)
		}
	}
	// A try that is made again answers the repetition as well.
	owe()
	b.mailTried("one", id, message.MM4MailResult{State: message.MM4MailPending, Next: time.Minute})
	claims("one", 0)
	b.exec("update mm4_mails set due_at = now()")
	claims("one", 1)
	b.mailTried("one", id, sent)
	if got := b.mailStates(); got != "forward_res  sent 2" {
		t.Error(got)
	}
	// So does the try of who comes after a claim that has lapsed.
	owe()
	claims("one", 1)
	b.exec("update mm4_mails set due_at = now()")
	owe()
	claims("two", 1)
	b.mailTried("two", id, sent)
	if got := b.mailStates(); got != "forward_res  sent 1" {
		t.Error(got)
	}
	b.sound()
}
