package gate

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// maxName is the longest name of somebody, in characters.
const maxName = 200

// own finds the pages on which those who are signed in see and change what is theirs; nil
// for any other path.
func (v *visit) own(path string) func() error {
	switch path {
	case "/profile":
		return v.methods(func() error { return v.profile(http.StatusOK, nil) }, nil)
	case "/profile/name":
		return v.methods(nil, v.changeName)
	case "/profile/password":
		return v.methods(nil, v.changePassword)
	case "/profile/factor":
		return v.methods(v.factorPage, v.proposeFactor)
	case "/profile/factor/confirm":
		return v.methods(nil, v.confirmFactor)
	case "/profile/factor/off":
		return v.methods(nil, v.removeFactor)
	case "/profile/sessions/end":
		return v.methods(nil, v.endSession)
	case "/profile/sessions/end-others":
		return v.methods(nil, v.endOthers)
	}
	return nil
}

// profile shows everything on one page, with what was wrong with a form of it, by field.
func (v *visit) profile(status int, wrong map[string]string) error {
	p := v.session.Person
	sessions, err := v.gate.Store.WebSessions(v.ctx, p)
	if err != nil {
		return err
	}
	codes := 0
	if p.SecondFactor {
		f, err := v.gate.Store.SecondFactor(v.ctx, p.ID)
		if err != nil && message.ReasonOf(err) != message.ReasonNotFound {
			return err
		}
		codes = f.Codes
	}
	return v.showProfile(status, profileView{sessions: sessions, codes: codes, wrong: wrong, notice: notices[v.r.URL.Query().Get("done")]})
}

// changed leads back to the profile, where it is said what was done.
func (v *visit) changed(done string) error { return v.to("/profile", "done", done) }

func (v *visit) changeName() error {
	p, name := v.session.Person, strings.TrimSpace(v.r.PostForm.Get("name"))
	if utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return v.profile(http.StatusUnprocessableEntity, map[string]string{"name": fmt.Sprintf("Use one line of at most %d characters.", maxName)})
	}
	var err error
	if v.gate.Door == snapshot.Console {
		_, err = v.gate.Store.ChangeStaff(v.ctx, v.by(), p.ID, snapshot.StaffChange{Name: &name})
	} else {
		_, err = v.gate.Store.ChangePortalUser(v.ctx, v.by(), p.Account, p.ID, func(u *snapshot.PortalUser) error {
			u.Name = name
			return nil
		})
	}
	if err != nil {
		return err
	}
	return v.changed("name")
}

// proves checks the password of who is signed in once more, before something that would
// lock the owner out if somebody else sat at the browser. field is where it was typed.
func (v *visit) proves(field string) (wrong map[string]string, err error) {
	p, password := v.session.Person, v.r.PostForm.Get(field)
	if password == "" || len(password) > maxSecret {
		return map[string]string{field: "Give your present password."}, nil
	}
	if err := v.mayTry(p.Email); err != nil {
		return nil, err
	}
	if err := v.gate.Turns.Take(v.ctx); err != nil {
		return nil, err
	}
	defer v.gate.Turns.Give()
	if err := v.mayTry(p.Email); err != nil {
		return nil, err
	}
	if !v.gate.Passwords.PasswordFits(p.PasswordHash, password) {
		v.failed(p.Email, "password", p)
		return map[string]string{field: "This is not your password."}, nil
	}
	return nil, nil
}

// proved shows the profile again when the password was wrong; done reports that the
// answer is written.
func (v *visit) proved(field string) (done bool, err error) {
	wrong, err := v.proves(field)
	if err != nil {
		return true, v.held(err, func(text string) error {
			return v.profile(http.StatusTooManyRequests, map[string]string{field: text})
		})
	}
	if len(wrong) > 0 {
		return true, v.profile(http.StatusUnprocessableEntity, wrong)
	}
	return false, nil
}

