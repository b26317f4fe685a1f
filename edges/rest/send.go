package rest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// sendOperation is what an Idempotency-Key of a new message belongs to.
const sendOperation = http.MethodPost + " /v1/messages"

// edgeName is this edge's name in the journal.
const edgeName = "rest"

// Ingress takes messages: the one door into the journal.
type Ingress interface {
	// Accept stores a message, or refuses it with a *message.Error; the outcome
	// has a message beside the error if the refusal was recorded. A nil error
	// means that the message is on disk.
	Accept(ctx context.Context, r ingress.Request) (ingress.Outcome, error)
	// Revise changes a message that has not left, under the rules of a new one, and gives
	// it as it is then.
	Revise(ctx context.Context, r ingress.Revision) (*message.Message, error)
	// Cancel withdraws a message; one that is withdrawn already counts as done.
	Cancel(ctx context.Context, id message.ID) error
}

// rawInput hands the body to the operation as it came.
type rawInput struct {
	RawBody []byte
}

// rawOutput is an answer that is already encoded: an idempotent request must
// get the very octets that were stored.
type rawOutput struct {
	Status      int
	ContentType string `header:"Content-Type" hidden:"true"`
	Location    string `header:"Location" doc:"Path of the message"`
	Replayed    string `header:"Idempotency-Replayed" enum:"true" doc:"true if this is the first answer again"`
	Body        []byte
}

// dryRunResource is the answer to a dry run.
type dryRunResource struct {
	_        struct{}        `json:"-" additionalProperties:"true"`
	Allowed  bool            `json:"allowed"`
	Error    *errorResource  `json:"error" doc:"Why not"`
	Trail    []trailResource `json:"trail" nullable:"false" doc:"The rules that were looked at, in order"`
	Encoding *string         `json:"encoding"`
	Segments *int            `json:"segments"`
	Price    *priceResource  `json:"price"`
	Route    *routeResource  `json:"route" doc:"How it would go"`
	Hold     *holdResource   `json:"hold" doc:"What it would have to wait for"`
	LeavesAt *string         `json:"leaves_at" format:"date-time" doc:"When it would leave; null: not, or when somebody has looked at it"`
}

// routeResource names a routing rule, and no vendor.
type routeResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	ID         int64    `json:"id" doc:"The routing rule that comes first"`
	Candidates int      `json:"candidates" doc:"How many ways there are"`
}

func (s *Server) sendMessage(ctx context.Context, in *rawInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	// An accepted message must not hang on whether the client still listens, so
	// only time ends the work.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()

	key, err := s.idempotencyKey(x, in.RawBody)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	create, status, refusal := decodeCreate(in.RawBody, s.now(), s.checkURL())
	if refusal != nil {
		// A repeated request gets its first answer even if it would not pass any
		// more, as with a send_at that has come and gone.
		if first, err := s.firstAnswer(ctx, x, x.caller.account.ID, key); err != nil || first != nil {
			return first, err
		}
		return nil, s.problem(x, refusal, status)
	}
	request := create.request(&x.caller)
	request.TraceParent = traceParent(x.request)
	if err := s.takeMessage(x, &request); err != nil {
		return nil, s.problem(x, err, 0)
	}
	if err := s.findMedia(ctx, &create, &request); err != nil {
		return nil, s.problem(x, err, 0)
	}
	if request.DryRun {
		return s.dryRun(ctx, x, request)
	}
	return s.accept(ctx, &answer{server: s, exchange: x}, request, key)
}

// accept hands a new message to ingress, and answers.
func (s *Server) accept(ctx context.Context, a *answer, request ingress.Request, key *ingress.Key) (*rawOutput, error) {
	if key != nil {
		key.Render = a.render
		request.Key = key
	}
	outcome, err := s.Ingress.Accept(ctx, request)
	if err != nil && outcome.Message == nil && lasting(err) {
		// Ingress may refuse a request before it looks at its key: what was
		// accepted with it is still its answer.
		if first, err := s.firstAnswer(ctx, a.exchange, request.AccountID, key); err != nil || first != nil {
			return first, err
		}
	}
	return a.of(ctx, outcome, err)
}

// lasting reports whether err is a refusal of what the request says, and not of
// its key, its rate or the moment.
func lasting(err error) bool {
	switch e := message.ReasonOf(err).Entry(); e.Reason {
	case message.ReasonIdempotencyInProgress, message.ReasonIdempotencyMismatch:
		return false
	default:
		return e.HTTP/100 == 4 && e.HTTP != http.StatusTooManyRequests
	}
}

// idempotencyKey reads the Idempotency-Key header; nil if there is none.
func (s *Server) idempotencyKey(x *exchange, body []byte) (*ingress.Key, error) {
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
	// The length keeps body and query apart.
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(body))))
	h.Write(body)
	h.Write([]byte(x.request.URL.RawQuery))
	k := &ingress.Key{Operation: sendOperation, Value: value}
	h.Sum(k.BodyHash[:0])
	return k, nil
}

// firstAnswer finds the stored answer of a key, nil if the key is fresh.
func (s *Server) firstAnswer(ctx context.Context, x *exchange, account message.ID, key *ingress.Key) (*rawOutput, error) {
	if key == nil {
		return nil, nil
	}
	first, err := s.Journal.FirstAnswer(ctx, message.Idempotency{
		AccountID: account, Operation: key.Operation, Key: key.Value, BodyHash: key.BodyHash,
	})
	switch {
	case err != nil:
		return nil, s.problem(x, err, 0)
	case first != nil:
		return replay(first), nil
	}
	return nil, nil
}

