package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// listed is how long a query of the API takes, before and with what is stored.
type listed struct {
	Query  string    `json:"query"`
	Search bool      `json:"search"` // no index serves it, or it is a page of the console
	Before quantiles `json:"before"`
	After  quantiles `json:"after"`
}

// read is a list or search of the API, and its name in the report.
type read struct{ name, path string }

// reads are the lists and searches of the customers' API, and a message with its timeline.
func reads(id string, month time.Time) []read {
	hour := "created_after=" + month.Format(time.RFC3339) + "&created_before=" + month.Add(time.Hour).Format(time.RFC3339)
	return []read{
		{"the newest 50", "/v1/messages?limit=50"},
		{"to a number", "/v1/messages?limit=50&to=" + url.QueryEscape("+13102000040")},
		{"from a number", "/v1/messages?limit=50&from=" + url.QueryEscape("+12025550143")},
		{"by a reference", "/v1/messages?limit=50&client_reference=stored-20"},
		{"of a batch", "/v1/messages?limit=50&batch_id=" + id},
		{"of a status that few have", "/v1/messages?limit=50&status=undelivered"},
		{"of a status that none has", "/v1/messages?limit=50&status=in_doubt"},
		{"of that status, of an hour a month ago", "/v1/messages?limit=50&status=in_doubt&" + hour},
		{"of an hour a month ago", "/v1/messages?limit=50&" + hour},
		{"one message", "/v1/messages/" + id},
		{"its timeline", "/v1/messages/" + id + "/events"},
		{"the feed from its start", "/v1/events?limit=200"},
		{"the feed, a type that few have", "/v1/events?limit=200&types=opt_out.created"},
		{"the feed, a type that none has", "/v1/events?limit=200&types=message.failed"},
		{"inbound messages", "/v1/inbound-messages"},
		{"webhook deliveries", "/v1/webhook-deliveries"},
		{"failed webhook deliveries", "/v1/webhook-deliveries?state=failed"},
		{"webhook deliveries of a message", "/v1/webhook-deliveries?message_id=" + id},
		{"webhook endpoints", "/v1/webhook-endpoints"},
		{"batches", "/v1/messages/batch"},
		{"opt-outs", "/v1/opt-outs"},
		{"opt-outs of a recipient", "/v1/opt-outs?recipient=" + url.QueryEscape("+13102000040")},
		{"numbers", "/v1/numbers"},
		{"brands", "/v1/brands"},
		{"campaigns", "/v1/campaigns"},
		{"usage by day", "/v1/usage"},
		{"limits", "/v1/limits"},
		{"ledger", "/v1/balance/entries"},
		{"API credentials", "/v1/api-credentials"},
		{"SMPP credentials", "/v1/smpp-credentials"},
		{"users", "/v1/users"},
	}
}

// searches are staff's searches over all accounts that no index serves: they go through
// the messages themselves, from the newest, until a page is full or their time is up.
func searches() []read {
	const path = "/api/v1/admin/messages?limit=50&"
	return []read{
		{"all accounts, a campaign that few are of", path + "campaign_id=CSTORED"},
		{"all accounts, a campaign that none is of", path + "campaign_id=CNONE"},
		{"all accounts, an error code that few have", path + "error_code=unreachable"},
		{"all accounts, an error code that none has", path + "error_code=expired"},
		{"all accounts, a class that none has", path + "message_class=otp"},
		{"all accounts, the vendor of all", path + "vendor=" + benchVendor},
		{"all accounts, a vendor that none has", path + "vendor=nobody"},
		{"all accounts, the sender of all", path + "from=" + url.QueryEscape("+12025550143")},
		{"all accounts, a sender that none has", path + "from=" + url.QueryEscape("+12025550199")},
	}
}