func (v *visit) changePassword() error {
	password := v.r.PostForm.Get("password")
	if wrong := wrongNew(v.session.Person, password, v.r.PostForm.Get("again")); len(wrong) > 0 {
		return v.profile(http.StatusUnprocessableEntity, wrong)
	}
	if done, err := v.proved("present"); done {
		return err
	}
	hash, err := v.hash(password)
	if err != nil {
		return err
	}
	token := newToken()
	if err := v.gate.Store.ChangePassword(v.ctx, v.by(), v.session.Person, hash, v.session.ID, v.gate.hasher.HashSecret(ofSession+token)); err != nil {
		return err
	}
	v.setCookie("", token)
	return v.changed("password")
}

// proposeFactor makes what an authenticator app is shown.
func (v *visit) proposeFactor() error {
	if v.session.Person.SecondFactor {
		return v.changed("")
	}
	if done, err := v.proved("factor_password"); done {
		return err
	}
	p := v.session.Person
	if err := v.gate.Store.ProposeSecondFactor(v.ctx, p, v.gate.factors.seal(p.ID, secret.NewTOTPSecret())); err != nil && message.ReasonOf(err) != message.ReasonConflict {
		return err
	}
	return v.to("/profile/factor")
}

// proposed reads what was proposed, and is errNoFactor without it.
func (v *visit) proposed() (f snapshot.SecondFactor, shared secret.String, err error) {
	p := v.session.Person
	f, err = v.gate.Store.SecondFactor(v.ctx, p.ID)
	if err != nil && message.ReasonOf(err) == message.ReasonNotFound || err == nil && f.Confirmed {
		return f, shared, errNoFactor
	}
	if err == nil {
		shared, err = v.gate.factors.open(p.ID, f.Sealed)
	}
	return f, shared, err
}

// errNoFactor: nothing is proposed, so there is nothing to show or to confirm.
var errNoFactor = errors.New("no second factor is proposed")

func (v *visit) factorPage() error { return v.factor(http.StatusOK, "") }

func (v *visit) factor(status int, wrong string) error {
	_, shared, err := v.proposed()
	if errors.Is(err, errNoFactor) {
		return v.changed("")
	}
	if err != nil {
		return err
	}
	return v.showFactor(status, shared, wrong)
}

// confirmFactor puts the second factor in force when a code of it is right, and shows the
// recovery codes, once.
func (v *visit) confirmFactor() error {
	f, shared, err := v.proposed()
	if errors.Is(err, errNoFactor) {
		return v.changed("")
	}
	if err != nil {
		return err
	}
	step, ok := secret.TOTPStep(shared, v.r.PostForm.Get("code"), v.gate.Now(), f.LastStep)
	if !ok {
		return v.factor(http.StatusUnprocessableEntity, "The code is wrong. Check that the clock of your device is right, and give the code that it shows now.")
	}
	p, codes := v.session.Person, secret.NewRecoveryCodes()
	err = v.gate.Store.ConfirmSecondFactor(v.ctx, v.by(), p, v.session.ID, f.Sealed, step, v.gate.factors.hashed(p.ID, codes))
	if err != nil && message.ReasonOf(err) == message.ReasonConflict {
		return v.changed("")
	}
	if err != nil {
		return err
	}
	return v.showCodes(codes)
}

func (v *visit) removeFactor() error {
	if done, err := v.proved("off_password"); done {
		return err
	}
	err := v.gate.Store.RemoveSecondFactor(v.ctx, v.by(), v.gate.Door, v.session.Person.ID)
	if err != nil && message.ReasonOf(err) != message.ReasonNotFound {
		return err
	}
	return v.changed("factor_off")
}

func (v *visit) endSession() error {
	id, err := message.ParseID(v.r.PostForm.Get("session"))
	if err != nil {
		return errForm
	}
	err = v.gate.Store.EndWebSession(v.ctx, v.by(), v.session.Person, id)
	if err != nil && message.ReasonOf(err) != message.ReasonNotFound {
		return err
	}
	return v.changed("session")
}

func (v *visit) endOthers() error {
	if err := v.gate.Store.EndWebSessions(v.ctx, v.by(), v.session.Person, v.session.ID); err != nil {
		return err
	}
	return v.changed("sessions")
}
