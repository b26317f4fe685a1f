// Package registrytest is a campaign registry for tests: a server on a loopback
// socket that behaves as the real one is documented to, and can be told to be slow,
// to lose its answers, to limit or to fail.
package registrytest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Key and Secret are what the fake takes.
const (
	Key    = "test-key"
	Secret = "test-secret"
)

// Fault is something that goes wrong with a call.
type Fault struct {
	// Status answers with this instead of doing anything. 0: it is done.
	Status int
	// RetryAfter is the header of the answer.
	RetryAfter string
	// Errors is the body of a refusal.
	Errors []Error
	// Lose does what is asked and cuts the connection instead of answering.
	Lose bool
	// Hold does what is asked and keeps the answer back until the channel is closed
	// or the client has gone.
	Hold <-chan struct{}
	// Body answers with this text instead of the true one, after doing what is asked.
	Body string
}

// Error is one of a refusal.
type Error struct {
	Code        int    `json:"code"`
	Field       string `json:"field,omitempty"`
	Description string `json:"description"`
}

// Fake is the registry. Safe for concurrent use.
type Fake struct {
	URL string

	server *httptest.Server

	mu        sync.Mutex
	brands    []map[string]any
	campaigns []map[string]any
	vettings  map[string][]map[string]any
	feedback  map[string][]map[string]any
	statuses  map[string]map[string]string
	metadata  map[string]map[string]map[string]any
	faults    map[string][]Fault
	calls     []string
	bodies    map[string][]string
}

// Start serves until Close.
func Start() *Fake {
	f := &Fake{vettings: map[string][]map[string]any{}, feedback: map[string][]map[string]any{}, statuses: map[string]map[string]string{},
		metadata: map[string]map[string]map[string]any{}, faults: map[string][]Fault{}, bodies: map[string][]string{}}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*http.Request, map[string]any) (int, any){
		"POST /v2/brand/nonBlocking":            f.registerBrand,
		"GET /v2/brand":                         f.findBrands,
		"GET /v2/brand/{id}":                    f.brand,
		"GET /v2/brand/{id}/{what}":             f.vetting,
		"GET /v2/brand/feedback/{id}":           f.brandFeedback,
		"POST /v2/campaignBuilder":              f.submitCampaign,
		"GET /v2/campaign":                      f.findCampaigns,
		"GET /v2/campaign/{id}":                 f.campaign,
		"GET /v2/campaign/{id}/mnoMetadata":     f.mnoMetadata,
		"GET /v2/campaign/{id}/operationStatus": f.operationStatus,
	} {
		mux.HandleFunc(pattern, f.serve(pattern, h))
	}
	f.server = httptest.NewServer(mux)
	f.URL = f.server.URL + "/v2"
	return f
}

// Close ends the server and every connection.
func (f *Fake) Close() {
	f.server.CloseClientConnections()
	f.server.Close()
}

// Fail gives the next calls of a pattern, such as "POST /v2/campaignBuilder", these
// faults, one each.
func (f *Fake) Fail(pattern string, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[pattern] = append(f.faults[pattern], faults...)
}

// Calls counts the calls of a pattern that came with the right key.
func (f *Fake) Calls(pattern string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == pattern {
			n++
		}
	}
	return n
}

// Bodies are the bodies of a pattern's calls.
func (f *Fake) Bodies(pattern string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bodies[pattern])
}

// Registered counts the brands and campaigns there are.
func (f *Fake) Registered() (brands, campaigns int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.brands), len(f.campaigns)
}

// SetBrand changes members of a brand, such as identityStatus.
func (f *Fake) SetBrand(id string, members map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.brands {
		if b["brandId"] == id {
			maps.Copy(b, members)
		}
	}
}

// Vet gives a brand a vetting.
func (f *Fake) Vet(id string, score int, date string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vettings[id] = append(f.vettings[id], map[string]any{"vettingScore": score, "vettingClass": "STANDARD", "vettingStatus": "ACTIVE", "vettedDate": date, "evpId": "AEGIS"})
	for _, b := range f.brands {
		if b["brandId"] == id {
			b["identityStatus"] = "VETTED_VERIFIED"
		}
	}
}

