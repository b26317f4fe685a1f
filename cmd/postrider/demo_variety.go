package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// What goes wrong in a gateway's life, so that each page of the console and the portal has
// something to show. It is asked for by the APIs, as everybody does.

// demoKey is the request key of what the demo makes once: a later start finds it made.
func (d *dev) demoKey(what string) string { return "demo-" + what + "-" + d.demo.AccountID.String() }

// ask makes a request as the demo's customer, or as its admin, and reads the answer into
// `into`, which may be nil. A key makes it one that is done once.
func (d *dev) ask(ctx context.Context, authorization, method, path, key string, body, into any) error {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.url()+path, text)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
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
	if resp.StatusCode == http.StatusConflict && key != "" {
		return nil // a former start has made it
	}
	if resp.StatusCode < 500 && bytes.Contains(answer, []byte(`"message_id"`)) {
		return nil // a message that was refused is one, too
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// variety makes messages of every end, and what stands beside them.
func (d *dev) variety(ctx context.Context) error {
	customer := "Basic " + base64.StdEncoding.EncodeToString([]byte(d.demo.APIKey+":"+d.demo.APISecret))
	var login struct {
		AccessToken string `json:"access_token"`
	}
	if err := d.ask(ctx, "", http.MethodPost, "/api/v1/admin/auth/token", "", map[string]string{"email": d.demo.AdminEmail, "password": d.demo.AdminPassword}, &login); err != nil {
		return err
	}
	staff := "Bearer " + login.AccessToken
	// Handsets first: whoever has said STOP is not written to.
	for _, mo := range []struct{ from, to, text string }{
		{"+13105550160", string(d.demo.From), "STOP"},
		{"+13105550161", "+12025550199", "Is this the shop?"}, // nobody's number
	} {
		if err := d.handset(ctx, mo.from, mo.to, mo.text); err != nil {
			return err
		}
	}
	type fields = map[string]any
	made := func(what, path string, body fields) func() error {
		return func() error { return d.ask(ctx, staff, http.MethodPost, path, d.demoKey(what), body, nil) }
	}
	own := func(what, path string, body fields) func() error {
		return func() error { return d.ask(ctx, customer, http.MethodPost, path, d.demoKey(what), body, nil) }
	}
	message := func(to, text string, more fields) func() error {
		body := fields{"from": d.demo.From, "to": to, "body": text, "webhook_url": d.hooks.url(), "client_reference": "variety"}
		for name, value := range more {
			body[name] = value
		}
		return func() error { return d.ask(ctx, customer, http.MethodPost, "/v1/messages", "", body, nil) }
	}
	rows := make([]fields, 25)
	for i := range rows {
		rows[i] = fields{"to": fmt.Sprintf("+1310555%04d", 2000+i), "variables": fields{"name": []string{"Ann", "Bob", "Cy"}[i%3]}}
	}
	for _, do := range []func() error{
		made("rule", "/api/v1/admin/content-rules", fields{"name": "lottery", "kind": "word", "class": "gambling", "pattern": "lottery\njackpot", "action": "hold"}),
		made("casino", "/api/v1/admin/content-rules", fields{"name": "casino", "kind": "word", "class": "gambling", "pattern": "casino", "action": "refuse"}),
		made("customer", "/api/v1/admin/customers", fields{"company_name": "Example Florists", "external_id": "crm-4711" + d.demo.PeopleSuffix, "prepaid": true, "api_rate_limit": 20}),
		own("gone", "/v1/webhook-endpoints", fields{"url": d.hooks.url() + "/gone", "event_types": []string{"message.received"}}),
		own("endpoint", "/v1/webhook-endpoints", fields{"url": d.hooks.url(), "event_types": []string{"message.delivered", "message.failed", "message.received"}}),
		own("key", "/v1/api-credentials", fields{"name": "reports", "scopes": []string{"messages:read", "usage:read"}}),
		own("brand", "/v1/brands", fields{"name": "Demo Shop", "legal_name": "Demo Shop LLC", "country": "US", "entity_type": "PRIVATE_PROFIT", "website": "https://shop.example"}),
		own("batch", "/v1/messages/batch", fields{"name": "Spring sale", "from": d.demo.From, "body": "Hello {{name}}, the spring sale begins on Monday.", "messages": rows}),
		message("+13105550001", "The carrier cannot deliver this one.", nil),
		message("+13105550002", "This one expires with the carrier.", nil),
		message("+13105550004", "No receipt ever comes for this one.", nil),
		message("+13105550008", "The vendors refuse its number.", nil),
		message("+13105550013", "Taken, with no answer: nobody knows whether it went.", nil),
		message("+13105550160", "Its recipient has opted out.", nil),
		message("+13105550162", "Our casino has opened.", nil),
		message("+13105550163", "You may win the lottery.", nil),
		message("+13105550164", "From a number that is not ours.", fields{"from": "+12025550188"}),
		message("+13105550165", "For tomorrow.", fields{"send_at": d.demoTomorrow()}),
		message("+13105550166", "Its webhook is away.", fields{"webhook_url": "http://127.0.0.1:9/away"}),
		message("+13105550167", `<b>Markup</b> & "quotes" <script>alert(1)</script>`, fields{"metadata": fields{"order": `<i>4711</i>`}}),
	} {
		if err := do(); err != nil {
			return err
		}
	}
	if err := d.picture(ctx, customer); err != nil {
		return err
	}
	return d.handset(ctx, "+13105550168", string(d.demo.From), "Yes, please")
}

func (d *dev) demoTomorrow() string {
	return time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
}

// handset has the simulator send a message.
func (d *dev) handset(ctx context.Context, from, to, text string) error {
	body, err := json.Marshal(map[string]string{"from": from, "to": to, "text": text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.smsc.HTTP+"/mo", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusAccepted {
		return errors.Join(err, fmt.Errorf("POST /mo of the simulator: %s", resp.Status))
	}
	return nil
}

// demoPicture is an orange square of 8 by 8 pixels.
const demoPicture = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mN4ViGCFTEMLQkAWWRcgU9psdIAAAAASUVORK5CYII="

// picture sends an MMS.
func (d *dev) picture(ctx context.Context, customer string) error {
	content, err := base64.StdEncoding.DecodeString(demoPicture)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url()+"/v1/media", bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", customer)
	req.Header.Set("Content-Type", "image/png")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var made struct {
		ID message.ID `json:"id"`
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, &made); err != nil || resp.StatusCode >= 300 {
		return fmt.Errorf("upload of the demo's picture: %s: %s", resp.Status, strings.TrimSpace(string(answer)))
	}
	return d.ask(ctx, customer, http.MethodPost, "/v1/messages", "", map[string]any{"from": d.demo.From, "to": "+13105550169", "subject": "A picture", "body": "This is what it looks like.",
		"media_ids": []message.ID{made.ID}, "client_reference": "variety"}, nil)
}
