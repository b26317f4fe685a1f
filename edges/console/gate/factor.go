package gate

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

// FactorStore keeps second factors; *postgres.DB is one.
type FactorStore interface {
	SecondFactor(ctx context.Context, person message.ID) (snapshot.SecondFactor, error)
	TakeStep(ctx context.Context, person message.ID, step int64) (bool, error)
	TakeRecovery(ctx context.Context, person message.ID, hashes [][]byte) (bool, error)
}

// Factors checks codes of second factors. Safe for concurrent use.
type Factors struct {
	store  FactorStore
	hasher *secret.Hasher
	box    *secret.Box
}

// NewFactors checks codes of those whose secrets the ring has sealed.
func NewFactors(store FactorStore, keys *secret.Keyring) *Factors {
	return &Factors{store: store, hasher: keys.HasherOf(secret.SignIn), box: keys.Box(secret.SignIn)}
}

// Check takes a code, once, of somebody whose password was right: it is for doors other
// than the pages, and true for whoever has no second factor, whatever the code.
func (f *Factors) Check(ctx context.Context, person message.ID, code string, now time.Time) (bool, error) {
	is, err := f.store.SecondFactor(ctx, person)
	if err != nil && message.ReasonOf(err) == message.ReasonNotFound || err == nil && !is.Confirmed {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	how, err := f.passes(ctx, person, code, now)
	return how != "", err
}

// passes takes a code of the authenticator app or a recovery code, once; how says which
// it was, and is empty for one that is wrong.
func (f *Factors) passes(ctx context.Context, person message.ID, code string, now time.Time) (how string, err error) {
	if recovery, ok := secret.RecoveryCode(code); ok {
		ok, err := f.store.TakeRecovery(ctx, person, f.hasher.Hashes(recoveryText(person, recovery)))
		if !ok {
			return "", err
		}
		return "recovery_code", err
	}
	is, err := f.store.SecondFactor(ctx, person)
	if err != nil {
		return "", err
	}
	shared, err := f.open(person, is.Sealed)
	if err != nil {
		return "", err
	}
	step, ok := secret.TOTPStep(shared, code, now, is.LastStep)
	if !ok {
		return "", nil
	}
	if ok, err = f.store.TakeStep(ctx, person, step); !ok {
		return "", err
	}
	return "totp", nil
}

// hashed are the keyed hashes of recovery codes.
func (f *Factors) hashed(person message.ID, codes []secret.String) (list [][]byte) {
	for _, c := range codes {
		list = append(list, f.hasher.HashSecret(recoveryText(person, c.Reveal())))
	}
	return list
}

func recoveryText(person message.ID, code string) string {
	return ofRecovery + person.String() + " " + code
}

// factorOwner binds a sealed secret to whose it is.
func factorOwner(person message.ID) []byte { return []byte("second_factors.secret " + person.String()) }

func (f *Factors) seal(person message.ID, shared secret.String) []byte {
	return f.box.Seal([]byte(shared.Reveal()), factorOwner(person))
}

func (f *Factors) open(person message.ID, sealed []byte) (secret.String, error) {
	plain, err := f.box.Open(sealed, factorOwner(person))
	return secret.Conceal(string(plain)), err
}
