package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/optout"
	"github.com/postrider/postrider/internal/policy"
)

// The scopes of opt-outs.
const (
	scopeOptOutsRead  = "optouts:read"
	scopeOptOutsWrite = "optouts:write"
)

// OptOuts keeps who has stopped whom. Every method asks whose it is: another account's
// opt-out is ReasonNotFound, as one that does not exist.
type OptOuts interface {
	optout.Reader
	optout.Writer
	OptOut(ctx context.Context, account, id message.ID) (message.OptOut, error)
	StoppedBy(ctx context.Context, account message.ID, sender, recipient message.Address, campaign string) (message.OptOut, bool, error)
	RecordOptOut(ctx context.Context, o message.OptOut, w message.OptOutWrite) (message.OptOutRecorded, error)
	EndOptOut(ctx context.Context, account, id message.ID, by message.OptOutEnd, tell message.OptOutTell) (message.OptOut, error)
}

// StaffOptOuts writes opt-outs for staff, each with a line of the audit log.
type StaffOptOuts interface {
	// OptOuts lists them, newest first, older than before; those of all accounts for the
	// zero id.
	OptOuts(ctx context.Context, account message.ID, f message.OptOutFilter, before message.ID, limit int) ([]message.OptOut, error)
	// AnyOptOut reads one; ReasonNotFound when there is none.
	AnyOptOut(ctx context.Context, id message.ID) (message.OptOut, error)
	// RemoveOptOut is EndOptOut of OptOuts.
	RemoveOptOut(ctx context.Context, by message.Actor, account, id message.ID, end message.OptOutEnd, tell message.OptOutTell) (message.OptOut, error)
	// NoteOptOuts tells of an import or export: action is opt_out.import or
	// opt_out.export.
	NoteOptOuts(ctx context.Context, by message.Actor, action string, account message.ID, shown map[string]any) error
}

