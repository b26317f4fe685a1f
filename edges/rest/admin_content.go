package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/content"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
)

// ContentRules keeps the content rules. A method that changes something leaves a line
// in the audit log.
type ContentRules interface {
	// ContentRules lists them, oldest first, from behind one.
	ContentRules(ctx context.Context, f content.Filter, after message.ID, limit int) ([]content.Rule, error)
	// ContentRule reads one; ReasonNotFound when there is none.
	ContentRule(ctx context.Context, id message.ID) (content.Rule, error)
	// CreateContentRule refuses what cannot be used.
	CreateContentRule(ctx context.Context, by message.Actor, r content.Rule) error
	// ChangeContentRule has change make a rule into what it is to be.
	ChangeContentRule(ctx context.Context, by message.Actor, id message.ID, change func(*content.Rule) error) (content.Rule, error)
	DeleteContentRule(ctx context.Context, by message.Actor, id message.ID) error
	// AllContentRules compiles the active rules, or all of them, to try a text on.
	AllContentRules(ctx context.Context, inactive bool) (*content.Rules, error)
}

type contentRuleBody struct {
	Name          string     `json:"name" minLength:"1" maxLength:"100" doc:"Shown in trails; unique among the account's rules, or the global ones" example:"parcel pretexts"`
	Kind          string     `json:"kind" enum:"word,regex,link,phone" doc:"How the pattern is read"`
	Class         string     `json:"class" doc:"What it is about; customers see it" example:"phishing"`
	Pattern       string     `json:"pattern" minLength:"1" maxLength:"16384" doc:"word: words or phrases, one a line, with * at the end for any further letters. regex: RE2, at most 1,000 octets. link: domains, *, @shorteners, @ip, @userinfo, @undeclared. phone: beginnings such as +1900, *, @undeclared"`
	Action        string     `json:"action" enum:"allow,flag,hold,refuse" doc:"allow is for the rules of one account: what others would flag or hold for the same class passes"`
	AccountID     *string    `json:"account_id,omitempty" format:"uuid" nullable:"true" doc:"Left out: all accounts"`
	MessageClass  *string    `json:"message_class,omitempty" enum:"otp,conversation,bulk" nullable:"true" doc:"Left out: all"`
	EffectiveFrom *time.Time `json:"effective_from,omitempty" doc:"Left out: now"`
	Active        *bool      `json:"active,omitempty" default:"true"`
}

type contentRulePatch struct {
	Name          string     `json:"name,omitempty" minLength:"1" maxLength:"100"`
	Kind          string     `json:"kind,omitempty" enum:"word,regex,link,phone"`
	Class         string     `json:"class,omitempty"`
	Pattern       string     `json:"pattern,omitempty" minLength:"1" maxLength:"16384"`
	Action        string     `json:"action,omitempty" enum:"allow,flag,hold,refuse"`
	MessageClass  *string    `json:"message_class,omitempty" enum:"otp,conversation,bulk" nullable:"true" doc:"null: all"`
	EffectiveFrom *time.Time `json:"effective_from,omitempty"`
	Active        *bool      `json:"active,omitempty"`
}

type contentRuleResource struct {
	_             struct{} `json:"-" additionalProperties:"true"`
	ID            string   `json:"id" format:"uuid"`
	AccountID     *string  `json:"account_id" format:"uuid" doc:"null: all accounts"`
	Name          string   `json:"name"`
	Kind          string   `json:"kind" enum:"word,regex,link,phone"`
	Class         string   `json:"class"`
	Pattern       string   `json:"pattern"`
	Action        string   `json:"action" enum:"allow,flag,hold,refuse"`
	MessageClass  *string  `json:"message_class" doc:"null: all"`
	EffectiveFrom string   `json:"effective_from" format:"date-time"`
	Active        bool     `json:"active"`
	ChangedBy     string   `json:"changed_by"`
	CreatedAt     string   `json:"created_at" format:"date-time"`
	UpdatedAt     string   `json:"updated_at" format:"date-time"`
}

func contentRuleOf(r content.Rule) contentRuleResource {
	out := contentRuleResource{
		ID: r.ID.String(), Name: r.Name, Kind: string(r.Kind), Class: r.Class, Pattern: r.Pattern, Action: string(r.Action), MessageClass: optional(string(r.MessageClass)),
		EffectiveFrom: stamp(r.From), Active: r.Active, ChangedBy: r.Actor, CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt),
	}
	if r.AccountID != (message.ID{}) {
		out.AccountID = new(r.AccountID.String())
	}
	return out
}

