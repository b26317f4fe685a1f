package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

// done makes a request about messages and expects that answer.
// revise changes a message and wants this status.
func (s *system) revise(id, patch string, status int) *api.ChangeMessageResponse {
	s.tb.Helper()
	a, err := s.api().ChangeMessageWithBodyWithResponse(s.tb.Context(), id, jsonType, strings.NewReader(patch))
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.StatusCode() != status {
		s.tb.Fatalf("PATCH %s of %s: %s: %s", patch, id, a.Status(), a.Body)
	}
	return a
}

// withdraw cancels a message and wants this status.
func (s *system) withdraw(id string, status int) {
	s.tb.Helper()
	a, err := s.api().CancelMessageWithResponse(s.tb.Context(), id)
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.StatusCode() != status {
		s.tb.Fatalf("DELETE of %s: %s: %s", id, a.Status(), a.Body)
	}
}

// retry sends a message again and wants this status.
func (s *system) retry(id string, status int) *api.RetryMessageResponse {
	s.tb.Helper()
	a, err := s.api().RetryMessageWithResponse(s.tb.Context(), id, &api.RetryMessageParams{}, api.RetryBody{})
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.StatusCode() != status {
		s.tb.Fatalf("a retry of %s: %s: %s", id, a.Status(), a.Body)
	}
	return a
}

