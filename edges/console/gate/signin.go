package gate

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// maxSecret bounds what is hashed for somebody who is not known, in octets.
const maxSecret = 1024

// portalChecks are the passwords that are computed for a sign-in at the portal at least:
// an address has one in each of its accounts, and the time must not show in how many, as
// long as they are no more than these. One is 25 ms.
const portalChecks = 4

// next is the page that the visitor has wanted.
func (v *visit) next() string {
	if v.r.Method == http.MethodPost {
		return v.gate.safeNext(v.r.PostForm.Get("next"))
	}
	return v.gate.safeNext(v.r.URL.Query().Get("next"))
}

func (v *visit) signInPage() error {
	if v.in && !v.session.Waiting {
		return v.away(v.next())
	}
	return v.showSignIn(http.StatusOK, signInForm{next: v.next(), notice: notices[v.r.URL.Query().Get("done")]})
}

// wrongSignIn is all that anybody is told whose sign-in does not work.
const wrongSignIn = "E-mail address or password is wrong."

func (v *visit) signIn() error {
	if v.in && !v.session.Waiting {
		return v.away(v.gate.prefix())
	}
	if err := v.checkForm(maxForm); err != nil {
		// Most often the form was open for long: the password is not asked for in vain.
		return v.showSignIn(http.StatusForbidden, signInForm{next: v.gate.prefix(), wrong: errStale.text})
	}
	email, password := strings.ToLower(strings.TrimSpace(v.r.PostForm.Get("email"))), v.r.PostForm.Get("password")
	form := signInForm{next: v.next(), email: email}
	if email == "" || password == "" || len(email)+len(password) > maxSecret {
		form.wrong = "Give your e-mail address and your password."
		return v.showSignIn(http.StatusUnprocessableEntity, form)
	}
	people, fit, err := v.known(email, password)
	if err != nil {
		return v.held(err, func(text string) error {
			form.wrong = text
			return v.showSignIn(http.StatusTooManyRequests, form)
		})
	}
	switch len(fit) {
	case 0:
		v.failed(email, "password", people...)
		form.wrong = wrongSignIn
		return v.showSignIn(http.StatusUnauthorized, form)
	case 1:
		return v.enter(fit[0], form)
	}
	return v.askAccount(fit, form)
}

// known finds whom an address and a password let in: those of fit, who are some of people.
// Whoever the address is of, it takes as long.
func (v *visit) known(email, password string) (people, fit []snapshot.Person, err error) {
	if err := v.mayTry(email); err != nil {
		return nil, nil, err
	}
	if people, err = v.gate.Store.People(v.ctx, v.gate.Door, email); err != nil {
		return nil, nil, err
	}
	if err := v.gate.Turns.Take(v.ctx); err != nil {
		return nil, nil, err
	}
	defer v.gate.Turns.Give()
	// Asked again when the password's turn has come, so that what others have failed
	// meanwhile counts.
	if err := v.mayTry(email); err != nil {
		return nil, nil, err
	}
	checks := 1
	if v.gate.Door == snapshot.Portal {
		checks = portalChecks
	}
	for i := range max(checks, len(people)) {
		var p snapshot.Person
		if i < len(people) {
			p = people[i]
		}
		if v.gate.Passwords.PasswordFits(p.PasswordHash, password) && p.Active {
			fit = append(fit, p)
			v.rehash(p, password)
		}
	}
	return people, fit, nil
}

// rehash replaces a hash that is made otherwise now. What fails is tried again at the next
// sign-in.
func (v *visit) rehash(p snapshot.Person, password string) {
	if !v.gate.Passwords.Stale(p.PasswordHash) {
		return
	}
	hash, err := v.gate.Passwords.HashPassword(password)
	if err == nil {
		err = v.gate.Store.RehashPassword(v.ctx, p, hash)
	}
	if err != nil {
		v.gate.Log.Warn("password not hashed anew", "person", p.ID, "error", err)
	}
}

// mayTry is a refusal for an address, or a place, of which too many wrong passwords came.
func (v *visit) mayTry(email string) error {
	now := v.gate.Now()
	for _, tiers := range []limit.Tiers{v.fromHere(), limit.WrongPasswords(email, v.client)} {
		if r, held := tiers.Held(v.gate.Limiter, now); held {
			return &tooMany{wait: r.Reset}
		}
	}
	return nil
}

func (v *visit) fromHere() limit.Tiers { return limit.FailedFrom(v.client, v.gate.FailedPerMinute) }

// failed counts a wrong password, and notes it with those whose it would have been.
func (v *visit) failed(email, what string, people ...snapshot.Person) {
	now := v.gate.Now()
	v.fromHere().Count(v.gate.Limiter, now)
	limit.WrongPasswords(email, v.client).Count(v.gate.Limiter, now)
	v.note(what, people)
}

func (v *visit) note(what string, people []snapshot.Person) {
	address := v.client.String()
	v.gate.Background("failed sign-in", func(ctx context.Context) error {
		for _, p := range people {
			if err := v.gate.Store.SignInFailed(ctx, p.Actor(address), p, what); err != nil {
				return err
			}
		}
		return nil
	})
}