// Feedback says why a brand is unverified.
func (f *Fake) Feedback(id, description string, fields ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feedback[id] = append(f.feedback[id], map[string]any{"id": "TAX_ID", "displayName": "Tax id", "description": description, "fields": fields})
}

// SetCampaign sets the registry's status of a campaign.
func (f *Fake) SetCampaign(id, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.campaigns {
		if c["campaignId"] == id {
			c["status"] = status
		}
	}
}

// SetCarrier sets what a carrier says of a campaign, and its metadata if not nil.
func (f *Fake) SetCarrier(id string, network int, status string, metadata map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := strconv.Itoa(network)
	if f.statuses[id] == nil {
		f.statuses[id], f.metadata[id] = map[string]string{}, map[string]map[string]any{}
	}
	f.statuses[id][key] = status
	if metadata != nil {
		f.metadata[id][key] = metadata
	}
}

const maxBody = 1 << 20

func (f *Fake) serve(pattern string, h func(*http.Request, map[string]any) (int, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, secret, ok := r.BasicAuth()
		if !ok || key != Key || secret != Secret {
			answer(w, http.StatusUnauthorized, "", []Error{{Code: 401, Description: "unauthorized"}})
			return
		}
		text, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			return
		}
		body := map[string]any{}
		if len(text) > 0 && json.Unmarshal(text, &body) != nil {
			answer(w, http.StatusBadRequest, "", []Error{{Code: 501, Description: "not JSON"}})
			return
		}
		status, made, fault := f.do(pattern, r, string(text), body, h)
		switch {
		case fault.Lose:
			cut(w)
		case fault.Body != "":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, fault.Body)
		default:
			if fault.Hold != nil {
				select {
				case <-fault.Hold:
				case <-r.Context().Done():
				}
			}
			answer(w, status, fault.RetryAfter, made)
		}
	}
}

func (f *Fake) do(pattern string, r *http.Request, text string, body map[string]any, h func(*http.Request, map[string]any) (int, any)) (int, any, Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, pattern)
	f.bodies[pattern] = append(f.bodies[pattern], text)
	var fault Fault
	if list := f.faults[pattern]; len(list) > 0 {
		fault, f.faults[pattern] = list[0], list[1:]
	}
	if fault.Status != 0 {
		return fault.Status, fault.Errors, fault
	}
	status, made := h(r, body)
	encoded, err := json.Marshal(made) // while it is locked
	if err != nil {
		return http.StatusInternalServerError, nil, fault
	}
	return status, json.RawMessage(encoded), fault
}

func answer(w http.ResponseWriter, status int, retryAfter string, v any) {
	w.Header().Set("Content-Type", "application/json")
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}

// cut ends the connection without a word.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func missing(body map[string]any, fields ...string) []Error {
	var list []Error
	for _, field := range fields {
		if s, _ := body[field].(string); s == "" {
			list = append(list, Error{Code: 501, Field: field, Description: field + " is required"})
		}
	}
	return list
}

func taken(list []map[string]any, body map[string]any) bool {
	reference, _ := body["referenceId"].(string)
	return slices.ContainsFunc(list, func(m map[string]any) bool {
		other, _ := m["referenceId"].(string)
		return reference != "" && strings.EqualFold(other, reference)
	})
}

func (f *Fake) registerBrand(_ *http.Request, body map[string]any) (int, any) {
	if list := missing(body, "entityType", "displayName", "phone", "email", "country", "brandRelationship"); list != nil {
		return http.StatusBadRequest, list
	}
	if taken(f.brands, body) {
		return http.StatusBadRequest, []Error{{Code: 510, Field: "referenceId", Description: "Duplicate reference id"}}
	}
	body["brandId"] = fmt.Sprintf("B%06X", 0xA00000+len(f.brands))
	f.brands = append(f.brands, body)
	return http.StatusOK, body
}

