package rest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/registry"
)

// Registry keeps 10DLC brands and campaigns: *registry.Registrar and its store.
// Every call is for one account; what is another's is ReasonNotFound.
type Registry interface {
	PrepareBrand(b *registry.Brand, ask bool) error
	CreateBrand(ctx context.Context, by registry.Actor, b *registry.Brand, ask bool, key *message.Idempotency) error
	ChangeBrand(ctx context.Context, by registry.Actor, account, id message.ID, revision int, asks registry.Asks, change func(*registry.Brand)) (*registry.Brand, error)
	Brand(ctx context.Context, account, id message.ID) (*registry.Brand, error)
	Brands(ctx context.Context, account, before message.ID, limit int) ([]*registry.Brand, error)

	PrepareCampaign(c *registry.Campaign, ask bool) error
	CreateCampaign(ctx context.Context, by registry.Actor, c *registry.Campaign, ask bool, key *message.Idempotency) error
	ChangeCampaign(ctx context.Context, by registry.Actor, account, id message.ID, revision int, asks registry.Asks, change func(*registry.Campaign)) (*registry.Campaign, error)
	Campaign(ctx context.Context, account, id message.ID) (*registry.Campaign, error)
	Campaigns(ctx context.Context, account, before message.ID, limit int) ([]*registry.Campaign, error)
	AssignNumbers(ctx context.Context, by registry.Actor, account, campaign message.ID, numbers []message.Address) error
	ReleaseNumber(ctx context.Context, by registry.Actor, account, campaign message.ID, number message.Address) error
}

// Operations that an Idempotency-Key belongs to.
const (
	brandOperation    = http.MethodPost + " /v1/brands"
	campaignOperation = http.MethodPost + " /v1/campaigns"
)

// patchType is RFC 7396's name for what PATCH takes; application/json is taken for
// the same.
const patchType = "application/merge-patch+json"

var errNoRegistrations = message.Refuse(message.ReasonUnavailable, "registrations are not served here")

// idInput is a path with an id.
type idInput struct {
	ID string `path:"id" doc:"Its id here, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
}

// patchInput is a change of something that has an ETag.
type patchInput struct {
	ID      string `path:"id" doc:"Its id here, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	IfMatch string `header:"If-Match" maxLength:"64" doc:"The ETag of what you have read: the change is refused with 412 if it was changed since"`
	RawBody []byte
}

type pageInput struct{ Page }

// entity is an answer with its ETag.
type entity[T any] struct {
	ETag string `header:"ETag" doc:"Names this state of it, for If-Match"`
	Body T
}

// registered is the answer to a POST. It is encoded already: a repeated request gets
// the very octets.
type registered struct {
	Status      int
	ContentType string `header:"Content-Type" hidden:"true"`
	ETag        string `header:"ETag" doc:"Names this state of it, for If-Match"`
	Location    string `header:"Location" doc:"Its path"`
	Replayed    string `header:"Idempotency-Replayed" enum:"true" doc:"true if this is the first answer again"`
	Body        []byte
}

func etag(revision int) string { return `"` + strconv.Itoa(revision) + `"` }

// seen reads If-Match: 0 for none.
func seen(header string) (int, error) {
	if header == "" || header == "*" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.Trim(strings.TrimPrefix(header, "W/"), `"`))
	if err != nil || n < 1 {
		return 0, message.Because(message.ReasonConflict, registry.ErrStale, "If-Match is no ETag of this; read it again")
	}
	return n, nil
}

// changed makes the problem of a change that was refused: 412 if the customer said
// what he had seen.
func (s *Server) changed(x *exchange, err error, ifMatch string) *problem {
	status := 0
	if ifMatch != "" && errors.Is(err, registry.ErrStale) {
		status = http.StatusPreconditionFailed
	}
	return s.problem(x, err, status)
}

