package rest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestSendMMS(t *testing.T) {
	b := setup(t, nil)
	withMedia(b)
	up := b.do("POST", "/v1/media", dot, as("keyA")).json(t)["id"].(string)
	r := b.do("POST", "/v1/messages", `{"to":"+13105550117","media_ids":["`+up+`"],"media_urls":["https://files.example/a.png"],"subject":"Holiday","media_transcoding":"bypass"}`, as("keyA"))
	if r.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	document(t).check("post", "/v1/messages", r)
	q := b.ingress.last(t)
	if q.Subject != "Holiday" || !q.MediaAsIs || len(q.Media) != 2 || q.Media[0].Source != "https://files.example/a.png" || q.Media[1].File.ID.String() != up || q.Media[1].File.ContentType != "image/gif" {
		t.Errorf("request %+v", q)
	}
}

func TestFaultsOfMMS(t *testing.T) {
	b := setup(t, nil)
	withMedia(b)
	up := b.do("POST", "/v1/media", dot, as("keyA")).json(t)["id"].(string)
	eleven := `"https://files.example/a"` + strings.Repeat(`,"https://files.example/a"`, 10)
	for _, c := range []struct{ fields, location string }{
		{`"media_urls":["http://files.example/a.png"]`, "body.media_urls[0]"},
		{`"media_urls":["https://files.example/a.png","https://user@files.example/a.png"]`, "body.media_urls[1]"},
		{`"media_urls":["https://127.0.0.1/a.png"]`, "body.media_urls[0]"},
		{`"media_urls":[""]`, "body.media_urls[0]"},
		{`"media_urls":"https://files.example/a.png"`, "body.media_urls"},
		{`"media_urls":[` + eleven + `]`, "body.media_urls"},
		{`"media_urls":[` + strings.TrimPrefix(eleven, `"https://files.example/a",`) + `],"media_ids":["` + up + `"]`, "body.media_ids"},
		{`"media_ids":["what"]`, "body.media_ids[0]"},
		{`"media_ids":["` + message.NewID().String() + `"]`, "body.media_ids[0]"},
		{`"body":"x","subject":"Holiday"`, "body.subject"},
		{`"body":"x","media_transcoding":"auto"`, "body.media_transcoding"},
		{`"media_urls":[],"media_ids":[]`, "body.body"},
		{`"media_urls":["https://files.example/a.png"],"media_transcoding":"never"`, "body.media_transcoding"},
	} {
		r := b.do("POST", "/v1/messages", `{"to":"+13105550117",`+c.fields+`}`, as("keyA"))
		if r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), `"location":"`+c.location+`"`) {
			t.Errorf("%s: %d %s, want %s", c.fields, r.StatusCode, r.body, c.location)
		}
	}
	// A file of somebody else is none.
	if r := b.do("POST", "/v1/messages", `{"to":"+13105550117","media_ids":["`+up+`"]}`, as("keyB")); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), "body.media_ids[0]") {
		t.Errorf("a file of another account: %d %s", r.StatusCode, r.body)
	}
}

// What was accepted with a file is answered again when that has expired.
func TestReplayOutlivesItsFile(t *testing.T) {
	b := setup(t, nil)
	withMedia(b)
	up := b.do("POST", "/v1/media", dot, as("keyA")).json(t)["id"].(string)
	body := `{"to":"+13105550117","media_ids":["` + up + `"]}`
	first := b.do("POST", "/v1/messages", body, as("keyA"), header("Idempotency-Key", "k"))
	if first.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", first.StatusCode, first.body)
	}
	b.clock.advance(message.MediaKept - time.Hour)
	if r := b.do("DELETE", "/v1/media/"+up, "", as("keyA")); r.StatusCode != http.StatusNoContent {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if r := b.do("POST", "/v1/messages", body, as("keyA"), header("Idempotency-Key", "k")); r.StatusCode != http.StatusAccepted || string(r.body) != string(first.body) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestMMSWithoutStore(t *testing.T) {
	b := setup(t, nil)
	if r := b.do("POST", "/v1/messages", `{"to":"+13105550117","media_urls":["https://files.example/a.png"]}`, as("keyA")); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Files show once they are stored.
func TestFilesOfMessage(t *testing.T) {
	b := setup(t, nil)
	id := b.send("keyA")
	b.ingress.mu.Lock()
	m := b.ingress.stored[0]
	m.Kind, m.Subject = message.MMS, "Holiday"
	f := message.MediaFile{ID: message.NewID(), Token: message.NewMediaToken(), ContentType: "image/png", Size: 70, SHA256: [32]byte{0xab}}
	m.Media = []message.Media{{Position: 1, Source: "https://files.example/secret.png"}, {Position: 2, File: f}}
	b.ingress.mu.Unlock()
	r := b.do("GET", "/v1/messages/"+id, "", as("keyA"))
	document(t).check("get", "/v1/messages/{id}", r)
	want := `"subject":"Holiday","media":[{"id":"` + f.ID.String() + `","url":"` + b.server.publicURL() + "/media/" + f.Token.String() + `.png","content_type":"image/png","size_bytes":70,"sha256":"ab` + strings.Repeat("00", 31) + `"}]`
	if !strings.Contains(string(r.body), want) || strings.Contains(string(r.body), "files.example") {
		t.Errorf("%s", r.body)
	}
}