func (f *Fake) submitCampaign(_ *http.Request, body map[string]any) (int, any) {
	if list := missing(body, "brandId", "usecase", "description"); list != nil {
		return http.StatusBadRequest, list
	}
	if body["termsAndConditions"] != true {
		return http.StatusBadRequest, []Error{{Code: 501, Field: "termsAndConditions", Description: "must be accepted"}}
	}
	if taken(f.campaigns, body) {
		return http.StatusBadRequest, []Error{{Code: 510, Field: "referenceId", Description: "Duplicate reference id"}}
	}
	i := slices.IndexFunc(f.brands, func(b map[string]any) bool { return b["brandId"] == body["brandId"] })
	if i < 0 {
		return http.StatusBadRequest, []Error{{Code: 502, Description: "Brand not found"}}
	}
	if s := f.brands[i]["identityStatus"]; s != "VERIFIED" && s != "VETTED_VERIFIED" && s != "SELF_DECLARED" {
		return http.StatusBadRequest, []Error{{Code: 520, Field: "brandId", Description: "Brand is not verified"}}
	}
	id := fmt.Sprintf("C%06X", 0xC00000+len(f.campaigns))
	body["campaignId"], body["status"] = id, "ACTIVE"
	f.campaigns = append(f.campaigns, body)
	return http.StatusOK, map[string]any{"campaignId": id, "mnoMetadata": map[string]any{}}
}

func find(list []map[string]any, member, value string) []map[string]any {
	out := []map[string]any{}
	for _, m := range list {
		if s, _ := m[member].(string); value == "" || strings.EqualFold(s, value) {
			out = append(out, m)
		}
	}
	return out
}

func (f *Fake) list(r *http.Request, all []map[string]any) (int, any) {
	found := find(all, "referenceId", r.URL.Query().Get("referenceId"))
	return http.StatusOK, map[string]any{"page": 1, "totalRecords": len(found), "records": found[:min(len(found), 10)]}
}

func (f *Fake) findBrands(r *http.Request, _ map[string]any) (int, any) { return f.list(r, f.brands) }
func (f *Fake) findCampaigns(r *http.Request, _ map[string]any) (int, any) {
	return f.list(r, f.campaigns)
}

func one(list []map[string]any, member, id string) (int, any) {
	found := find(list, member, id)
	if len(found) == 0 {
		return http.StatusNotFound, []Error{{Code: 502, Description: "not found"}}
	}
	return http.StatusOK, found[0]
}

func (f *Fake) brand(r *http.Request, _ map[string]any) (int, any) {
	return one(f.brands, "brandId", r.PathValue("id"))
}

func (f *Fake) campaign(r *http.Request, _ map[string]any) (int, any) {
	return one(f.campaigns, "campaignId", r.PathValue("id"))
}

func (f *Fake) vetting(r *http.Request, _ map[string]any) (int, any) {
	if r.PathValue("what") != "externalVetting" {
		return http.StatusNotFound, nil
	}
	if list := f.vettings[r.PathValue("id")]; list != nil {
		return http.StatusOK, list
	}
	return http.StatusOK, []any{}
}

func (f *Fake) brandFeedback(r *http.Request, _ map[string]any) (int, any) {
	return http.StatusOK, map[string]any{"brandId": r.PathValue("id"), "category": f.feedback[r.PathValue("id")]}
}

func (f *Fake) mnoMetadata(r *http.Request, _ map[string]any) (int, any) {
	if m := f.metadata[r.PathValue("id")]; m != nil {
		return http.StatusOK, m
	}
	return http.StatusOK, map[string]any{}
}

func (f *Fake) operationStatus(r *http.Request, _ map[string]any) (int, any) {
	if m := f.statuses[r.PathValue("id")]; m != nil {
		return http.StatusOK, m
	}
	return http.StatusOK, map[string]any{}
}
