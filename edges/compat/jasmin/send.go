package jasmin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
)

// sendOperation is what an Idempotency-Key of a new message belongs to.
const sendOperation = http.MethodPost + " /send"

// send takes a message: Success with its id once it is on disk.
func (s *server) send(w http.ResponseWriter, r *http.Request) {
	user := ""
	fail := func(err error) {
		e := s.refused(w, r, err, user)
		plain(w, e.status, `Error "`+e.text+`"`)
	}
	p, body, err := parameters(w, r)
	if err == nil {
		withDefaults(p)
		err = check(p, sendFields)
	}
	if err != nil {
		fail(err)
		return
	}
	user = p.Get("username")
	guest, err := s.admit(r, user, p.Get("password"))
	if err == nil {
		err = guest.Write()
	}
	if err != nil {
		fail(err)
		return
	}
	ctx, cancel := s.desk.Context(r)
	defer cancel()
	out, err := s.accept(ctx, guest, p, body, user)
	switch {
	case err != nil:
		fail(err)
	case out.Replay != nil:
		w.Header().Set("Idempotency-Replayed", "true")
		plain(w, out.Replay.Status, string(out.Replay.Response))
	default:
		plain(w, http.StatusOK, success(out.Message))
	}
}

func success(m *message.Message) string { return `Success "` + m.ID.String() + `"` }

func (s *server) accept(ctx context.Context, guest *rest.Guest, p url.Values, body []byte, user string) (ingress.Outcome, error) {
	key, err := guest.Key(sendOperation, body, func(m *message.Message, e *message.Error) (int, []byte, error) {
		if e == nil {
			return http.StatusOK, []byte(success(m)), nil
		}
		ours := e.Reason.Entry().HTTP
		said := said(e.Reason, ours, e.Detail, user)
		if ours == http.StatusTooManyRequests {
			said.status = ours // it may pass when the key comes back, and is not kept
		}
		return said.status, []byte(`Error "` + said.text + `"`), nil
	})
	if err != nil {
		return ingress.Outcome{}, err
	}
	request, err := s.request(guest, p)
	if err != nil {
		// A repeated request gets its first answer even if it would not pass any more.
		first, ferr := guest.First(ctx, key)
		if ferr != nil || first != nil {
			return ingress.Outcome{Replay: first}, ferr
		}
		return ingress.Outcome{}, err
	}
	request.Key = key
	return guest.Send(ctx, request)
}

// rate tells what a message would cost, and in how many parts it would go. Nothing is sent.
func (s *server) rate(w http.ResponseWriter, r *http.Request) {
	user := ""
	fail := func(err error) {
		e := s.refused(w, r, err, user)
		asJSON(w, e.status, e.text)
	}
	p, _, err := parameters(w, r)
	if err == nil {
		if !p.Has("content") && !p.Has("hex-content") {
			p.Set("content", anyContent)
		}
		withDefaults(p)
		err = check(p, rateFields)
	}
	if err != nil {
		fail(err)
		return
	}
	user = p.Get("username")
	guest, err := s.admit(r, user, p.Get("password"))
	if err == nil {
		err = guest.Write()
	}
	if err != nil {
		fail(err)
		return
	}
	request, err := s.request(guest, p)
	if err != nil {
		fail(err)
		return
	}
	ctx, cancel := s.desk.Context(r)
	defer cancel()
	request.DryRun = true
	out, err := guest.Send(ctx, request)
	if err != nil {
		fail(err)
		return
	}
	m := out.Message
	parts := max(m.Segments, 1)
	asJSON(w, http.StatusOK, map[string]any{"unit_rate": json.Number((m.Price.Amount / message.Micros(parts)).String()), "submit_sm_count": parts})
}

// anyContent stands for the text of a rate that was asked for without one.
const anyContent = "-"

// request makes parameters into a message.
func (s *server) request(guest *rest.Guest, p url.Values) (ingress.Request, error) {
	r := guest.Request()
	r.To, r.From = wire(p.Get("to")), wire(p.Get("from"))
	if tags := p.Get("tags"); tags != "" {
		r.Metadata = map[string]string{"tags": tags}
	}
	switch p.Get("priority") { // as over SMPP
	case "1":
		r.Class = message.ClassConversation
	case "2", "3":
		r.Class = message.ClassOTP
	}
	if err := times(p, s.desk.Now(), &r); err != nil {
		return r, err
	}
	if p.Get("dlr") == "yes" && p.Get("dlr-url") != "" {
		at := p.Get("dlr-url")
		if err := s.desk.CheckURL(at); err != nil {
			return r, &refusal{http.StatusBadRequest, "Argument [dlr-url] has an invalid value: it " + strings.ReplaceAll(err.Error(), `"`, "'") + "."}
		}
		r.WebhookURL = at
		r.Callback = message.CallbackJasmin(int(p.Get("dlr-level")[0]-'0'), strings.EqualFold(p.Get("dlr-method"), http.MethodGet))
	}
	return r, content(p, &r)
}

// wire gives a number the + that it may be written without.
func wire(number string) string {
	if a, err := message.ParseWire(number); err == nil {
		return string(a)
	}
	return number
}