func idOf(t *testing.T, s string) message.ID {
	t.Helper()
	id, err := message.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestMessageWork: a scheduled message leaves as it was changed to, one that has failed is
// sent again as a new one, and one that waits for a vendor that is down is withdrawn.
func TestMessageWork(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	ctx := stacktest.Context(t)
	schedule := func(to string) string {
		return s.post(map[string]any{"from": from, "to": to, "body": "old", "send_at": time.Now().Add(time.Hour).Format(time.RFC3339), "webhook_url": s.hooks.server.URL}).ID
	}
	soon, now, dropped := schedule(destination(101)), schedule(destination(102)), schedule(destination(103))
	for _, id := range []string{soon, now, dropped} {
		s.is(id, message.StatusScheduled)
	}
	if r := s.revise(soon, fmt.Sprintf(`{"body":"new","send_at":%q}`, time.Now().Add(2*time.Second).Format(time.RFC3339Nano)), 200).JSON200; given(r.Body) != "new" {
		t.Errorf("%+v", r)
	}
	s.revise(now, `{"body":"newer","send_at":null}`, 200)
	s.withdraw(dropped, 200)
	if a, err := s.api().CancelMessageByPostWithResponse(ctx, dropped, &api.CancelMessageByPostParams{}); err != nil || a.JSON200 == nil {
		t.Errorf("%v, %+v", err, a)
	}
	s.is(soon, message.StatusDelivered)
	s.is(now, message.StatusDelivered)
	s.wantArrived(destination(101), "new")
	s.wantArrived(destination(102), "newer")
	s.revise(now, `{"body":"too late"}`, 409)
	s.withdraw(now, 409)
	s.retry(now, 409)

	const unknown = "+13105550008" // the simulator refuses it
	failed := s.post(map[string]any{"from": from, "to": unknown, "body": "again", "client_reference": "r-1"}).ID
	s.is(failed, message.StatusFailed)
	again := s.retry(failed, 202).JSON202
	if again.RetryOf == nil || again.RetryOf.String() != failed || given(again.Body) != "again" || given(again.ClientReference) != "r-1" {
		t.Errorf("%+v", again)
	}
	s.is(again.ID.String(), message.StatusFailed)
	reference := "r-1"
	if found, err := s.api().ListMessagesWithResponse(ctx, &api.ListMessagesParams{ClientReference: &reference}); err != nil || found.JSON200 == nil || len(found.JSON200.Data) != 2 {
		t.Errorf("%v, %+v", err, found)
	}

	if got := s.arrived(destination(103)); len(got) > 0 {
		t.Errorf("what was withdrawn arrived: %q", got)
	}
	if err := s.smsc.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	waits := s.post(map[string]any{"from": from, "to": destination(104), "body": "waits", "webhook_url": s.hooks.server.URL}).ID
	// A try on the bind that was just lost may still be under way: too late, until the
	// message is back in the queue.
	s.until("what waits is withdrawn", func() bool {
		a, err := s.api().CancelMessageWithResponse(ctx, waits)
		if err != nil || a.JSON200 == nil && a.StatusCode() != http.StatusConflict {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.JSON200 != nil
	})
	for _, id := range []string{waits, dropped} {
		if r := s.get(id); r.Status != "canceled" || r.Error == nil || r.Error.Code != "canceled" {
			t.Errorf("%+v", r)
		}
		s.until("the customer is told", func() bool { return s.hooks.told(id, "message.canceled") })
	}
}

// TestResolve: staff settle messages in doubt in each of the three ways, and the workflow
// goes on from what they say.
func TestResolve(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	support := s.office(snapshot.RoleSupport)
	const silent = "+13105550005" // the simulator takes it and does not answer
	// They are in doubt together: a receipt with a strange id may be of any of them, so that
	// none settles one.
	var ids []string
	for range 3 {
		ids = append(ids, s.post(map[string]any{"from": from, "to": silent, "body": "doubtful", "webhook_url": s.hooks.server.URL}).ID)
	}
	for _, id := range ids {
		s.is(id, message.StatusInDoubt)
	}
	resolve := func(id string, as message.Resolution, status int) {
		t.Helper()
		if code := support.do(http.MethodPost, "/messages/"+id+"/resolve", map[string]any{"as": as, "reason": "their log"}, nil); code != status {
			t.Fatalf("%s: %d, want %d", as, code, status)
		}
	}
	sent, failed, again := ids[0], ids[1], ids[2]
	before := s.destinations()[silent]
	resolve(sent, message.ResolvedSent, 200)
	s.until("the customer is told", func() bool { return s.hooks.told(sent, "message.sent") })

	resolve(failed, message.ResolvedNotSent, 200)
	s.is(failed, message.StatusFailed)
	s.until("the customer is told", func() bool { return s.hooks.told(failed, "message.failed") })
	s.until("its workflow has heard", func() bool {
		return s.number("select count(*) from settlements_due where message_id = $1", idOf(t, failed)) == 0
	})

	resolve(again, message.ResolvedSendAgain, 200)
	s.until("the vendor has it once more", func() bool { return s.destinations()[silent] == before+1 })
	m, err := s.db.WholeMessage(stacktest.Context(t), idOf(t, again))
	if err != nil || !m.DuplicatePoss || m.Parts[0].Attempt < 2 {
		t.Errorf("%+v, %v", m, err)
	}
	resolve(sent, message.ResolvedSent, 409)
	resolve(failed, message.ResolvedSent, 409)
}

// TestServiceMessage: a service of the platform sends for a customer, who hears of what
// fails alone when no reports were asked for.
func TestServiceMessage(t *testing.T) {
	t.Parallel()
	s := start(t, "--magic")
	admin := s.office(snapshot.RoleAdmin)
	var made struct{ Key, Secret string }
	if code := admin.do(http.MethodPost, "/service-credentials", map[string]any{"name": "billing"}, &made); code != http.StatusCreated {
		t.Fatal(code)
	}
	s.current()
	var login struct {
		AccessToken string `json:"access_token"`
	}
	if code := (&office{s: s}).do(http.MethodPost, "/auth/token", map[string]any{"api_key": made.Key, "api_secret": made.Secret}, &login); code != http.StatusOK {
		t.Fatal(code)
	}
	send := func(to string, reports bool) string {
		body, err := json.Marshal(map[string]any{"to": to[1:], "from": from[1:], "content": "Your code is 4711", "customer_id": s.account, "dlr_requested": reports, "webhook_url": s.hooks.server.URL})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/api/v1/messages", s.apiPort), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+login.AccessToken)
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var a struct {
			ID       string
			Segments int
		}
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != http.StatusAccepted || a.Segments != 1 {
			t.Fatalf("%d %+v %v", resp.StatusCode, a, err)
		}
		return a.ID
	}
	quiet, loud := send(destination(101), false), send(destination(102), true)
	fails := send("+13105550008", false)
	s.is(quiet, message.StatusDelivered)
	s.until("the customer is told of the other", func() bool { return s.hooks.told(loud, "message.delivered") })
	s.until("the customer is told of what fails", func() bool { return s.hooks.told(fails, "message.failed") })
	if n := s.number("select count(*) from webhook_deliveries where message_id = $1", idOf(t, quiet)); n != 0 {
		t.Errorf("%d events of a message whose sender wants none", n)
	}
	if r := s.get(fails); r.Status != "failed" {
		t.Errorf("%+v", r)
	}
}
