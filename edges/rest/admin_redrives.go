package rest

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Redrives keeps re-drives and has them worked.
type Redrives interface {
	// CreateRedrive stores one with a line in the audit log, and the answer of its key: all
	// of it or nothing. The first answer comes back when the key was seen before.
	CreateRedrive(ctx context.Context, r *message.Redrive, key *message.Idempotency) (*message.Idempotency, error)
	RedriveByID(ctx context.Context, id message.ID) (*message.Redrive, error)
	// Redrives lists them, newest first, older than before.
	Redrives(ctx context.Context, before message.ID, limit int) ([]*message.Redrive, error)
	// RedriveItems lists messages of one, newest first, from behind one; state empty: any.
	RedriveItems(ctx context.Context, id message.ID, state message.RedriveItemState, after message.ID, limit int) ([]message.RedriveItem, error)
	// StopRedrive has it take nothing more on; ReasonConflict when it has completed.
	StopRedrive(ctx context.Context, by message.Actor, id message.ID) (*message.Redrive, error)
}

const redrivePath = adminPrefix + "/redrives"

// redriveResource is a re-drive as staff see it.
type redriveResource struct {
	_               struct{}          `json:"-" additionalProperties:"true"`
	ID              string            `json:"id" format:"uuid"`
	Status          string            `json:"status" enum:"running,stopping,stopped,completed" doc:"stopping: what was taken on is finished, and nothing more is"`
	Action          string            `json:"action" enum:"retry,cancel,release,refuse,reroute,resolve"`
	AcceptDuplicate bool              `json:"accept_duplicate" doc:"Of a retry: unconfirmed messages too"`
	Vendor          *string           `json:"vendor" doc:"Of a reroute; null: the routes are asked"`
	As              *string           `json:"as" doc:"Of a resolution"`
	Reason          string            `json:"reason"`
	DryRun          bool              `json:"dry_run" doc:"Nothing is done, only counted"`
	Limit           int               `json:"limit" doc:"The most messages that are looked at"`
	PerSecond       int               `json:"per_second"`
	Actor           string            `json:"actor" doc:"Who made it"`
	Role            string            `json:"role"`
	Filter          redriveFilter     `json:"filter"`
	Counts          redriveCounts     `json:"counts"`
	Expected        *int              `json:"expected" doc:"How many messages the dry run before it has found; null: there was none"`
	More            bool              `json:"more" doc:"It came to its limit, and there may be more messages"`
	Rate            float64           `json:"rate" doc:"Messages a second, since it was made"`
	SecondsLeft     *int              `json:"seconds_left" doc:"By the rate and what is expected; null: not known"`
	Statuses        []redriveCount    `json:"by_status" nullable:"false" doc:"In which the messages were found, the most first"`
	Accounts        []redriveCount    `json:"by_account" nullable:"false" doc:"Whose they are, the most first; an empty key: all others together"`
	PassedOver      []redriveCount    `json:"passed_over" nullable:"false" doc:"Why nothing was tried, in words"`
	Refused         []redriveCount    `json:"refused" nullable:"false" doc:"Codes of GET /v1/errors"`
	Sample          []redriveLookedAt `json:"sample" nullable:"false" doc:"The first messages of a dry run"`
	CreatedAt       string            `json:"created_at" format:"date-time"`
	LookedAt        string            `json:"looked_at" format:"date-time" doc:"When it last came on"`
	CompletedAt     *string           `json:"completed_at" format:"date-time"`
	WorkflowURL     *string           `json:"workflow_url" format:"uri" doc:"Where its workflow can be looked at"`
}

type redriveCounts struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	Found   int      `json:"found" doc:"Messages that the filter has found so far"`
	Done    int      `json:"done" doc:"The action was done; of a dry run, would be"`
	Passed  int      `json:"passed_over" doc:"Nothing was tried, for the action is not for such a message"`
	Refused int      `json:"refused" doc:"It was tried, and refused; of a dry run, would be"`
	Open    int      `json:"open" doc:"Taken on, and not done with"`
}

type redriveCount struct {
	_     struct{} `json:"-" additionalProperties:"true"`
	Key   string   `json:"key"`
	Count int      `json:"count"`
}

type redriveLookedAt struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	MessageID string   `json:"message_id" format:"uuid"`
	AccountID string   `json:"account_id" format:"uuid"`
	Status    string   `json:"status" doc:"In which it was found"`
	Outcome   string   `json:"outcome" enum:"done,passed_over,refused" doc:"What would be"`
	Why       *string  `json:"why"`
}

type redriveItemResource struct {
	_            struct{} `json:"-" additionalProperties:"true"`
	MessageID    string   `json:"message_id" format:"uuid"`
	Outcome      string   `json:"outcome" enum:"open,done,passed_over,refused" doc:"open: it was taken on and is not done with"`
	NewMessageID *string  `json:"new_message_id" format:"uuid" doc:"The message that a retry has made, or is about to"`
	Code         *string  `json:"code" doc:"A code of GET /v1/errors: why it was passed over or refused"`
	Why          *string  `json:"why" doc:"The same in words"`
}