// pages are the searches of the console, as staff see them.
func pages(id string, month time.Time) []read {
	const path = "/console/messages"
	hour := "created_after=" + month.Format("2006-01-02T15:04") + "&created_before=" + month.Add(time.Hour).Format("2006-01-02T15:04")
	return []read{
		{"the page of a message", path + "/" + id},
		{"the page of searches, the newest", path},
		{"the same, to a number", path + "?to=" + url.QueryEscape("+13102000040")},
		{"the same, by a reference", path + "?client_reference=stored-20"},
		{"the same, by a vendor's message id", path + "?vendor_message_id=none"},
		{"the same, of a status that few have", path + "?status=undelivered"},
		{"the same, of an hour a month ago", path + "?" + hour},
		{"the same, of an hour a month ago and a sender", path + "?" + hour + "&from=" + url.QueryEscape("+12025550143")},
		{"the same, a campaign that none is of", path + "?campaign_id=CNONE"},
		{"the same, an error code that none has", path + "?error_code=expired"},
		{"the same, a vendor that none has", path + "?vendor=nobody"},
		{"the same, a sender that none has", path + "?from=" + url.QueryEscape("+12025550199")},
	}
}

// lists asks the API what customers ask it and what staff do, and the console for its pages.
func (k *keeper) lists(ctx context.Context) (all []listed, _ error) {
	var id string
	if err := k.conn.QueryRow(ctx, "select m.id from messages m join numbers n using (account_id) where n.number = $1 order by m.id desc limit 1", k.load.api.from).Scan(&id); err != nil {
		return nil, fmt.Errorf("the newest message: %w", err)
	}
	month := time.Now().Add(-30 * 24 * time.Hour).UTC()
	bearer, err := k.staff.bearer(ctx) // it is good for a quarter of an hour, which filling the journal outlasts
	if err != nil {
		return nil, err
	}
	visitor, err := k.staff.visit(ctx)
	if err != nil {
		return nil, err
	}
	for _, group := range []struct {
		reads  []read
		search bool
		get    func(path string) error
	}{
		{reads(id, month), false, func(path string) error { return k.get(ctx, http.DefaultClient, path, k.customer()) }},
		{searches(), true, func(path string) error { return k.get(ctx, http.DefaultClient, path, bearer) }},
		{pages(id, month), true, func(path string) error { return k.get(ctx, visitor, path, "") }},
	} {
		for _, q := range group.reads {
			took, err := k.timed(ctx, func() error { return group.get(q.path) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
			all = append(all, listed{Query: q.name, Search: group.search, After: quantilesOf(took)})
		}
	}
	return all, nil
}

// timed is how long an answer takes, listTries times.
func (k *keeper) timed(ctx context.Context, ask func() error) (took []time.Duration, _ error) {
	for len(took) < listTries {
		began := time.Now()
		switch err := ask(); {
		case errors.Is(err, errTooMany): // the account's rate: not what is measured
			pause(ctx, time.Second)
		case err != nil:
			return nil, err
		default:
			took = append(took, time.Since(began))
		}
	}
	return took, nil
}

var errTooMany = errors.New("over a rate")

// customer is the Authorization header of the account that sends.
func (k *keeper) customer() string {
	head := string(*k.load.api.head.Load())
	_, authorization, _ := strings.Cut(head, "\r\nAuthorization: ")
	authorization, _, _ = strings.Cut(authorization, "\r\n")
	return authorization
}

// get reads an answer to its end. An authorization that is empty is left out.
func (k *keeper) get(ctx context.Context, client *http.Client, path, authorization string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.load.api.address+path, nil)
	if err != nil {
		return err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		return errTooMany
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Below these the 99th percentile of a read should be, in milliseconds. A search that no
// index serves looks for a tenth of a second, and then has to answer; the console's pages have
// as much.
const (
	aimRead   = 50
	aimSearch = 200
)

func (l listed) aim() float64 {
	if l.Search {
		return aimSearch
	}
	return aimRead
}

// judged says which reads missed their aim with everything stored.
func (x *stored) judged() string {
	var slow []string
	searches := 0
	for _, l := range x.Lists {
		if l.Search {
			searches++
		}
		if l.After.P99 >= l.aim() {
			slow = append(slow, fmt.Sprintf("%s (%.1f ms)", l.Query, l.After.P99))
		}
	}
	of := fmt.Sprintf("Of %d reads", len(x.Lists))
	aims := fmt.Sprintf("%d ms (%d ms for the %d searches that no index serves and pages of the console)", aimRead, aimSearch, searches)
	if len(slow) == 0 {
		return of + " each has its p99 below " + aims + "."
	}
	return fmt.Sprintf("%s %d have a p99 that is not below %s: %s.", of, len(slow), aims, strings.Join(slow, ", "))
}
