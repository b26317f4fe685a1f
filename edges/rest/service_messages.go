package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// serviceSendPath is where the platform's own services send.
const serviceSendPath = internalPrefix + "/messages"

// serviceMessage is the body of POST /api/v1/messages as the document shows it.
type serviceMessage struct {
	To              string   `json:"to" minLength:"1" maxLength:"64" doc:"One recipient; its + may be left off" example:"13105550117"`
	From            string   `json:"from,omitempty" maxLength:"64" doc:"A sender of the account; its + may be left off. May be left out if the account has one enabled number." example:"12025550143"`
	Content         string   `json:"content,omitempty" maxLength:"5000" doc:"The text. Required unless there are media_urls." example:"Your code is 4711"`
	DLRRequested    *bool    `json:"dlr_requested,omitempty" doc:"false: webhooks are told of failed and rejected, and of nothing else. Left out: true."`
	CustomerID      string   `json:"customer_id" minLength:"1" maxLength:"64" doc:"The account: its id or its external_id" example:"acme-1"`
	MediaURLs       []string `json:"media_urls,omitempty" maxItems:"10" nullable:"false" doc:"Files to be sent: their presence makes an MMS"`
	ClientReference string   `json:"client_reference,omitempty" maxLength:"64"`
	MessageClass    string   `json:"message_class,omitempty" enum:"otp,conversation,bulk" doc:"Left out: the account's default"`
	ValiditySeconds *int64   `json:"validity_seconds,omitempty" minimum:"60" maximum:"259200"`
	WebhookURL      string   `json:"webhook_url,omitempty" format:"uri" maxLength:"2048" doc:"Gets this message's events instead of the account's endpoints"`
}

// serviceSent is the answer.
type serviceSent struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	ID        string   `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	MessageID string   `json:"message_id" format:"uuid" doc:"The same as id" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Status    string   `json:"status" example:"accepted"`
	Segments  int      `json:"segments" doc:"Parts that it is sent in" example:"1"`
}

func sentOf(m *message.Message) any {
	return serviceSent{ID: m.ID.String(), MessageID: m.ID.String(), Status: string(m.Status), Segments: m.Segments}
}

// serviceFields is what the fields of a new message are called here.
var serviceFields = map[string]string{"body.body": "body.content"}

// serviceCreate is a body that was read.
type serviceCreate struct {
	create   createMessage
	dlr      *bool
	customer string
}

func (in *serviceCreate) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "content":
		return true, d.text(location, &in.create.Body, lines)
	case "dlr_requested":
		return true, d.flag(location, &in.dlr)
	case "customer_id":
		return true, d.text(location, &in.customer, oneLine)
	case "to", "from", "media_urls", "client_reference", "message_class", "validity_seconds", "webhook_url":
		return in.create.member(d, name, location)
	}
	return false, nil
}

// decodeService reads and checks a body, as that of a new message is.
func (s *Server) decodeService(body []byte) (serviceCreate, int, *message.Error) {
	var in serviceCreate
	status, refusal := readObject(body, in.member, func(d *decoder) {
		if in.customer == "" && !d.faulty("body.customer_id") {
			d.invalid("body.customer_id", "is required: the account's id or its external_id")
		}
		if in.create.Body == "" && !in.create.media() && !d.faulty("body.content") && !d.faulty("body.media_urls") {
			d.invalid("body.content", "is required unless there are media_urls, and must not be empty")
			in.create.Body = "-" // it is said
		}
		if d.faulty("body.content") {
			in.create.Body = "-"
		}
		in.create.From, in.create.To = wire(in.create.From), wire(in.create.To)
		in.create.check(d, s.now(), s.checkURL(), 0)
	})
	return in, status, refusal
}

// wire gives a number its + if it was left off. What is no address stays as it is: who
// looks at it next says what is wrong with it.
func wire(number string) string {
	if a, err := message.ParseWire(number); err == nil {
		return string(a)
	}
	return number
}

// customer finds an account by its id or by what the operator's other systems call it.
func customer(config *snapshot.Snapshot, given string) *snapshot.Account {
	if id, err := message.ParseID(given); err == nil {
		if a := config.Accounts[id]; a != nil {
			return a
		}
	}
	return config.AccountByExternalID(given)
}

func (s *Server) sendForService(ctx context.Context, in *rawInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	// As in sendMessage: only time ends the work.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	key, err := s.idempotencyKey(x, in.RawBody)
	if err != nil {
		return nil, s.refuseService(x, err, 0)
	}
	if key != nil {
		key.Operation = http.MethodPost + " " + serviceSendPath
	}
	given, status, refusal := s.decodeService(in.RawBody)
	account := customer(s.Snapshot(), given.customer)
	if refusal == nil && account == nil {
		var none faults
		none.invalid("body.customer_id", "is no account's id or external_id")
		refusal = none.refusal()
	}
	if refusal != nil {
		if account != nil {
			if first, err := s.firstAnswer(ctx, x, account.ID, key); err != nil || first != nil {
				return first, err
			}
		}
		return nil, s.refuseService(x, refusal, status)
	}
	x.caller.account = account
	request := given.create.request(&x.caller)
	request.FailuresOnly = given.dlr != nil && !*given.dlr
	request.TraceParent = traceParent(x.request)
	if err := s.takeMessage(x, &request); err != nil {
		return nil, s.problem(x, err, 0)
	}
	for _, u := range given.create.MediaURLs {
		request.Media = append(request.Media, message.Media{Source: u})
	}
	return s.accept(ctx, &answer{server: s, exchange: x, show: sentOf, fields: serviceFields}, request, key)
}

// refuseService is the answer to what could not be read. It is counted as a request of
// the service's own, for whose message it is may not be known.
func (s *Server) refuseService(x *exchange, refusal error, status int) *problem {
	if err := s.count(x, asStaff, s.now()); err != nil {
		return s.problem(x, err, 0)
	}
	return s.problem(x, refusal, status)
}

func (s *Server) registerServiceMessages(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	register(api, s.operation(huma.Operation{
		OperationID: "sendForCustomer", Method: http.MethodPost, Path: serviceSendPath, Tags: []string{"Messages"}, Summary: "Send a message for a customer",
		Description: "For the platform's own services, whose access token has the scope `" + snapshot.ScopeServiceMessages + "`. Refusals, idempotency and the account's rates are as in `POST /v1/messages`; " +
			"a key belongs to the account that the body names.",
		DefaultStatus: http.StatusAccepted, Parameters: []*huma.Param{idempotencyKeyParam()},
		Responses: map[string]*huma.Response{"202": {Description: "Stored and under way", Content: contentOf[serviceSent](schemas)}},
	}, access{service: snapshot.ScopeServiceMessages, rate: asService, bodies: []string{jsonType}}, 400, 402, 409, 413, 415), s.sendForService, bodyOf[serviceMessage](schemas))
}
