package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/postrider/postrider/internal/webhook"
)

// forwarder posts events as webhooks are posted, to a place that the user names: the
// guard of webhooks, which keeps them out of private networks, has no part in it.
type forwarder struct {
	url, secret string
	client      *http.Client
}

func newForwarder(url, secret string) *forwarder {
	return &forwarder{url: url, secret: secret, client: &http.Client{
		Timeout: webhook.DefaultTimeout, Transport: &http.Transport{}, // no proxy lies between
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post makes one try, and says what came of it and whether it was a success.
func (f *forwarder) post(ctx context.Context, e entry) (outcome string, taken bool) {
	body, err := webhookBody(e)
	if err != nil {
		return err.Error(), false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return err.Error(), false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Postrider-Webhooks")
	began := time.Now()
	if err := webhook.Sign(req.Header, e.ID, began, body, f.secret, ""); err != nil {
		return err.Error(), false
	}
	resp, err := f.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // the URL is known
			err = u.Err
		}
		return err.Error(), false
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10) // so that the connection can be used again
	return fmt.Sprintf("%d in %d ms", resp.StatusCode, time.Since(began).Milliseconds()), resp.StatusCode/100 == 2
}

// webhookBody is what a webhook about the event has as its body.
func webhookBody(e entry) ([]byte, error) {
	var members struct {
		Type      json.RawMessage `json:"type"`
		Timestamp json.RawMessage `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(e.raw, &members); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"type":%s,"timestamp":%s,"data":%s}`, members.Type, members.Timestamp, members.Data), nil
}