type contentTestBody struct {
	Body         string  `json:"body" maxLength:"5000" doc:"The text"`
	AccountID    *string `json:"account_id,omitempty" format:"uuid" doc:"With the rules of this account"`
	MessageClass string  `json:"message_class,omitempty" enum:"otp,conversation,bulk" default:"conversation"`
	Inactive     *bool   `json:"inactive,omitempty" doc:"Also by rules that are not active"`
}

type contentTestResource struct {
	_       struct{}               `json:"-" additionalProperties:"true"`
	Action  *string                `json:"action" enum:"flag,hold,refuse" doc:"What would be done with a message; null: it would pass"`
	Matches []contentMatchResource `json:"matches" nullable:"false" doc:"At most 200"`
}

type contentMatchResource struct {
	_         struct{} `json:"-" additionalProperties:"true"`
	RuleID    string   `json:"rule_id" format:"uuid"`
	Name      string   `json:"name"`
	Class     string   `json:"class"`
	Action    string   `json:"action" enum:"allow,flag,hold,refuse"`
	Start     int      `json:"start" doc:"Where it begins in the text, in octets of UTF-8"`
	End       int      `json:"end" doc:"Where it ends"`
	Text      string   `json:"text" doc:"What stands there"`
	Overruled bool     `json:"overruled" doc:"A rule of the account allows the class"`
}

const contentPath = adminPrefix + "/content-rules"

func (s *Server) registerContent(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Content rules"}
	register(api, s.operation(huma.Operation{
		OperationID: "listContentRules", Method: http.MethodGet, Path: contentPath, Tags: tags, Summary: "List content rules", Description: "Oldest first.",
	}, anyStaff()), s.listContentRules, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "createContentRule", Method: http.MethodPost, Path: contentPath, Tags: tags, Summary: "Add a content rule",
		Description: "The strongest action of the rules that match wins: refuse, hold, flag. A pattern that cannot be used is refused.", DefaultStatus: http.StatusCreated,
	}, staff(snapshot.RoleCompliance).taking(), 400, 409, 413, 415), s.createContentRule, bodyOf[contentRuleBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "testContentRules", Method: http.MethodPost, Path: contentPath + "/test", Tags: tags, Summary: "Try a text",
		Description: "Shows what the rules find in a text, and where. Nothing is stored or sent.",
	}, staff(snapshot.RoleCompliance).taking(), 400, 413, 415), s.testContentRules, bodyOf[contentTestBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getContentRule", Method: http.MethodGet, Path: contentPath + "/{id}", Tags: tags, Summary: "Read a content rule",
	}, anyStaff(), 404), s.getContentRule, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeContentRule", Method: http.MethodPatch, Path: contentPath + "/{id}", Tags: tags, Summary: "Change a content rule",
		Description: "Whose rule it is stays.",
	}, staff(snapshot.RoleCompliance).taking(), 400, 404, 409, 413, 415), s.changeContentRule, bodyOf[contentRulePatch](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeContentRule", Method: http.MethodDelete, Path: contentPath + "/{id}", Tags: tags, Summary: "Take a content rule away",
		DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleCompliance), 404), s.removeContentRule, nil)
}

type contentListInput struct {
	Page
	AccountID string `query:"account_id" maxLength:"36" doc:"Of this account alone"`
	Global    bool   `query:"global" doc:"Without those of accounts"`
	Active    bool   `query:"active" doc:"Without those that are not in force"`
}