// optOutResource is an opt-out as customers see it.
type optOutResource struct {
	_          struct{} `json:"-" additionalProperties:"true"`
	ID         string   `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Recipient  string   `json:"recipient" example:"+13105550117"`
	Scope      string   `json:"scope" enum:"number,campaign,account" doc:"What the recipient has stopped: one sender, every number of a campaign, or all of the account"`
	Sender     *string  `json:"sender" doc:"Of scope number" example:"+12025550143"`
	CampaignID *string  `json:"campaign_id" doc:"Of scope campaign: the registry's id" example:"C8X2KQ1"`
	Active     bool     `json:"active" doc:"false: it has ended, and is kept as history"`
	Keyword    *string  `json:"keyword" doc:"What the recipient wrote, as it is listed" example:"STOP"`
	Source     string   `json:"source" enum:"keyword,api,vendor,import"`
	MessageID  *string  `json:"message_id" format:"uuid" doc:"The message it came by, or that was refused for it"`
	Reason     *string  `json:"reason"`
	At         string   `json:"at" format:"date-time" doc:"Since when" example:"2026-11-21T20:15:04.310Z"`
	EndedAt    *string  `json:"ended_at" format:"date-time"`
	EndReason  *string  `json:"end_reason"`
}

func optOutOf(o message.OptOut) optOutResource {
	return optOutResource{ID: o.ID.String(), Recipient: string(o.Recipient), Scope: string(o.Scope), Sender: optional(string(o.Sender)),
		CampaignID: optional(o.CampaignID), Active: o.Active(), Keyword: optional(o.Keyword), Source: string(o.Source), MessageID: optionalID(o.MessageID),
		Reason: optional(o.Reason), At: stamp(o.At), EndedAt: optionalTime(o.Ended.At), EndReason: optional(o.Ended.Reason)}
}

// createOptOut is the body of POST /v1/opt-outs as the document shows it.
type createOptOut struct {
	Recipient  string `json:"recipient" minLength:"1" maxLength:"64" doc:"Who wants no more messages: E.164 with a leading +, or a short code. Spaces, brackets, dots and dashes are dropped." example:"+13105550117"`
	Scope      string `json:"scope,omitempty" enum:"number,campaign,account" doc:"Left out: number if there is a sender, campaign if there is a campaign_id, else account."`
	Sender     string `json:"sender,omitempty" maxLength:"64" doc:"Of scope number: the sender that is stopped" example:"+12025550143"`
	CampaignID string `json:"campaign_id,omitempty" maxLength:"64" doc:"Of scope campaign: the registry's id of a campaign of the account" example:"C8X2KQ1"`
	Keyword    string `json:"keyword,omitempty" maxLength:"32" doc:"What the recipient wrote, if he did"`
	Reason     string `json:"reason,omitempty" maxLength:"256" doc:"Why, for the record" example:"asked by phone"`
}

func (in *createOptOut) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "recipient":
		return true, d.text(location, &in.Recipient, oneLine)
	case "scope":
		return true, d.choice(location, &in.Scope, string(message.OptOutNumber), string(message.OptOutCampaign), string(message.OptOutAccount))
	case "sender":
		return true, d.text(location, &in.Sender, oneLine)
	case "campaign_id":
		return true, d.text(location, &in.CampaignID, oneLine)
	case "keyword":
		return true, d.text(location, &in.Keyword, oneLine)
	case "reason":
		return true, d.text(location, &in.Reason, oneLine)
	}
	return false, nil
}

// decodeOptOut reads the body of a new opt-out. The status is 400 for a body that is not
// JSON.
func (s *Server) decodeOptOut(c *caller, body []byte) (message.OptOut, int, *message.Error) {
	var in createOptOut
	d, err := decodeObject(body, in.member)
	if err != nil {
		return message.OptOut{}, http.StatusBadRequest, unreadable(err)
	}
	if in.Recipient == "" && !d.faulty("body") && !d.faulty("body.recipient") {
		d.invalid("body.recipient", "is required: the number that wants no more messages, such as +13105550117")
	}
	if refusal := d.refusal(); refusal != nil {
		return message.OptOut{}, 0, refusal
	}
	o := message.OptOut{ID: message.NewID(), AccountID: c.account.ID, Keyword: in.Keyword, Reason: in.Reason, Source: message.OptOutByAPI, Actor: c.name()}
	if err := optout.Fill(&o, in.Recipient, in.Scope, in.Sender, in.CampaignID); err != nil {
		return o, 0, placed("body.", err)
	}
	if err := s.campaignOwned(o); err != nil {
		return o, 0, placed("body.", err)
	}
	return o, 0, nil
}

// placed puts the place of the fields in front of their names.
func placed(place string, err error) *message.Error {
	e := message.AsError(err)
	out := *e
	out.Fields = nil
	for _, f := range e.Fields {
		out.Fields = append(out.Fields, message.FieldError{Location: place + f.Location, Message: f.Message})
	}
	if len(out.Fields) > 0 {
		out.Detail = describe(out.Fields)
	}
	return &out
}

// campaignOwned refuses a campaign that is not the account's: a slip of the pen would stop
// nothing.
func (s *Server) campaignOwned(o message.OptOut) error {
	return s.campaignsOwned(o.AccountID)(o)
}

// campaignsOwned is campaignOwned for many opt-outs of one account: a file may have a
// million rows, and the configuration many campaigns.
func (s *Server) campaignsOwned(account message.ID) func(message.OptOut) error {
	own := map[string]bool{}
	for _, c := range s.Snapshot().Campaigns {
		if c.AccountID == account {
			own[c.CampaignID] = true
		}
	}
	return func(o message.OptOut) error {
		if o.Scope == message.OptOutCampaign && !own[o.CampaignID] {
			return noCampaign(o)
		}
		return nil
	}
}

func noCampaign(o message.OptOut) error {
	e := message.Refuse(message.ReasonInvalidRequest, "campaign_id: there is no campaign %s", o.CampaignID)
	e.Fields = []message.FieldError{{Location: "campaign_id", Message: "is no campaign of this account"}}
	return e
}

// createOptOut answers POST /v1/opt-outs: 201 for a fresh one, 200 with the one that is
// in force already.
func (s *Server) createOptOut(ctx context.Context, in *rawInput) (*rawOutput, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	key, err := s.operationKey(x, http.MethodPost+" /v1/opt-outs", in.RawBody)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		first, err := s.Journal.FirstAnswer(ctx, *key)
		switch {
		case err != nil:
			return nil, s.problem(x, err, 0)
		case first != nil:
			return replay(first), nil
		}
	}
	o, status, refusal := s.decodeOptOut(&x.caller, in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	write := message.OptOutWrite{Tell: notification.OptOutTell(s.Snapshot(), s.now()), Staff: x.staffActor()}
	if key != nil {
		write.Key = func(o message.OptOut, fresh bool) (message.Idempotency, error) {
			answer := *key
			out, err := createdOptOut(o, fresh)
			if err == nil {
				answer.Status, answer.Response = out.Status, out.Body
			}
			return answer, err
		}
	}
	made, err := s.OptOuts.RecordOptOut(ctx, o, write)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if made.Replay != nil {
		return replay(made.Replay), nil
	}
	out, err := createdOptOut(made.OptOut, made.Fresh)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return out, nil
}

func createdOptOut(o message.OptOut, fresh bool) (*rawOutput, error) {
	body, err := encode(optOutOf(o))
	out := &rawOutput{Status: http.StatusOK, Body: body, ContentType: jsonType}
	if fresh {
		out.Status, out.Location = http.StatusCreated, "/v1/opt-outs/"+o.ID.String()
	}
	return out, err
}

// operationKey is the Idempotency-Key of a request for an operation; nil if there is none.
func (s *Server) operationKey(x *exchange, operation string, body []byte) (*message.Idempotency, error) {
	k, err := s.idempotencyKey(x, body)
	if k == nil || err != nil {
		return nil, err
	}
	return &message.Idempotency{AccountID: x.caller.account.ID, Operation: operation, Key: k.Value, BodyHash: k.BodyHash}, nil
}

type optOutInput struct {
	ID string `path:"id" doc:"The opt-out's id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
}

