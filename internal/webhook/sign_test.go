package webhook

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The first vector is the one that the Standard Webhooks specification gives;
// all were computed with openssl dgst -sha256 -mac HMAC.
func TestSignVectors(t *testing.T) {
	const (
		id    = "msg_p5jXN8AQM9LWM0D4loKWxJek"
		body  = `{"test": 2432232314}`
		whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		own   = "my own secret"

		whsecV1  = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		whsecHex = "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"
		ownV1    = "v1,AZowrVB1cGtSPuafAOJV4iwowHu8ybvqEGs3PtkyyqE="
		ownHex   = "1a603acca5ce262fc109a9d2666af38dd6866f938c69d6d260314cc35fed4454"
	)
	at := time.Unix(1614265330, 999_000_000)
	for _, c := range []struct {
		name, newest, older, v1, hex string
	}{
		{"generated secret", whsec, "", whsecV1, whsecHex},
		{"secret of the customer", own, "", ownV1, ownHex},
		{"overlap", whsec, own, whsecV1 + " " + ownV1, whsecHex},
		{"overlap the other way", own, whsec, ownV1 + " " + whsecV1, ownHex},
		{"older is the newest", whsec, whsec, whsecV1, whsecHex},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if err := Sign(h, id, at, []byte(body), c.newest, c.older); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"webhook-id": id, "webhook-timestamp": "1614265330", "webhook-signature": c.v1, "X-Signature": c.hex,
			} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestSecretsThatCannotSign(t *testing.T) {
	for secret, ok := range map[string]bool{
		"":              false,
		"whsec_":        false,
		"whsec_====":    false,
		"whsec_no base": false,
		"whsec_YWJj":    true,
		"whsec_YWI=":    true,
		"whsec_YWI":     true, // without padding
		"WHSEC_YWJj":    true, // no prefix: a secret of the customer's own
		"x":             true,
	} {
		if err := CheckSecret(secret); (err == nil) != ok || err != nil && !errors.Is(err, ErrSecret) {
			t.Errorf("CheckSecret(%q) = %v", secret, err)
		}
		if h := (http.Header{}); !ok {
			if err := Sign(h, "id", time.Now(), nil, secret, ""); !errors.Is(err, ErrSecret) || len(h) != 0 {
				t.Errorf("%q signs: %v, %v", secret, err, h)
			}
		}
	}
	h := http.Header{}
	if err := Sign(h, "id", time.Now(), nil, "good", "whsec_"); !errors.Is(err, ErrSecret) || len(h) != 0 {
		t.Errorf("a broken older secret: %v, %v", err, h)
	}
}

func TestSchedule(t *testing.T) {
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 20 * time.Hour,
	}
	elapsed := time.Duration(0)
	for i, gap := range want {
		made := i + 1
		got, ok := Next(made, elapsed, 0, 1)
		if !ok || got != gap {
			t.Errorf("after try %d: %v, %v; want %v", made, got, ok, gap)
		}
		if least, ok := Next(made, elapsed, 0, 0); !ok || least != gap*8/10 {
			t.Errorf("after try %d at least %v, want %v", made, least, gap*8/10)
		}
		elapsed += got
	}
	if elapsed > Window {
		t.Errorf("the last try is %v after the first", elapsed)
	}
	if _, ok := Next(MaxTries, elapsed, 0, 1); ok || MaxTries != 10 {
		t.Error("an eleventh try")
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name           string
		made           int
		elapsed, after time.Duration
		chance         float64
		want           time.Duration
		more           bool
	}{
		{"before the first", 0, 0, 0, 0, 0, true},
		{"Retry-After is longer", 1, 0, time.Hour, 1, time.Hour, true},
		{"Retry-After is shorter", 4, time.Hour, time.Minute, 1, 2 * time.Hour, true},
		{"cut to the window's end", 5, 70 * time.Hour, 0, 1, 2 * time.Hour, true},
		{"Retry-After beyond the window", 1, time.Hour, 100 * time.Hour, 1, 71 * time.Hour, true},
		{"the window is over", 5, 72 * time.Hour, 0, 1, 0, false},
		{"clock went back", 1, -time.Hour, 0, 1, 5 * time.Second, true},
		{"chance out of range", 1, 0, 0, 7, 5 * time.Second, true},
		{"chance below range", 1, 0, 0, -7, 4 * time.Second, true},
	} {
		if got, more := Next(c.made, c.elapsed, c.after, c.chance); got != c.want || more != c.more {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, more, c.want, c.more)
		}
	}
}

func TestNextProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made, elapsed := 1, time.Duration(0)
		for {
			after := time.Duration(rapid.Int64Range(0, int64(Window)).Draw(t, "retry-after"))
			gap, more := Next(made, elapsed, after, rapid.Float64Range(0, 1).Draw(t, "chance"))
			if !more {
				break
			}
			if gap < 0 {
				t.Fatalf("a gap of %v", gap)
			}
			made, elapsed = made+1, elapsed+gap
			if elapsed > Window || made > MaxTries {
				t.Fatalf("try %d at %v", made, elapsed)
			}
		}
		if made < MaxTries && elapsed < Window {
			t.Fatalf("given up after %d tries and %v", made, elapsed)
		}
	})
}
