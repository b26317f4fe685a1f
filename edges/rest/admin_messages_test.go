package rest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Who may read texts does, and the audit log has which; the others see everything
// else.
func TestTextsOfMessages(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	m, other := o.message(nil), o.message(nil)
	gone := o.message(nil)
	if _, err := o.conn.Exec(o.ctx, "update messages set body = null where id = $1", gone.ID); err != nil {
		t.Fatal(err)
	}
	doc := adminDocument(t)
	for _, role := range snapshot.Roles() {
		reads := strings.Contains(readers, string(role))
		r := o.do("GET", messagePath+"/"+message.Hex32(m.ID), "", o.by(role))
		doc.check("get", messagePath+"/{id}", r)
		if got := r.json(t); (got["body"] == "Your parcel is on its way") != reads || (got["body"] == nil) == reads || got["to"] != "+13105550117" {
			t.Errorf("%s reads %v", role, got["body"])
		}
		if strings.Contains(string(r.body), "parcel") != reads {
			t.Errorf("%s reads %s", role, r.body)
		}
		who := string(role) + "@gw.example " + string(role) + " message.read 127.0.0.1"
		if lines := o.audited(m.ID.String()); strings.Contains(strings.Join(lines, "\n"), who) != reads {
			t.Errorf("%s: the audit log has %v", role, lines)
		}
		// Of a list the log names each message whose text there was.
		before := o.last().ID
		r = o.do("GET", messagePath+"?account_id="+o.customer.String(), "", o.by(role))
		doc.check("get", messagePath, r)
		last := o.last()
		switch {
		case !reads:
			if strings.Contains(string(r.body), "parcel") || last.ID != before {
				t.Errorf("%s: %s, %+v", role, r.body, last)
			}
		case last.Action != "message.read" || fmt.Sprint(fields(t, last.After)["messages"]) != fmt.Sprint([]string{other.ID.String(), m.ID.String()}) &&
			fmt.Sprint(fields(t, last.After)["messages"]) != fmt.Sprint([]string{m.ID.String(), other.ID.String()}):
			t.Errorf("%s: the audit log says %s", role, last.After)
		}
		// Where there is no text, none was read.
		before = o.last().ID
		if r = o.do("GET", messagePath+"/"+gone.ID.String(), "", o.by(role)); r.StatusCode != 200 || o.last().ID != before {
			t.Errorf("%d, %+v", r.StatusCode, o.last())
		}
	}
}