func optOutID(given string) (message.ID, error) {
	id, err := message.ParseID(given)
	if err != nil {
		return id, message.Refuse(message.ReasonNotFound, "no such opt-out: an id is a UUID of 32 hex digits, hyphens optional")
	}
	return id, nil
}

func (s *Server) getOptOut(ctx context.Context, in *optOutInput) (*output[optOutResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := optOutID(in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	o, err := s.OptOuts.OptOut(ctx, x.caller.account.ID, id)
	return s.ownOptOut(x, o, err)
}

// ownOptOut is the answer with an opt-out of the caller's account.
func (s *Server) ownOptOut(x *exchange, o message.OptOut, err error) (*output[optOutResource], error) {
	if err == nil && o.AccountID != x.caller.account.ID { // the store has checked it; nothing else stands between two customers
		err = message.Refuse(message.ReasonNotFound, "no opt-out %s", o.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[optOutResource]{Body: optOutOf(o)}, nil
}

// endOptOutBody is the body of DELETE /v1/opt-outs/{id}.
type endOptOutBody struct {
	Reason string `json:"reason,omitempty" maxLength:"256" doc:"Why the recipient may be written to again, such as the proof of consent" example:"opted in again on the web form"`
}

// endOptOutInput has no body, since huma asks for one that may be left out.
type endOptOutInput struct {
	ID     string `path:"id" doc:"The opt-out's id, with or without hyphens" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Reason string `query:"reason" maxLength:"256" doc:"Instead of the body, for clients that send none with DELETE"`
}

func (s *Server) endOptOut(ctx context.Context, in *endOptOutInput) (*output[optOutResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(x.ResponseWriter, x.request.Body, maxBody))
	if err != nil {
		return nil, s.problem(x, unread(err), 0)
	}
	reason, status, refusal := endReason(in.Reason, body)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	id, err := optOutID(in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	end, tell := message.OptOutEnd{Actor: x.caller.name(), Reason: reason}, notification.OptOutTell(s.Snapshot(), s.now())
	var o message.OptOut
	if by := x.staffActor(); by != nil {
		o, err = s.Admin.OptOuts.RemoveOptOut(ctx, *by, x.caller.account.ID, id, end, tell)
	} else {
		o, err = s.OptOuts.EndOptOut(ctx, x.caller.account.ID, id, end, tell)
	}
	return s.ownOptOut(x, o, err)
}

// unread is the refusal of a body that could not be read.
func unread(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return message.Refuse(message.ReasonPayloadTooLarge, "the body is larger than %d octets", large.Limit)
	}
	return message.Refuse(message.ReasonInvalidRequest, "the body could not be read to its end")
}

// endReason finds the reason in the body or the query.
func endReason(reason string, body []byte) (string, int, *message.Error) {
	at := "query.reason"
	if len(body) > 0 {
		d, err := decodeObject(body, func(d *decoder, name, location string) (bool, error) {
			if name != "reason" {
				return false, nil
			}
			at = location
			return true, d.text(location, &reason, oneLine)
		})
		if err != nil {
			return "", http.StatusBadRequest, unreadable(err)
		}
		if refusal := d.refusal(); refusal != nil {
			return "", 0, refusal
		}
	}
	var f faults
	reason = strings.TrimSpace(reason)
	if err := optout.Text("reason", reason, message.MaxOptOutReason); err != nil {
		f.invalid(at, "must be one line of at most %d characters", message.MaxOptOutReason)
	}
	if reason == "" {
		f.invalid("body.reason", "is required: why the recipient may be written to again")
	}
	return reason, 0, f.refusal()
}

type optOutsInput struct {
	Page
	OptOutFilter
}

// OptOutFilter is what lists and exports of opt-outs are narrowed by. It is exported
// for huma's sake, as Page is.
type OptOutFilter struct {
	Recipient  string `query:"recipient" maxLength:"64" doc:"Of this handset alone" example:"+13105550117"`
	Sender     string `query:"sender" maxLength:"64" doc:"Of scope number" example:"+12025550143"`
	CampaignID string `query:"campaign_id" maxLength:"64" doc:"Of scope campaign"`
	Active     string `query:"active" enum:"true,false" doc:"true: in force; false: ended; left out: both"`
}

func (in *OptOutFilter) filter() (message.OptOutFilter, *message.Error) {
	var faults faults
	f := message.OptOutFilter{CampaignID: in.CampaignID}
	f.Recipient = queryAddress(&faults, "query.recipient", in.Recipient)
	f.Sender = queryAddress(&faults, "query.sender", in.Sender)
	queryText(&faults, "query.campaign_id", in.CampaignID)
	if in.Active != "" {
		f.Active = new(in.Active == "true")
	}
	return f, faults.refusal()
}

// optOutCursor is the first octet of a cursor of opt-outs: 16 octets of an id follow.
const optOutCursor = 'o'

func (s *Server) listOptOuts(ctx context.Context, in *optOutsInput) (*output[list[optOutResource]], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	filter, refusal := in.filter()
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	var before message.ID
	if in.Cursor != "" {
		b, err := base64.RawURLEncoding.Strict().DecodeString(in.Cursor)
		if err != nil || len(b) != 1+len(before) || b[0] != optOutCursor {
			return nil, s.problem(x, badCursor(), 0)
		}
		copy(before[:], b[1:])
	}
	found, err := s.OptOuts.OptOuts(ctx, x.caller.account.ID, filter, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[optOutResource]]{Body: list[optOutResource]{Data: make([]optOutResource, 0, len(found))}}
	if len(found) > in.size() {
		found = found[:in.size()]
		out.Body.NextCursor = optional(base64.RawURLEncoding.EncodeToString(append([]byte{optOutCursor}, found[len(found)-1].ID[:]...)))
	}
	for _, o := range found {
		out.Body.Data = append(out.Body.Data, optOutOf(o))
	}
	return out, nil
}

type checkOptOutInput struct {
	Recipient string `query:"recipient" required:"true" minLength:"1" maxLength:"64" doc:"Who would get the message" example:"+13105550117"`
	Sender    string `query:"sender" required:"true" minLength:"1" maxLength:"64" doc:"What it would come from" example:"+12025550143"`
}

type optOutCheck struct {
	_       struct{}        `json:"-" additionalProperties:"true"`
	Stopped bool            `json:"stopped" doc:"A message from this sender to this recipient is refused with opted_out"`
	OptOut  *optOutResource `json:"opt_out" doc:"What stops it: of the widest scope if there are several"`
}

// TransformSchema is as for the message.
func (optOutCheck) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "opt_out")
}

// checkOptOut asks the table, so that it shows what was written a moment ago on any
// replica.
func (s *Server) checkOptOut(ctx context.Context, in *checkOptOutInput) (*output[optOutCheck], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	var faults faults
	recipient := queryAddress(&faults, "query.recipient", in.Recipient)
	sender := queryAddress(&faults, "query.sender", in.Sender)
	if refusal := faults.refusal(); refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	account := x.caller.account.ID
	o, stopped, err := s.OptOuts.StoppedBy(ctx, account, sender, recipient, policy.CampaignOf(s.Snapshot(), account, sender))
	if err == nil && stopped && o.AccountID != account {
		err = errors.New("an opt-out of another account came back")
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[optOutCheck]{Body: optOutCheck{Stopped: stopped}}
	if stopped {
		r := optOutOf(o)
		out.Body.OptOut = &r
	}
	return out, nil
}