// answer makes the answer to a new message. Ingress calls render before it
// stores the message, because the answer is stored beside it; what was rendered
// then is what is sent.
type answer struct {
	server   *Server
	exchange *exchange
	show     func(m *message.Message) any // what an accepted message is answered with; nil: the resource
	fields   map[string]string            // what fields of a new message are called in this request; nil: the same

	status  int
	body    []byte
	id      message.ID // of the message that body is about
	refused bool       // and says that it was refused
}

func (a *answer) render(m *message.Message, e *message.Error) (int, []byte, error) {
	var err error
	a.refused = e != nil
	switch {
	case e != nil:
		p := a.renamed(problemOf(e, 0, a.exchange.requestID))
		if m != nil {
			p.MessageID = m.ID.String()
		}
		a.status = p.Status
		a.body, err = encode(p)
	case m == nil:
		err = errors.New("nothing to answer with")
	default:
		a.status = http.StatusAccepted
		var shown any = a.server.resourceOf(m)
		if a.show != nil {
			shown = a.show(m)
		}
		a.body, err = encode(shown)
	}
	if m != nil {
		a.id = m.ID
	}
	return a.status, a.body, err
}

// renamed gives the fields that a refusal names the names that they have in the request.
func (a *answer) renamed(p *problem) *problem {
	for i, f := range p.Errors {
		if name := a.fields[f.Location]; name != "" {
			p.Errors[i].Location = name
		}
	}
	return p
}

// of is the answer to what ingress said.
func (a *answer) of(ctx context.Context, outcome ingress.Outcome, err error) (*rawOutput, error) {
	s, x, m := a.server, a.exchange, outcome.Message
	switch {
	case err == nil && outcome.Replay != nil:
		return replay(outcome.Replay), nil
	case err != nil && m == nil:
		return nil, a.renamed(s.problem(x, late(ctx, err), 0))
	case err == nil && m == nil:
		return nil, s.problem(x, errors.New("ingress accepted without a message"), 0)
	}
	if a.body == nil || a.id != m.ID || a.refused != (err != nil) {
		var refusal *message.Error
		if err != nil {
			refusal = message.AsError(err)
		}
		if _, _, err := a.render(m, refusal); err != nil {
			return nil, s.problem(x, err, 0)
		}
	}
	out := &rawOutput{Status: a.status, Body: a.body, ContentType: "application/json"}
	if err != nil {
		out.ContentType = problemType
		s.problem(x, err, 0).setHeaders(x.Header())
		return out, nil
	}
	out.Location = messagesPath + "/" + m.ID.String()
	return out, nil
}

// late names an error that only says that time ran out.
func late(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return message.Because(message.ReasonUnavailable, err,
			"the journal did not answer in time; whether the message was stored is not known: repeat it with the same Idempotency-Key")
	}
	return err
}

// replay is a first answer again.
func replay(first *message.Idempotency) *rawOutput {
	out := &rawOutput{Status: first.Status, Body: first.Response, Replayed: "true", ContentType: "application/json"}
	if first.Status >= http.StatusBadRequest {
		out.ContentType = problemType
		return out
	}
	var made struct {
		ID string `json:"id"`
	}
	// The operation names where what was made stands; 200 made nothing.
	if _, path, ok := strings.Cut(first.Operation, " "); ok && first.Status != http.StatusOK && json.Unmarshal(first.Response, &made) == nil && made.ID != "" {
		out.Location = path + "/" + made.ID
		if strings.HasSuffix(path, "/retry") || path == keptSendPath || path == serviceSendPath { // they make a message, which stands with the others
			out.Location = messagesPath + "/" + made.ID
		}
	}
	return out
}

// messagesPath is where a customer's messages are.
const messagesPath = "/v1/messages"

func (s *Server) dryRun(ctx context.Context, x *exchange, request ingress.Request) (*rawOutput, error) {
	outcome, err := s.Ingress.Accept(ctx, request)
	if err != nil && message.ReasonOf(err).Entry().HTTP/100 != 4 {
		return nil, s.problem(x, late(ctx, err), 0)
	}
	r := dryRunResource{Allowed: err == nil, Error: errorOf(message.AsError(err)), Trail: trailOf(outcome.Trail)}
	if m := outcome.Message; m != nil {
		r.Encoding, r.Price = optional(string(m.Encoding)), priceOf(m.Price)
		if m.Segments > 0 {
			r.Segments = &m.Segments
		}
	}
	r.Hold = holdOf(outcome.Hold)
	if outcome.Route != 0 {
		r.Route = &routeResource{ID: outcome.Route, Candidates: outcome.Candidates}
	}
	if r.Allowed {
		r.LeavesAt = s.leavesAt(outcome)
	}
	body, err := encode(r)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &rawOutput{Status: http.StatusOK, Body: body, ContentType: "application/json"}, nil
}

// leavesAt is when a message that is not sent would be.
func (s *Server) leavesAt(o ingress.Outcome) *string {
	at := s.now()
	if o.Message.SendAt.After(at) {
		at = o.Message.SendAt
	}
	switch h := o.Hold; {
	case h == nil:
	case h.Until.IsZero():
		return nil
	case h.Until.After(at):
		at = h.Until
	}
	return optionalTime(at)
}

// traceParent is the request's W3C trace context, empty if there is none that
// can be read (version 00 and later ones begin alike: 2-32-16-2 hex digits).
func traceParent(r *http.Request) string {
	t := r.Header.Get("Traceparent")
	if len(t) < 55 || len(t) > 128 || t[2] != '-' || t[35] != '-' || t[52] != '-' || !lowerHex(t[:2]+t[3:35]+t[36:52]+t[53:55]) {
		return ""
	}
	return t
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
