package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// The scopes of what belongs to an account itself. Those of other subjects are beside
// their operations.
const (
	scopeCredentialsWrite = "credentials:write"
	scopeAccountWrite     = "account:write"
)

// grantable are the scopes that a credential or a user of the portal may have.
func grantable() []string {
	return []string{scopeMessagesWrite, scopeMessagesRead, scopeMediaWrite, scopeNumbersRead, scopeNumbersWrite, "webhooks:read", "webhooks:write", scopeCredentialsWrite,
		scopeRegistryRead, scopeRegistryWrite, scopeOptOutsRead, scopeOptOutsWrite, scopeUsageRead, scopeAccountWrite}
}

// The operations on an account's own resources ask the caller three things and nothing
// else: which account, by whom, and what he may hand on. So they serve whoever acts for
// an account: with caller.account set, members of staff as well.

// changer names the caller in the audit log.
func (x *exchange) changer() message.Actor {
	if x.caller.staff != nil || x.caller.service != nil {
		return x.actor()
	}
	return customerActor(x)
}

// operator reports whether the caller is a member of staff: he may hand on everything,
// and what customers get by contract only.
func (c *caller) operator() bool { return c.staff != nil }

// handsOn puts into f which scopes are none, and which the caller may not hand on since
// he has not got them. had are those that need not be asked for again.
func (c *caller) handsOn(f *faults, location string, scopes, had []string) {
	for _, scope := range scopes {
		switch {
		case !contains(grantable(), scope):
			f.invalid(location, "%q is no scope; there are %s", clip(scope), strings.Join(grantable(), ", "))
		case !c.operator() && !c.may(scope) && !contains(had, scope):
			f.add(message.ReasonForbidden, location, "the scope %s is not yours to give: your own credential lacks it", scope)
		}
	}
}

// sorted is a list without its repetitions, in order.
func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// networks reads a list of networks or addresses, each as it is stored.
func (d *decoder) networks(location string, into *[]netip.Prefix, most int) error {
	var list *[]string
	if err := d.texts(location, &list, most); err != nil || list == nil {
		return err
	}
	found := []netip.Prefix{}
	for _, s := range *list {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil:
			d.invalid(location, "%q is no network; write it as 192.0.2.0/24 or 2001:db8::/48, or one address", clip(s))
		case p != p.Masked():
			d.invalid(location, "%s has bits of a host; the network is %s", p, p.Masked())
		case !slices.Contains(found, p):
			found = append(found, p)
		}
	}
	*into = found
	return nil
}

func networksOf(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}

// ranged reads a whole number of a range; null leaves it.
func (d *decoder) ranged(location string, into *int, least, most int64) error {
	var n *int64
	if err := d.whole(location, &n); err != nil || n == nil {
		return err
	}
	if *n < least || *n > most {
		d.invalid(location, "must be %d to %d", least, most)
		return nil
	}
	*into = int(*n)
	return nil
}

// span is ranged for a time.
func (d *decoder) span(location string, into *time.Duration, least, most int64) error {
	n := int(*into / time.Second)
	err := d.ranged(location, &n, least, most)
	*into = time.Duration(n) * time.Second
	return err
}

// making is a POST that makes something, or a secret of it.
type making[T any] struct {
	status int
	// read reads the body. The status is 400 for one that is not JSON.
	read func() (int, *message.Error)
	// do makes it. The answer that answer gives is kept with it, unless answer is nil: the
	// request has no key.
	do   func(ctx context.Context, answer func(T) (message.Idempotency, error)) (T, *message.Idempotency, error)
	show func(T) any
	// once is show with the secret; nil: there is none. What is kept has none.
	once func(T) any
	path string // what its id is put behind for Location; empty: there is none
}

// madeOutput is the answer. It is encoded already: a repeated request gets what was kept.
type madeOutput struct {
	Status      int
	ContentType string `header:"Content-Type" hidden:"true"`
	Location    string `header:"Location" doc:"Its path"`
	Replayed    string `header:"Idempotency-Replayed" enum:"true" doc:"true if this is the first answer again"`
	Body        []byte
}

// perform does it, or for a request that is repeated with its key gives the first answer
// again.
func perform[T any](ctx context.Context, s *Server, body []byte, m making[T]) (*madeOutput, error) {
	x := exchangeOf(ctx)
	// A customer who hangs up must not leave him with half an answer: what is made is made.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	key, err := registryKey(x, body, x.request.Method+" "+x.request.URL.Path)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		first, err := s.Journal.FirstAnswer(ctx, *key)
		switch {
		case err != nil:
			return nil, s.problem(x, err, 0)
		case first != nil:
			return m.again(first), nil
		}
	}
	if status, refusal := m.read(); refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	var answer func(T) (message.Idempotency, error)
	if key != nil {
		answer = func(made T) (kept message.Idempotency, err error) {
			kept = *key
			kept.Status = m.status
			kept.Response, err = encode(m.show(made))
			return kept, err
		}
	}
	made, replay, err := m.do(ctx, answer)
	switch {
	case err != nil:
		return nil, s.problem(x, err, changeStatus(err))
	case replay != nil:
		return m.again(replay), nil
	}
	shown := m.show
	if m.once != nil {
		shown = m.once
	}
	answered, err := encode(shown(made))
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return m.output(m.status, answered), nil
}

func (m making[T]) again(first *message.Idempotency) *madeOutput {
	out := m.output(first.Status, first.Response)
	out.Replayed = "true"
	return out
}

func (m making[T]) output(status int, body []byte) *madeOutput {
	out := &madeOutput{Status: status, ContentType: jsonType, Body: body}
	var made struct {
		ID string `json:"id"`
	}
	if m.path != "" && json.Unmarshal(body, &made) == nil {
		out.Location = m.path + "/" + made.ID
	}
	return out
}

// idChange is a change of something with an id that has an ETag.
type idChange struct {
	RowInput
	IfMatch
	RawBody []byte
}

// idRemoval is the removal of something with an id that has an ETag.
type idRemoval struct {
	RowInput
	IfMatch
}

// keyed documents a POST of that kind.
func keyed[T any](api huma.API, op huma.Operation) huma.Operation {
	schemas := api.OpenAPI().Components.Schemas
	op.Parameters = []*huma.Param{idempotencyKeyParam()}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusCreated
	}
	text := map[int]string{http.StatusCreated: "Made", http.StatusOK: "Done"}[op.DefaultStatus]
	op.Responses = map[string]*huma.Response{map[int]string{http.StatusCreated: "201", http.StatusOK: "200"}[op.DefaultStatus]: {Description: text, Content: contentOf[T](schemas)}}
	return op
}

func (s *Server) registerOwn(api huma.API) {
	s.registerAccount(api)
	s.registerOwnNumbers(api)
	s.registerCredentials(api)
	s.registerESMEs(api)
	s.registerUsers(api)
}
