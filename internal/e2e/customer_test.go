package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/postrider/postrider/internal/client/api"
	"github.com/postrider/postrider/internal/message"
)

// api calls the gateway as the customer, with the client that is generated from its
// document. It repeats nothing by itself.
func (s *system) api() *api.ClientWithResponses {
	s.tb.Helper()
	c, err := api.NewClientWithResponses(fmt.Sprintf("http://127.0.0.1:%d", s.apiPort), api.WithHTTPClient(signed{s}))
	if err != nil {
		s.tb.Fatal(err)
	}
	return c
}

// signed makes requests with the account's credential.
type signed struct{ s *system }

func (d signed) Do(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth(d.s.key, d.s.apiSecret)
	return d.s.client.Do(r)
}

const jsonType = "application/json"

// submit posts a message; err is for no answer at all. An empty key is none.
func (s *system) submit(key string, body []byte) (*api.SendMessageResponse, error) {
	params := &api.SendMessageParams{}
	if key != "" {
		params.IdempotencyKey = &key
	}
	return s.api().SendMessageWithBodyWithResponse(s.tb.Context(), params, jsonType, bytes.NewReader(body))
}

// resource is what the tests read of a message.
type resource struct {
	ID, Status, To, Body, Encoding, Type, Subject string

	Segments int
	Media    []file
	Error    *api.Error
}

// file is what the tests read of a file.
type file struct {
	ID, URL, ContentType, SHA256 string

	SizeBytes int64
}

func filesOf(list []api.Media) (files []file) {
	for _, m := range list {
		files = append(files, file{ID: m.ID.String(), URL: m.URL, ContentType: m.ContentType, SHA256: m.Sha256, SizeBytes: m.SizeBytes})
	}
	return files
}

func resourceOf(m api.Message) resource {
	return resource{ID: m.ID.String(), Status: string(m.Status), To: given(m.To), Body: given(m.Body), Encoding: given(m.Encoding),
		Type: string(m.Type), Subject: given(m.Subject), Segments: int(m.Segments), Media: filesOf(m.Media), Error: m.Error}
}

func given[T any](v *T) (zero T) {
	if v == nil {
		return zero
	}
	return *v
}

// post sends a message and expects it to be accepted.
func (s *system) post(fields map[string]any) resource {
	s.tb.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		s.tb.Fatal(err)
	}
	a, err := s.submit("", body)
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.JSON202 == nil {
		s.tb.Fatalf("POST answered %s: %s", a.Status(), a.Body)
	}
	return resourceOf(*a.JSON202)
}

func (s *system) get(id string) resource {
	s.tb.Helper()
	a, err := s.api().GetMessageWithResponse(s.tb.Context(), id)
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.JSON200 == nil {
		s.tb.Fatalf("GET %s: %s: %s", id, a.Status(), a.Body)
	}
	return resourceOf(*a.JSON200)
}

// final waits until a message has ended.
func (s *system) final(id string) resource {
	s.tb.Helper()
	var r resource
	s.until("message "+id+" has ended", func() bool {
		r = s.get(id)
		return message.Status(r.Status).Final()
	})
	return r
}

// timeline is the first page of what the customer is told of a message.
func (s *system) timeline(id string) *api.ListMessageEventsResponse {
	s.tb.Helper()
	a, err := s.api().ListMessageEventsWithResponse(s.tb.Context(), id, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.JSON200 == nil {
		s.tb.Fatalf("the timeline of %s: %s: %s", id, a.Status(), a.Body)
	}
	return a
}

// inbound is the first page of what came from a handset.
func (s *system) inbound(sender string) []api.Received {
	s.tb.Helper()
	a, err := s.api().ListInboundMessagesWithResponse(s.tb.Context(), &api.ListInboundMessagesParams{From: &sender})
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.JSON200 == nil {
		s.tb.Fatalf("what came from %s: %s: %s", sender, a.Status(), a.Body)
	}
	return a.JSON200.Data
}

// upload stores a file.
func (s *system) upload(octets []byte) file {
	s.tb.Helper()
	a, err := s.api().UploadMediaWithBodyWithResponse(s.tb.Context(), &api.UploadMediaParams{}, "application/octet-stream", bytes.NewReader(octets))
	if err != nil {
		s.tb.Fatal(err)
	}
	if a.JSON201 == nil {
		s.tb.Fatalf("POST of a file: %s: %s", a.Status(), a.Body)
	}
	up := a.JSON201
	return file{ID: up.ID.String(), URL: up.URL, ContentType: up.ContentType, SHA256: up.Sha256, SizeBytes: up.SizeBytes}
}

// answer is what a request came to.
type answer struct {
	status int
	body   []byte
}

// call makes a request that the generated client would not make; err is for no answer
// at all.
func (s *system) call(method, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(s.tb.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", s.apiPort, path), bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	resp, err := signed{s}.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, got}, err
}