// outcomes are the words for what has become of a message.
var outcomes = map[message.RedriveItemState]string{
	message.ItemClaimed: "open", message.ItemDone: "done", message.ItemPassed: "passed_over", message.ItemRefused: "refused",
}

// counted lists counts, the most first.
func counted[K ~string](m map[K]int) []redriveCount {
	out := []redriveCount{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, redriveCount{Key: string(k), Count: m[k]})
	}
	slices.SortStableFunc(out, func(a, b redriveCount) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

func (s *Server) redriveOf(r *message.Redrive) redriveResource {
	out := redriveResource{
		ID: r.ID.String(), Status: string(r.Status), Action: string(r.Action), AcceptDuplicate: r.AcceptDuplicate, Vendor: optional(r.VendorName), As: optional(string(r.As)), Reason: r.Reason,
		DryRun: r.DryRun, Limit: r.Limit, PerSecond: r.PerSecond, Actor: r.By.Name, Role: r.By.Role, Filter: filterOf(r.Filter),
		Counts: redriveCounts{Found: r.Looked, Done: r.Done, Passed: r.Passed, Refused: r.Refused, Open: r.Open()}, More: r.More,
		Statuses: counted(r.Tally.Statuses), Accounts: counted(r.Tally.Accounts), PassedOver: counted(r.Tally.Passed), Refused: counted(r.Tally.Refused),
		Sample: []redriveLookedAt{}, CreatedAt: stamp(r.CreatedAt), LookedAt: stamp(r.LookedAt), CompletedAt: optionalTime(r.CompletedAt),
	}
	for _, l := range r.Tally.Sample {
		out.Sample = append(out.Sample, redriveLookedAt{MessageID: l.MessageID.String(), AccountID: l.AccountID.String(), Status: string(l.Status), Outcome: outcomes[l.Outcome], Why: optional(l.Why)})
	}
	if r.Expected > 0 {
		out.Expected = &r.Expected
	}
	end := r.CompletedAt
	if end.IsZero() {
		end = s.now()
	}
	ended := r.Looked - r.Open()
	if took := end.Sub(r.CreatedAt).Seconds(); took > 0 {
		out.Rate = float64(int(10*float64(ended)/took)) / 10
		if left := r.Expected - ended; left >= 0 && r.Expected > 0 && ended > 0 && !r.Status.Final() {
			out.SecondsLeft = new(int(float64(left) * took / float64(ended)))
		}
	}
	if s.Admin.RedriveURL != nil {
		out.WorkflowURL = optional(s.Admin.RedriveURL(r.ID))
	}
	return out
}

func itemOf(i message.RedriveItem) redriveItemResource {
	out := redriveItemResource{MessageID: i.MessageID.String(), Outcome: outcomes[i.State], NewMessageID: optionalID(i.NewMessageID)}
	if i.Error != nil {
		out.Code, out.Why = optional(string(i.Error.Reason)), optional(i.Error.Detail)
	}
	return out
}

func (s *Server) registerRedrives(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Re-drives"}
	register(api, s.operation(huma.Operation{
		OperationID: "createRedrive", Method: http.MethodPost, Path: redrivePath, Tags: tags, Summary: "Do one thing to each message of a filtered set",
		Description: "What staff could do to one message is done to each that the filter finds, newest first, at a rate, in the background. Messages that came after the request are none of them. " +
			"Each is done once, whatever dies meanwhile; those that the action is not for are passed over and counted. A dry run counts what would be done. " +
			"`retry`, `cancel`, `reroute` and `resolve` are for support, `release` and `refuse` for compliance.",
		DefaultStatus: http.StatusAccepted, Parameters: []*huma.Param{idempotencyKeyParam()},
		Responses: map[string]*huma.Response{"202": {Description: "Stored; it is worked", Content: contentOf[redriveResource](schemas)}},
	}, redriver().taking(), 400, 409, 413, 415), s.createRedrive, bodyOf[createRedriveBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "listRedrives", Method: http.MethodGet, Path: redrivePath, Tags: tags, Summary: "List re-drives", Description: "Newest first. They are kept for 90 days.",
	}, anyStaff()), s.listRedrives, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "getRedrive", Method: http.MethodGet, Path: redrivePath + "/{id}", Tags: tags, Summary: "Read a re-drive", Description: "How far it is, and what was passed over and refused.",
	}, anyStaff(), 404), s.getRedrive, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "listRedriveItems", Method: http.MethodGet, Path: redrivePath + "/{id}/items", Tags: tags, Summary: "List the messages of a re-drive",
		Description: "In the order in which they were found, newest first. A dry run has none.",
	}, anyStaff(), 404), s.listRedriveItems, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "stopRedrive", Method: http.MethodPost, Path: redrivePath + "/{id}/stop", Tags: tags, Summary: "Stop a re-drive",
		Description: "What was taken on is finished, and nothing more is. What was done stays done. Repeated: 200. 409: it has completed.",
	}, redriver(), 404, 409), s.stopRedrive, nil)
}

// redriver is the access of those who may do one of the actions at all.
func redriver() access { return staff(snapshot.RoleSupport, snapshot.RoleCompliance) }