// What cannot be noted is not shown.
func TestTextsAreNotShownWithoutTheAuditLog(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	m := o.message(nil)
	who := o.by(snapshot.RoleSupport)
	if _, err := o.conn.Exec(o.ctx, "alter table audit_log rename to lost"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{messagePath, messagePath + "/" + m.ID.String()} {
		r := o.do("GET", path, "", who)
		wantProblem(t, r, 500, message.ReasonInternal)
	}
	wantProblem(t, o.do("POST", messagePath+"/"+m.ID.String()+"/cancel", "", who), 500, message.ReasonInternal)
	if len(o.canceled) != 0 {
		t.Error("it was withdrawn all the same")
	}
}

// Staff see the operator's side of a message.
func TestMessageForStaff(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	m := o.message(nil)
	vendor := message.NewID()
	for _, sql := range []string{
		fmt.Sprintf("update messages set vendor_id = '%s', vendor_name = 'north', status = 'failed', reason = 'vendor_rejected', reason_detail = 'no' where id = '%s'", vendor, m.ID),
		fmt.Sprintf("insert into segments (message_id, part, attempt, vendor_id, vendor_name, instance, state, vendor_message_id, vendor_code, reason) values ('%s', 1, 2, '%s', 'north', 'i', 'refused', 'v-1', '0x0B', 'vendor_rejected')", m.ID, vendor),
	} {
		if _, err := o.conn.Exec(o.ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	got := o.do("GET", messagePath+"/"+m.ID.String(), "", o.by(snapshot.RoleSupport)).json(t)
	part := got["parts"].([]any)[0].(map[string]any)
	if got["account_id"] != o.customer.String() || got["vendor"] != "north" || got["workflow_url"] != "https://temporal.gw.example/"+m.ID.String() ||
		got["error"].(map[string]any)["vendor_code"] != "0x0B" || got["error"].(map[string]any)["code"] != "vendor_rejected" ||
		part["vendor_message_id"] != "v-1" || part["vendor"] != "north" || part["attempt"] != 2.0 || part["error"].(map[string]any)["vendor_code"] != "0x0B" {
		t.Errorf("%v", got)
	}
	for _, c := range []struct {
		query string
		want  int
	}{
		{"", 1}, {"?vendor=north", 1}, {"?vendor=" + vendor.String(), 1}, {"?vendor=south", 0}, {"?account_id=" + o.customer.String(), 1},
		{"?account_id=" + message.NewID().String(), 0}, {"?to=%2B13105550117", 1}, {"?status=failed", 1}, {"?status=sent", 0}, {"?error_code=vendor_rejected&limit=1", 1},
		{"?created_before=" + began.AddDate(0, 0, -1).Format(time.RFC3339), 0}, {"?created_after=" + began.Add(-time.Minute).Format(time.RFC3339), 1},
	} {
		r := o.do("GET", messagePath+c.query, "", o.by(snapshot.RoleViewer))
		if r.StatusCode != 200 || len(r.json(t)["data"].([]any)) != c.want {
			t.Errorf("%s: %d %s", c.query, r.StatusCode, r.body)
		}
	}
	for _, query := range []string{"?account_id=acme", "?vendor=%00", "?cursor=x", "?customer=1", "?status=gone", "?limit=201"} {
		wantProblem(t, o.do("GET", messagePath+query, "", o.by(snapshot.RoleViewer)), 422, message.ReasonInvalidRequest)
	}
}

// A list without anything that an index finds goes back to the oldest, page by page.
func TestMessagesOfAllAccounts(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	for i := range 5 {
		o.message(func(m *message.Message) {
			m.CreatedAt = began.Add(-time.Duration(i) * time.Hour)
			m.AccountID = message.NewID()
		})
	}
	old := o.message(func(m *message.Message) { m.CreatedAt = began.AddDate(0, 0, -8) })
	pages, path := 0, messagePath+"?limit=2"
	var seen []string
	for {
		r := o.do("GET", path, "", o.by(snapshot.RoleViewer)).json(t)
		for _, m := range r["data"].([]any) {
			seen = append(seen, m.(map[string]any)["id"].(string))
		}
		pages++
		if r["next_cursor"] == nil {
			break
		}
		path = messagePath + "?limit=2&cursor=" + r["next_cursor"].(string)
	}
	if len(seen) != 6 || pages != 3 || !strings.Contains(fmt.Sprint(seen), old.ID.String()) {
		t.Errorf("%d pages: %v", pages, seen)
	}
	for _, query := range []string{"?account_id=" + o.customer.String(), "?created_after=" + began.AddDate(0, 0, -9).Format(time.RFC3339), "?to=13105550117"} {
		if r := o.do("GET", messagePath+query, "", o.by(snapshot.RoleViewer)); !bytes.Contains(r.body, []byte(old.ID.String())) {
			t.Errorf("%s does not show the old one: %s", query, r.body)
		}
	}
}

func TestTimelineForStaff(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	m := o.message(nil)
	if _, err := o.conn.Exec(o.ctx, `insert into message_events (message_id, sequence, at, type, detail) values ($1, 2, now(), 'sending', '{"vendor": "north", "part": 1}')`, m.ID); err != nil {
		t.Fatal(err)
	}
	path := messagePath + "/" + m.ID.String() + "/events"
	r := o.do("GET", path+"?limit=1", "", o.by(snapshot.RoleViewer))
	adminDocument(t).check("get", messagePath+"/{id}/events", r)
	next, _ := r.json(t)["next_cursor"].(string)
	r = o.do("GET", path+"?cursor="+next, "", o.by(snapshot.RoleViewer))
	events := r.json(t)["data"].([]any)
	if len(events) != 1 || events[0].(map[string]any)["detail"].(map[string]any)["vendor"] != "north" {
		t.Errorf("%s", r.body)
	}
	for _, path := range []string{messagePath + "/x", messagePath + "/x/events", messagePath + "/" + message.NewID().String(), messagePath + "/" + message.NewID().String() + "/events"} {
		wantProblem(t, o.do("GET", path, "", o.by(snapshot.RoleViewer)), 404, message.ReasonNotFound)
	}
}

func TestCancelByStaff(t *testing.T) {
	t.Parallel()
	o := open(t, nil)
	m := o.message(nil)
	path := messagePath + "/" + m.ID.String() + "/cancel"
	r := o.do("POST", path, `{"reason":"asked for by phone"}`, o.by(snapshot.RoleSupport))
	adminDocument(t).check("post", messagePath+"/{id}/cancel", r)
	if r.StatusCode != 200 || r.json(t)["status"] != "canceled" || len(o.canceled) != 1 || o.canceled[0] != m.ID {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	lines, err := o.db.AuditLog(o.ctx, message.AuditFilter{Action: "message.cancel"}, 0, 5)
	if err != nil || len(lines) != 1 || lines[0].Target != m.ID.String() || fields(t, lines[0].After)["reason"] != "asked for by phone" || fields(t, lines[0].After)["account_id"] != o.customer.String() {
		t.Errorf("%+v, %v", lines, err)
	}
	o.cancel = message.Refuse(message.ReasonConflict, "it is too late to withdraw the message: it is sent")
	wantProblem(t, o.do("POST", path, "", o.by(snapshot.RoleSupport)), 409, message.ReasonConflict)
	wantProblem(t, o.do("POST", messagePath+"/"+message.NewID().String()+"/cancel", "", o.by(snapshot.RoleSupport)), 404, message.ReasonNotFound)
	wantProblem(t, o.do("POST", path, `{"why":"x"}`, o.by(snapshot.RoleSupport)), 422, message.ReasonInvalidRequest)
	wantProblem(t, o.do("POST", path, `{"reason":"`+strings.Repeat("x", 501)+`"}`, o.by(snapshot.RoleSupport)), 422, message.ReasonInvalidRequest)
	wantProblem(t, o.do("POST", path, `{`, o.by(snapshot.RoleSupport)), 400, message.ReasonInvalidRequest)
	if len(o.canceled) != 2 {
		t.Errorf("%d were withdrawn", len(o.canceled))
	}
}