// ticket says for whom a password was right, until the account is chosen. It is sealed for
// the browser that it was shown in.
type ticket struct {
	People []message.ID
	Until  time.Time
}

const ticketGood = 5 * time.Minute

func (v *visit) ticketFor() []byte { return []byte("sign-in ticket " + v.pre) }

// askAccount asks somebody whose password is right in several accounts for one.
func (v *visit) askAccount(fit []snapshot.Person, form signInForm) error {
	t := ticket{Until: v.gate.Now().Add(ticketGood)}
	for _, p := range fit {
		t.People = append(t.People, p.ID)
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return v.showAccounts(fit, form, encode(v.gate.box.Seal(plain, v.ticketFor())))
}

func (v *visit) chooseAccount() error {
	if err := v.checkForm(maxForm); err != nil {
		return err
	}
	plain, err := v.gate.box.Open(decode(v.r.PostForm.Get("ticket")), v.ticketFor())
	var t ticket
	if err == nil {
		err = json.Unmarshal(plain, &t)
	}
	id, idErr := message.ParseID(v.r.PostForm.Get("account"))
	form := signInForm{next: v.next(), email: strings.ToLower(strings.TrimSpace(v.r.PostForm.Get("email")))}
	if err != nil || v.gate.Now().After(t.Until) || v.pre == "" {
		form.wrong = "That took too long. Sign in again."
		return v.showSignIn(http.StatusForbidden, form)
	}
	people, err := v.gate.Store.People(v.ctx, v.gate.Door, form.email)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(people, func(p snapshot.Person) bool { return p.ID == id && p.Active && slices.Contains(t.People, id) })
	if idErr != nil || at < 0 {
		form.wrong = "Choose one of the accounts."
		return v.showSignIn(http.StatusUnprocessableEntity, form)
	}
	return v.enter(people[at], form)
}

// enter opens a session for somebody whose password was right, with a token that nobody
// knew before.
func (v *visit) enter(p snapshot.Person, form signInForm) error {
	token := newToken()
	err := v.gate.Store.OpenWebSession(v.ctx, p.Actor(v.client.String()), snapshot.NewWebSession{
		ID: message.NewID(), Door: v.gate.Door, Person: p.ID, PasswordID: p.PasswordID, TokenHash: v.gate.hasher.HashSecret(ofSession + token),
		Waiting: p.SecondFactor, Address: v.client.String(), UserAgent: v.r.UserAgent(),
	})
	if err != nil && message.ReasonOf(err) == message.ReasonUnauthenticated { // it has just ended
		form.wrong = wrongSignIn
		return v.showSignIn(http.StatusUnauthorized, form)
	}
	if err != nil {
		return err
	}
	v.setCookie("", token)
	v.setCookie(preEnding, "")
	if p.SecondFactor {
		return v.to("/sign-in/code", "next", form.next)
	}
	return v.away(form.next)
}

func (v *visit) codePage() error {
	switch {
	case !v.in:
		return v.toSignIn()
	case !v.session.Waiting:
		return v.away(v.next())
	}
	return v.showCode(http.StatusOK, v.next(), "")
}

func (v *visit) giveCode() error {
	if !v.in || !v.session.Waiting {
		return v.codePage()
	}
	if err := v.checkForm(maxForm); err != nil {
		return err
	}
	p, now := v.session.Person, v.gate.Now()
	for _, tiers := range []limit.Tiers{v.fromHere(), limit.WrongCodes(p.ID)} {
		if r, held := tiers.Held(v.gate.Limiter, now); held {
			return v.held(&tooMany{wait: r.Reset}, func(text string) error { return v.showCode(http.StatusTooManyRequests, v.next(), text) })
		}
	}
	how, err := v.gate.factors.passes(v.ctx, p.ID, v.r.PostForm.Get("code"), now)
	if err != nil {
		return err
	}
	if how == "" {
		v.fromHere().Count(v.gate.Limiter, now)
		limit.WrongCodes(p.ID).Count(v.gate.Limiter, now)
		v.note("code", []snapshot.Person{p})
		return v.showCode(http.StatusUnauthorized, v.next(), "The code is wrong, or was used before. Wait for the next one, or use a recovery code.")
	}
	token := newToken()
	if err := v.gate.Store.PassWebSession(v.ctx, v.by(), p, v.session.ID, v.gate.hasher.HashSecret(ofSession+token), how); err != nil {
		if message.ReasonOf(err) == message.ReasonNotFound {
			return v.toSignIn()
		}
		return err
	}
	v.setCookie("", token)
	return v.away(v.next())
}

func (v *visit) signOut() error {
	if !v.in {
		return v.to("/sign-in")
	}
	if err := v.checkForm(maxForm); err != nil {
		return err
	}
	err := v.gate.Store.EndWebSession(v.ctx, v.by(), v.session.Person, v.session.ID)
	if err != nil && message.ReasonOf(err) != message.ReasonNotFound {
		return err
	}
	v.setCookie("", "")
	return v.to("/sign-in", "done", "signed_out")
}
