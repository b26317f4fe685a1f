package rest

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// door is the door to the office's database, without Temporal behind it.
func (o *office) door() *ingress.Ingress {
	return &ingress.Ingress{Journal: o.db, Snapshot: o.snapshot, Log: slog.New(slog.DiscardHandler), Now: time.Now}
}

const (
	nobodys = "+12025550177"
	sold    = "+12025550178" // the customer's, since a while
)

// own gives the customer its number.
func (o *office) own(number message.Address) {
	o.t.Helper()
	if o.count("select count(*) from numbers where number = $1", string(number)) > 0 {
		return
	}
	if err := o.db.CreateNumber(o.ctx, shellActor, snapshot.Number{Number: number, AccountID: o.customer, Type: snapshot.LongCode, SMSEnabled: true}); err != nil {
		o.t.Fatal(err)
	}
}

// stray is a message from a handset that came when its number was nobody's.
func (o *office) stray(to message.Address, text string) message.ID {
	o.t.Helper()
	a := message.Arrival{ID: message.NewID(), Sender: "+13105550117", Number: to,
		InboundMessage: message.InboundMessage{VendorID: message.NewID(), VendorRef: message.NewID().String(), Text: text, Encoding: message.EncodingGSM7, ReceivedAt: time.Now()}}
	if _, err := o.db.Inbound(o.ctx, a); err != nil {
		o.t.Fatal(err)
	}
	return a.ID
}

func aboutUnrouted(suffix string) func(*office) (string, string) {
	return func(o *office) (string, string) {
		o.own(sold)
		return unroutedPath + strings.Replace(suffix, "{id}", o.stray(sold, "where is it?").String(), 1), ""
	}
}

// strayReceipt is a message that the vendor has, and a receipt of it under an id that
// the vendor never said.
func (o *office) strayReceipt() (receipt, id message.ID) {
	o.t.Helper()
	m := o.message(nil)
	vendor := message.VendorRef{ID: message.NewID(), Name: "north"}
	for _, c := range []message.Change{
		{MessageID: m.ID, To: message.StatusQueued, Vendor: vendor, Started: true},
		{MessageID: m.ID, To: message.StatusSending, Attempts: []message.Attempt{{Part: 1, Number: 1, Vendor: vendor, Instance: "one"}}},
		{MessageID: m.ID, To: message.StatusSent, Submitted: true, Answers: []message.Answer{{Part: 1, Attempt: 1, State: message.PartSubmitted, VendorMessageID: "A1", NormalizedID: "a1"}}},
	} {
		if _, err := o.db.Advance(o.ctx, c); err != nil {
			o.t.Fatal(err)
		}
	}
	r := message.Receipt{ID: message.NewID(), VendorID: vendor.ID, VendorMessageID: "b2", State: message.ReceiptDelivered, Err: "000", Source: "13105550117", Destination: "12025550143",
		ReceivedAt: time.Now()}
	if out, err := o.db.Receipt(o.ctx, r); err != nil || out.Known {
		o.t.Fatalf("%+v, %v", out, err)
	}
	return r.ID, m.ID
}

func aboutStrayReceipt() func(*office) (string, string) {
	return func(o *office) (string, string) {
		receipt, id := o.strayReceipt()
		return receiptPath + "/" + receipt.String() + "/match", `{"message_id":"` + id.String() + `"}`
	}
}

func TestUnroutedOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleSupport)
	o.own(sold)
	lost, found, also := o.stray(nobodys, "who are you?"), o.stray(sold, "where is it?"), o.stray(sold, "hello?")
	rows := o.do("GET", unroutedPath+"?limit=2", "", by).json(t)
	data := rows["data"].([]any)
	first := data[0].(map[string]any)
	if len(data) != 2 || rows["next_cursor"] == nil || first["id"] != also.String() || first["body"] != "hello?" || first["to"] != sold || first["from"] != "+13105550117" ||
		first["complete"] != true || first["segments"] != 1.0 || first["repeat_of"] != nil || first["vendor"] != nil || first["why"] != "assigned" || first["account_id"] != o.customer.String() {
		t.Fatalf("%+v", rows)
	}
	rest := o.do("GET", unroutedPath+"?limit=2&cursor="+rows["next_cursor"].(string), "", by).json(t)
	if data := rest["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != lost.String() || rest["next_cursor"] != nil {
		t.Errorf("%+v", rest)
	}
	if data := o.do("GET", unroutedPath+"?to="+strings.TrimPrefix(nobodys, "+"), "", o.by(snapshot.RoleViewer)).json(t)["data"].([]any); len(data) != 1 ||
		data[0].(map[string]any)["id"] != lost.String() || data[0].(map[string]any)["body"] != nil || data[0].(map[string]any)["why"] != "nobody" || data[0].(map[string]any)["account_id"] != nil {
		t.Errorf("to one number: %+v", data)
	}
	const dumb = "+12025550179" // owned, and enabled for nothing
	if err := o.db.CreateNumber(o.ctx, shellActor, snapshot.Number{Number: dumb, AccountID: o.customer, Type: snapshot.LongCode}); err != nil {
		t.Fatal(err)
	}
	off := o.stray(dumb, "anybody?")
	if data := o.do("GET", unroutedPath+"?to=%2B"+dumb[1:], "", by).json(t)["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != off.String() || data[0].(map[string]any)["why"] != "not_enabled" {
		t.Errorf("to a number that is not enabled: %+v", data)
	}
	wantProblem(t, o.do("POST", unroutedPath+"/"+off.String()+"/redrive", "", by), 409, message.ReasonConflict)
	wantProblem(t, o.do("POST", unroutedPath+"/"+lost.String()+"/redrive", "", by), 409, message.ReasonConflict)
	wantProblem(t, o.do("POST", unroutedPath+"/"+message.NewID().String()+"/redrive", "", by), 404, message.ReasonNotFound)
	if r := o.do("POST", unroutedPath+"/"+found.String()+"/redrive", "", by); r.StatusCode != 200 || r.json(t)["message_id"] != found.String() {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("POST", unroutedPath+"/"+found.String()+"/redrive", "", by), 404, message.ReasonNotFound)
	m, err := o.db.WholeMessage(o.ctx, found)
	if err != nil || m.AccountID != o.customer || m.Direction != message.Inbound || m.Body != "where is it?" || m.Status != message.StatusAccepted ||
		o.count("select count(*) from inbound_starts where message_id = $1", found) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if got := o.audited(found.String()); len(got) != 1 || got[0] != "support@gw.example support inbound.redrive 127.0.0.1" {
		t.Errorf("audit: %q", got)
	}
	for _, tt := range []struct {
		body       string
		taken, not float64
	}{{`{"number":"` + nobodys + `"}`, 0, 1}, {"", 1, 2}, {`{"after":"` + off.String() + `"}`, 0, 0}} {
		r := o.do("POST", unroutedPath+"/redrive", tt.body, by)
		if got := r.json(t); r.StatusCode != 200 || got["redriven"] != tt.taken || got["left"] != tt.not || got["next_after"] != nil {
			t.Errorf("%s: %d %s", tt.body, r.StatusCode, r.body)
		}
	}
	for body, field := range map[string]string{`{"number":"<x>"}`: "body.number", `{"after":"x"}`: "body.after", `{"all":true}`: "body.all"} {
		if r := o.do("POST", unroutedPath+"/redrive", body, by); r.StatusCode != 422 || !strings.Contains(string(r.body), field) {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
}

func TestReceiptsMatchedOverTheAPI(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	by := o.by(snapshot.RoleSupport)
	receipt, id := o.strayReceipt()
	data := o.do("GET", receiptPath+"/unmatched", "", by).json(t)["data"].([]any)
	if len(data) != 1 {
		t.Fatalf("%+v", data)
	}
	if r := data[0].(map[string]any); r["id"] != receipt.String() || r["vendor_message_id"] != "b2" || r["state"] != "DELIVRD" || r["from"] != "12025550143" || r["to"] != "13105550117" || r["done_at"] != nil {
		t.Errorf("%+v", r)
	}
	if r := o.do("GET", receiptPath+"/"+receipt.String(), "", by); r.StatusCode != 200 || r.json(t)["vendor_message_id"] != "b2" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	path := receiptPath + "/" + receipt.String() + "/match"
	for body, want := range map[string]int{
		`{}`: 422, `{"message_id":"x"}`: 422, `{"message_id":"` + id.String() + `","part":0}`: 422, `{"message_id":"` + id.String() + `","part":2}`: 404,
		`{"message_id":"` + message.NewID().String() + `"}`: 404,
	} {
		if r := o.do("POST", path, body, by); r.StatusCode != want {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	wantProblem(t, o.do("POST", receiptPath+"/"+message.NewID().String()+"/match", `{"message_id":"`+id.String()+`"}`, by), 404, message.ReasonNotFound)
	_, other := o.strayReceipt()
	wantProblem(t, o.do("POST", path, `{"message_id":"`+other.String()+`"}`, by), 409, message.ReasonConflict)
	if r := o.do("POST", path, `{"message_id":"`+id.String()+`","part":1}`, by); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	wantProblem(t, o.do("POST", path, `{"message_id":"`+id.String()+`"}`, by), 409, message.ReasonConflict)
	wantProblem(t, o.do("GET", receiptPath+"/"+receipt.String(), "", by), 404, message.ReasonNotFound)
	m, err := o.db.WholeMessage(o.ctx, id)
	if err != nil || m.Settled != 1 || m.Parts[0].State != message.PartDelivered || o.count("select count(*) from settlements_due where message_id = $1", id) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if got := o.audited(receipt.String()); len(got) != 1 || got[0] != "support@gw.example support receipt.match 127.0.0.1" {
		t.Errorf("audit: %q", got)
	}
}