func (s *Server) listContentRules(ctx context.Context, in *contentListInput) (*output[list[contentRuleResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	after, refusal := in.before()
	f := content.Filter{Global: in.Global, Active: in.Active}
	if refusal == nil && in.AccountID != "" {
		var faults faults
		faults.account("query.account_id", in.AccountID, &f.AccountID)
		refusal = faults.refusal()
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, 0)
	}
	rows, err := s.Admin.Content.ContentRules(ctx, f, after, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	rows, next := page(rows, in.Page, func(r content.Rule) string { return encodeRowCursor(r.ID) })
	return listed(rows, next, contentRuleOf), nil
}

// account reads the id of an account.
func (f *faults) account(location, s string, into *message.ID) {
	id, err := message.ParseID(s)
	if err != nil {
		f.invalid(location, "must be a UUID of 32 hex digits, hyphens optional")
		return
	}
	*into = id
}

func (s *Server) getContentRule(ctx context.Context, in *RowInput) (*output[contentRuleResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := in.row()
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	r, err := s.Admin.Content.ContentRule(ctx, id)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	return &output[contentRuleResource]{Body: contentRuleOf(r)}, nil
}

// ruleMember reads a member that both bodies have. What the rule makes of it is
// checked when it is stored.
func ruleMember(d *decoder, r *content.Rule, name, location string) (bool, error) {
	switch name {
	case "name":
		return true, d.text(location, &r.Name, oneLine)
	case "kind":
		return true, d.parsed(location, func(v string) { r.Kind = content.Kind(v) })
	case "class":
		return true, d.text(location, &r.Class, oneLine)
	case "pattern":
		return true, d.text(location, &r.Pattern, lines)
	case "action":
		return true, d.parsed(location, func(v string) { r.Action = content.Action(v) })
	case "message_class":
		if d.peek() == 'n' {
			r.MessageClass = ""
		}
		return true, d.parsed(location, func(v string) { r.MessageClass = message.Class(v) })
	case "effective_from":
		return true, d.time(location, func(at time.Time) { r.From = at })
	case "active":
		active := &r.Active
		err := d.flag(location, &active)
		r.Active = *active
		return true, err
	}
	return false, nil
}

func (s *Server) createContentRule(ctx context.Context, in *rawInput) (*created[contentRuleResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	r := content.Rule{ID: message.NewID(), Active: true}
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		if name == "account_id" {
			return true, d.parsed(location, func(v string) { d.account(location, v, &r.AccountID) })
		}
		return ruleMember(d, &r, name, location)
	}, nil)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	err := s.Admin.Content.CreateContentRule(ctx, x.actor(), r)
	if err == nil {
		r, err = s.Admin.Content.ContentRule(ctx, r.ID)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &created[contentRuleResource]{Location: contentPath + "/" + r.ID.String(), Body: contentRuleOf(r)}, nil
}

func (s *Server) changeContentRule(ctx context.Context, in *rowBody) (*output[contentRuleResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	read := func(r *content.Rule) (int, *message.Error) {
		return readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) { return ruleMember(d, r, name, location) }, nil)
	}
	if status, refusal := read(&content.Rule{}); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	changed, err := s.Admin.Content.ChangeContentRule(ctx, x.actor(), id, func(r *content.Rule) error {
		if _, refusal := read(r); refusal != nil {
			return refusal
		}
		return nil
	})
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[contentRuleResource]{Body: contentRuleOf(changed)}, nil
}

func (s *Server) removeContentRule(ctx context.Context, in *RowInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	id, err := in.row()
	if err == nil {
		err = s.Admin.Content.DeleteContentRule(ctx, x.actor(), id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}

// maxTried is the longest text that is tried, in characters: that of an MMS.
const maxTried = 5000

func (s *Server) testContentRules(ctx context.Context, in *rawInput) (*output[contentTestResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	q := content.Query{Class: message.ClassConversation, Now: s.now()}
	var inactive *bool
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "body":
			return true, d.text(location, &q.Text, lines)
		case "account_id":
			return true, d.parsed(location, func(v string) { d.account(location, v, &q.Account) })
		case "message_class":
			return true, d.parsedChoice(location, []string{string(message.ClassOTP), string(message.ClassConversation), string(message.ClassBulk)},
				func(v string) { q.Class = message.Class(v) })
		case "inactive":
			return true, d.flag(location, &inactive)
		}
		return false, nil
	}, func(d *decoder) {
		if q.Text == "" && !d.faulty("body.body") {
			d.invalid("body.body", "is required: the text")
		}
		d.most("body.body", q.Text, maxTried)
	})
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	rules, err := s.Admin.Content.AllContentRules(ctx, inactive != nil && *inactive)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	o := policy.Try(rules, q)
	out := &output[contentTestResource]{Body: contentTestResource{Action: optional(string(o.Action)), Matches: []contentMatchResource{}}}
	for _, m := range o.Matches {
		out.Body.Matches = append(out.Body.Matches, contentMatchResource{RuleID: m.Rule.ID.String(), Name: m.Rule.Name, Class: m.Rule.Class,
			Action: string(m.Rule.Action), Start: m.From, End: m.To, Text: q.Text[m.From:m.To], Overruled: m.Overruled})
	}
	return out, nil
}
