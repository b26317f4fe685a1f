package gate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// How long links are good.
const (
	InvitationGood = 72 * time.Hour
	resetGood      = time.Hour
)

// How many links somebody may be sent, whoever asks for them, and how many a place may
// ask for.
const (
	resetsPerHour     = 3
	resetsPerDay      = 10
	resetsFromPerHour = 20
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode gives nothing for what encode has not made.
func decode(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// NewLink makes the token of a link, and the keyed hash of it that is stored.
func NewLink(keys *secret.Keyring) (token string, hash []byte) {
	token = newToken()
	return token, keys.Hasher().HashSecret(token)
}

// LinkURL is where a link of NewLink leads, given where browsers reach the pages.
func LinkURL(publicURL string, door snapshot.Door, token string) string {
	return strings.TrimSuffix(publicURL, "/") + "/" + string(door) + "/links/" + token
}

func (v *visit) forgotPage() error { return v.showForgot(http.StatusOK, forgotForm{}) }

// forgot sends a link to whoever an address is of. The answer does not say whether it is
// anybody's.
func (v *visit) forgot() error {
	if err := v.checkForm(maxForm); err != nil {
		return v.showForgot(http.StatusForbidden, forgotForm{wrong: errStale.text})
	}
	email := strings.ToLower(strings.TrimSpace(v.r.PostForm.Get("email")))
	if v.gate.Mail == nil {
		return v.showForgot(http.StatusServiceUnavailable, forgotForm{wrong: "This gateway sends no e-mail. Ask whoever has invited you for a new link."})
	}
	if email == "" || len(email) > maxSecret {
		return v.showForgot(http.StatusUnprocessableEntity, forgotForm{wrong: "Give your e-mail address."})
	}
	now := v.gate.Now()
	here := limit.Tiers{{Key: "reset from " + limit.Network(v.client), Most: resetsFromPerHour, Window: time.Hour}}
	if r, held := here.Held(v.gate.Limiter, now); held {
		return v.held(&tooMany{wait: r.Reset}, func(text string) error { return v.showForgot(http.StatusTooManyRequests, forgotForm{wrong: text}) })
	}
	here.Count(v.gate.Limiter, now)
	who := limit.Hidden(string(v.gate.Door) + " " + email)
	theirs := limit.Tiers{{Key: "reset hour " + who, Most: resetsPerHour, Window: time.Hour}, {Key: "reset day " + who, Most: resetsPerDay, Window: 24 * time.Hour}}
	// Nobody is told of this limit, which would show what others have asked for.
	if _, held := theirs.Held(v.gate.Limiter, now); !held {
		theirs.Count(v.gate.Limiter, now)
		address := v.client.String()
		v.gate.Background("link to choose a password", func(ctx context.Context) error { return v.gate.sendReset(ctx, email, address) })
	}
	return v.showForgot(http.StatusOK, forgotForm{sent: true})
}

// sendReset sends one e-mail with a link for each account that the address may sign in
// to; none when there is none.
func (g *Gate) sendReset(ctx context.Context, email, address string) error {
	people, err := g.Store.People(ctx, g.Door, email)
	if err != nil {
		return err
	}
	var lines []string
	for _, p := range people {
		if !p.Active {
			continue
		}
		token, hash := NewLink(g.Keys)
		if err := g.Store.OfferReset(ctx, p.Actor(address), p, hash, resetGood); err != nil {
			return err
		}
		line := LinkURL(g.PublicURL, g.Door, token)
		if p.AccountName != "" {
			line = p.AccountName + ": " + line
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return nil
	}
	return g.Mail(ctx, email, "Choose a new password", strings.Join([]string{
		"Somebody, most likely you, has asked for a new password.",
		fmt.Sprintf("Choose one here, once, within %d minutes:", int(resetGood/time.Minute)),
		"", strings.Join(lines, "\n"), "",
		"If it was not you, ignore this: nothing has changed.", "",
	}, "\n"))
}

// InvitationText is the e-mail with which a member of staff is invited.
func InvitationText(link string, until time.Time) (subject, text string) {
	return "Your invitation to Postrider", strings.Join([]string{
		"You are invited to the operator console of Postrider.",
		"Choose a password here, once, until " + until.UTC().Format("2 January 2006 15:04 UTC") + ":",
		"", link, "",
		"If you did not expect this, ignore it.", "",
	}, "\n")
}

// link reads whom a link is for. What is no link counts like a wrong password.
func (v *visit) link(token string) (p snapshot.Person, purpose snapshot.LinkPurpose, err error) {
	now := v.gate.Now()
	if r, held := v.fromHere().Held(v.gate.Limiter, now); held {
		return p, "", &tooMany{wait: r.Reset}
	}
	if !isToken(token) {
		err = errLink
	} else {
		p, purpose, err = v.gate.Store.Link(v.ctx, v.gate.Door, v.gate.links.Hashes(token))
	}
	if err != nil && (errors.Is(err, errLink) || message.ReasonOf(err) == message.ReasonNotFound) {
		v.fromHere().Count(v.gate.Limiter, now)
		err = errLink
	}
	return p, purpose, err
}

func (v *visit) linkPage(token string) error {
	p, purpose, err := v.link(token)
	if err != nil {
		return err
	}
	return v.showLink(http.StatusOK, linkForm{person: p, purpose: purpose})
}

func (v *visit) useLink(token string) error {
	p, purpose, err := v.link(token)
	if err != nil {
		return err
	}
	form := linkForm{person: p, purpose: purpose}
	if err := v.checkForm(maxForm); err != nil {
		form.wrong = map[string]string{"": errStale.text}
		return v.showLink(http.StatusForbidden, form)
	}
	password := v.r.PostForm.Get("password")
	if form.wrong = wrongNew(p, password, v.r.PostForm.Get("again")); len(form.wrong) > 0 {
		return v.showLink(http.StatusUnprocessableEntity, form)
	}
	hash, err := v.hash(password)
	if err != nil {
		return err
	}
	if _, err := v.gate.Store.RedeemLink(v.ctx, p.Actor(v.client.String()), v.gate.Door, v.gate.links.Hashes(token), hash); err != nil {
		if message.ReasonOf(err) == message.ReasonNotFound {
			return errLink
		}
		return err
	}
	if v.in { // whoever it was is asked again
		err := v.gate.Store.EndWebSession(v.ctx, v.by(), v.session.Person, v.session.ID)
		if err != nil && message.ReasonOf(err) != message.ReasonNotFound { // his own has ended with the password
			return err
		}
		v.setCookie("", "")
	}
	return v.to("/sign-in", "done", "chosen")
}

// wrongNew says what is wrong with a password that somebody wants to have, by field.
func wrongNew(p snapshot.Person, password, again string) map[string]string {
	wrong := map[string]string{}
	switch {
	case len(password) < secret.MinPassword:
		wrong["password"] = fmt.Sprintf("Use %d characters or more.", secret.MinPassword)
	case len(password) > secret.MaxPassword:
		wrong["password"] = fmt.Sprintf("Use %d characters or fewer.", secret.MaxPassword)
	case strings.EqualFold(password, p.Email), strings.Trim(password, password[:1]) == "":
		wrong["password"] = "This is too easy to guess. A few words that do not belong together are a good password."
	case again != password:
		wrong["again"] = "This is not the same password."
	}
	return wrong
}

// hash waits for its turn, as a sign-in does.
func (v *visit) hash(password string) (string, error) {
	if err := v.gate.Turns.Take(v.ctx); err != nil {
		return "", err
	}
	defer v.gate.Turns.Give()
	return v.gate.Passwords.HashPassword(password)
}