// mayRedrive says why somebody may not do an action to messages, nil if he may: by the
// roles of the operation that does it to one.
func mayRedrive(c *caller, action message.RedriveAction) error {
	role := snapshot.RoleSupport
	if action == message.RedriveRelease || action == message.RedriveRefuse {
		role = snapshot.RoleCompliance
	}
	return c.refuses(staff(role))
}

// createRedriveOperation is what an Idempotency-Key belongs to.
const createRedriveOperation = http.MethodPost + " " + redrivePath

func (s *Server) createRedrive(ctx context.Context, in *rawInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	if s.Admin.Redrives == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "this process keeps no re-drives"), 0)
	}
	given, err := s.idempotencyKey(x, in.RawBody)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var key *message.Idempotency
	if given != nil { // a key belongs to who gave it
		key = &message.Idempotency{Operation: createRedriveOperation + " " + x.actor().Name, Key: given.Value, BodyHash: given.BodyHash}
		first, err := s.Journal.FirstAnswer(ctx, *key)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		if first != nil {
			return s.redriveAgain(first), nil
		}
	}
	r, status, refusal := s.decodeRedrive(ctx, in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	if err := mayRedrive(&x.caller, r.Action); err != nil {
		return nil, s.problem(x, err, 0)
	}
	r.ID, r.By, r.Status, r.CreatedAt = message.NewID(), x.actor(), message.RedriveRunning, s.now().UTC().Truncate(time.Millisecond)
	if r.LookedAt = r.CreatedAt; r.Filter.CreatedBefore.IsZero() || r.Filter.CreatedBefore.After(r.CreatedAt) {
		r.Filter.CreatedBefore = r.CreatedAt
	}
	body, err := encode(s.redriveOf(r))
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		key.Status, key.Response = http.StatusAccepted, body
	}
	first, err := s.Admin.Redrives.CreateRedrive(ctx, r, key)
	switch {
	case err != nil:
		return nil, s.problem(x, err, 0)
	case first != nil:
		return s.redriveAgain(first), nil
	}
	return &rawOutput{Status: http.StatusAccepted, Body: body, ContentType: jsonType, Location: redrivePath + "/" + r.ID.String()}, nil
}

func (s *Server) redriveAgain(first *message.Idempotency) *rawOutput {
	return &rawOutput{Status: first.Status, Body: first.Response, ContentType: jsonType, Replayed: "true"}
}

func (s *Server) redrive(ctx context.Context, in RowInput) (*message.Redrive, error) {
	id, err := in.row()
	if err != nil {
		return nil, err
	}
	if s.Admin.Redrives == nil {
		return nil, message.Refuse(message.ReasonUnavailable, "this process keeps no re-drives")
	}
	return s.Admin.Redrives.RedriveByID(ctx, id)
}

func (s *Server) getRedrive(ctx context.Context, in *RowInput) (*output[redriveResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	r, err := s.redrive(ctx, *in)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[redriveResource]{Body: s.redriveOf(r)}, nil
}

func (s *Server) stopRedrive(ctx context.Context, in *RowInput) (*output[redriveResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	r, err := s.redrive(ctx, *in)
	if err == nil {
		err = mayRedrive(&x.caller, r.Action)
	}
	if err == nil {
		r, err = s.Admin.Redrives.StopRedrive(ctx, x.actor(), r.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[redriveResource]{Body: s.redriveOf(r)}, nil
}

type redrivesInput struct{ Page }

func (s *Server) listRedrives(ctx context.Context, in *redrivesInput) (*output[list[redriveResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	before, refusal := in.before()
	if refusal == nil && s.Admin.Redrives == nil {
		refusal = message.Refuse(message.ReasonUnavailable, "this process keeps no re-drives")
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	found, err := s.Admin.Redrives.Redrives(ctx, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	found, next := page(found, in.Page, func(r *message.Redrive) string { return encodeRowCursor(r.ID) })
	return listed(found, next, s.redriveOf), nil
}

type redriveItemsInput struct {
	RowInput
	Page
	Outcome string `query:"outcome" enum:"open,done,passed_over,refused" doc:"Of these alone"`
}

func (s *Server) listRedriveItems(ctx context.Context, in *redriveItemsInput) (*output[list[redriveItemResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	after, refusal := in.before()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	r, err := s.redrive(ctx, in.RowInput)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var state message.RedriveItemState
	for of, word := range outcomes {
		if word == in.Outcome {
			state = of
		}
	}
	found, err := s.Admin.Redrives.RedriveItems(ctx, r.ID, state, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	found, next := page(found, in.Page, func(i message.RedriveItem) string { return encodeRowCursor(i.MessageID) })
	return listed(found, next, itemOf), nil
}

// inFilter moves what is wrong with a query to where it stands in a body.
func inFilter(refused *message.Error) []message.FieldError {
	if refused == nil {
		return nil
	}
	out := slices.Clone(refused.Fields)
	for i := range out {
		out[i].Location = "body.filter." + strings.TrimPrefix(out[i].Location, "query.")
	}
	return out
}