// begin is what every operation on registrations starts with.
func (s *Server) begin(ctx context.Context) (context.Context, context.CancelFunc, *exchange, error) {
	x := exchangeOf(ctx)
	if s.Registry == nil {
		return ctx, func() {}, x, s.problem(x, errNoRegistrations, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	return ctx, cancel, x, nil
}

// pathID reads an id out of a path.
func pathID(what, given string) (message.ID, error) {
	id, err := message.ParseID(given)
	if err != nil {
		return id, message.Refuse(message.ReasonNotFound, "no such %s: an id is a UUID of 32 hex digits, hyphens optional", what)
	}
	return id, nil
}

// ids are the cursors of lists by id. Its first octet says of which list.
const (
	brandCursor    = 'b'
	campaignCursor = 'c'
)

func encodeIDCursor(of byte, id message.ID) *string {
	return optional(base64.RawURLEncoding.EncodeToString(append([]byte{of}, id[:]...)))
}

func decodeIDCursor(of byte, s string) (id message.ID, err error) {
	if s == "" {
		return id, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 1+len(id) || b[0] != of {
		return id, badCursor()
	}
	copy(id[:], b[1:])
	return id, nil
}

// create is what the two POSTs have in common. make decodes the body and prepares
// the thing, whose answer is then rendered and stored with it.
type create struct {
	operation, path string
	make            func(body []byte) (id message.ID, resource any, refusal *message.Error, status int)
	store           func(ctx context.Context, key *message.Idempotency) error
}

func (s *Server) create(ctx context.Context, body []byte, c create) (*registered, error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	key, err := registryKey(x, body, c.operation)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		first, err := s.Journal.FirstAnswer(ctx, *key)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		if first != nil {
			return c.replay(first), nil
		}
	}
	id, resource, refusal, status := c.make(body)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	out := &registered{Status: http.StatusCreated, ContentType: jsonType, ETag: etag(1), Location: c.path + id.String()}
	if out.Body, err = encode(resource); err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		key.Status, key.Response = out.Status, out.Body
	}
	if err := c.store(ctx, key); err != nil {
		return nil, s.problem(x, late(ctx, err), 0)
	}
	return out, nil
}

func (c create) replay(first *message.Idempotency) *registered {
	out := &registered{Status: first.Status, ContentType: jsonType, Replayed: "true", ETag: etag(1), Body: first.Response}
	var made struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(first.Response, &made) == nil && made.ID != "" {
		out.Location = c.path + made.ID
	}
	return out
}

// registryKey reads the Idempotency-Key; nil if there is none.
func registryKey(x *exchange, body []byte, operation string) (*message.Idempotency, error) {
	values := x.request.Header["Idempotency-Key"]
	if len(values) == 0 {
		return nil, nil
	}
	value := values[0]
	if len(values) > 1 || value == "" || len(value) > 255 || !only(value, "_:.-") {
		var f faults
		f.invalid("header.Idempotency-Key", "must be one key of 1 to 255 letters, digits and _ : . -")
		return nil, f.refusal()
	}
	h := sha256.New() // as of a message: the length keeps body and query apart
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(body))))
	h.Write(body)
	h.Write([]byte(x.request.URL.RawQuery))
	k := &message.Idempotency{AccountID: x.caller.account.ID, Operation: operation, Key: value}
	h.Sum(k.BodyHash[:0])
	return k, nil
}

func (s *Server) createBrand(ctx context.Context, in *rawInput) (*registered, error) {
	x := exchangeOf(ctx)
	b := &registry.Brand{}
	asks := false
	return s.create(ctx, in.RawBody, create{operation: brandOperation, path: "/v1/brands/",
		make: func(text []byte) (message.ID, any, *message.Error, int) {
			body, status, refusal := decodeBrand(text)
			if refusal != nil {
				return message.ID{}, nil, refusal, status
			}
			b.AccountID = x.caller.account.ID
			body.apply(b)
			asks = body.asks() == registry.AskFor
			if err := s.Registry.PrepareBrand(b, asks); err != nil {
				return message.ID{}, nil, message.AsError(err), 0
			}
			return b.ID, brandOf(b), nil, 0
		},
		store: func(ctx context.Context, key *message.Idempotency) error {
			return s.Registry.CreateBrand(ctx, customerActor(x), b, asks, key)
		}})
}

func (s *Server) getBrand(ctx context.Context, in *idInput) (*entity[brandResource], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("brand", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	b, err := s.Registry.Brand(ctx, x.caller.account.ID, id)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &entity[brandResource]{ETag: etag(b.Revision), Body: brandOf(b)}
	if out.Body.UsedToday, out.Body.ResetsAt, err = s.capUsed(ctx, b.DailyCap, pace.BrandDay(b.CapKey)); err != nil {
		return nil, s.problem(x, err, 0)
	}
	return out, nil
}

// capUsed is how much of a daily cap is used; nil where there is none, or nobody
// counts.
func (s *Server) capUsed(ctx context.Context, most int, key string) (*int, *string, error) {
	if s.CapUsed == nil || most <= 0 {
		return nil, nil, nil
	}
	used, resets, err := s.CapUsed(ctx, key)
	return &used, optionalTime(resets), err
}

func (s *Server) listBrands(ctx context.Context, in *pageInput) (*output[list[brandResource]], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	before, err := decodeIDCursor(brandCursor, in.Cursor)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	brands, err := s.Registry.Brands(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[brandResource]]{Body: list[brandResource]{Data: []brandResource{}}}
	if len(brands) > in.size() {
		brands = brands[:in.size()]
		out.Body.NextCursor = encodeIDCursor(brandCursor, brands[len(brands)-1].ID)
	}
	for _, b := range brands {
		out.Body.Data = append(out.Body.Data, brandOf(b))
	}
	return out, nil
}

func (s *Server) changeBrand(ctx context.Context, in *patchInput) (*entity[brandResource], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("brand", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	body, status, refusal := decodeBrand(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	revision, err := seen(in.IfMatch)
	if err != nil {
		return nil, s.changed(x, err, in.IfMatch)
	}
	b, err := s.Registry.ChangeBrand(ctx, customerActor(x), x.caller.account.ID, id, revision, body.asks(), body.apply)
	if err != nil {
		return nil, s.changed(x, err, in.IfMatch)
	}
	return &entity[brandResource]{ETag: etag(b.Revision), Body: brandOf(b)}, nil
}
