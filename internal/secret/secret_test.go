package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

var (
	keyA = base64.StdEncoding.EncodeToString([]byte("an example key of 32 octets: A.."))
	keyB = base64.StdEncoding.EncodeToString([]byte("an example key of 32 octets: B.."))
)

func ring(t testing.TB, config string) *Keyring {
	t.Helper()
	k, err := ParseKeyring(config)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKeyring(t *testing.T) {
	for _, c := range []struct {
		name, config, ids string
	}{
		{"one", "k1:" + keyA, "k1"},
		{"two, the first is current", "k2:" + keyB + ",k1:" + keyA, "k2 k1"},
		{"blanks and a comma at the end", " k2:" + keyB + " , k1: " + keyA + " ,", "k2 k1"},
		{"lines", "k2:" + keyB + "\r\nk1:" + keyA + "\n", "k2 k1"},
		{"without padding", "k1:" + strings.TrimRight(keyA, "="), "k1"},
		{"longest id", strings.Repeat("x", 32) + ":" + keyA, strings.Repeat("x", 32)},

		{"nothing", "", ""},
		{"commas", ",,", ""},
		{"no id", keyA, ""},
		{"empty id", ":" + keyA, ""},
		{"id too long", strings.Repeat("x", 33) + ":" + keyA, ""},
		{"blank in the id", "k 1:" + keyA, ""},
		{"no base64", "k1:not base64 at all!", ""},
		{"31 octets", "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 31)), ""},
		{"33 octets", "k1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("ab"), 17)[:33]), ""},
		{"zeros", "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)), ""},
		{"one id twice", "k1:" + keyA + ",k1:" + keyB, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := ParseKeyring(c.config)
			if c.ids == "" {
				if !errors.Is(err, ErrConfig) || k != nil {
					t.Fatalf("%v, %v", k, err)
				}
				for _, part := range []string{keyA[:12], keyB[:12], "not base64", "k 1", "xxxx"} {
					if strings.Contains(err.Error(), part) {
						t.Errorf("the error shows its input: %v", err)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(k.IDs(), " "); got != c.ids || k.CurrentID() != k.IDs()[0] {
				t.Errorf("ids %q, current %q", got, k.CurrentID())
			}
		})
	}
	var many strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&many, "k%d:%s,", i, keyA)
	}
	if _, err := ParseKeyring(many.String()); !errors.Is(err, ErrConfig) {
		t.Errorf("a ring without bound: %v", err)
	}
}

func TestSealAndOpen(t *testing.T) {
	box := ring(t, "k1:"+keyA).Box(Content)
	sealed := box.Seal([]byte("plain"), []byte("row 7"))
	if !bytes.HasPrefix(sealed, []byte("\x01\x02k1")) || len(sealed) != 4+12+5+16 {
		t.Errorf("envelope %x", sealed)
	}
	if bytes.Contains(sealed, []byte("plain")) {
		t.Error("the text is in clear")
	}
	got, err := box.Open(sealed, []byte("row 7"))
	if err != nil || string(got) != "plain" {
		t.Fatalf("%q, %v", got, err)
	}
	if again := box.Seal([]byte("plain"), []byte("row 7")); bytes.Equal(again, sealed) {
		t.Error("two envelopes of one text are alike")
	}
	if id, err := KeyID(sealed); id != "k1" || err != nil {
		t.Errorf("KeyID = %q, %v", id, err)
	}
	if empty, err := box.Open(box.Seal(nil, nil), nil); err != nil || len(empty) != 0 {
		t.Errorf("the empty text: %q, %v", empty, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ringA := ring(t, "k1:"+keyA)
	box := ringA.Box(Content)
	aad := []byte("row 7")
	sealed := box.Seal([]byte("plain"), aad)
	clone := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(sealed)) }
	for _, c := range []struct {
		name   string
		box    *Box
		sealed []byte
		aad    []byte
		want   error
	}{
		{"nothing", box, nil, aad, ErrMalformed},
		{"version", box, clone(func(b []byte) []byte { b[0] = 2; return b }), aad, ErrMalformed},
		{"id length 0", box, clone(func(b []byte) []byte { b[1] = 0; return b }), aad, ErrMalformed},
		{"id length over the end", box, clone(func(b []byte) []byte { b[1] = 255; return b }), aad, ErrMalformed},
		{"id not a name", box, clone(func(b []byte) []byte { b[2] = 0; return b }), aad, ErrMalformed},
		{"another id", box, clone(func(b []byte) []byte { b[3] = '2'; return b }), aad, ErrUnknownKey},
		{"nonce", box, clone(func(b []byte) []byte { b[4] ^= 1; return b }), aad, ErrTampered},
		{"text", box, clone(func(b []byte) []byte { b[17] ^= 1; return b }), aad, ErrTampered},
		{"tag", box, clone(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), aad, ErrTampered},
		{"longer", box, clone(func(b []byte) []byte { return append(b, 0) }), aad, ErrTampered},
		{"other aad", box, sealed, []byte("row 8"), ErrTampered},
		{"no aad", box, sealed, nil, ErrTampered},
		{"other purpose", ringA.Box(Credentials), sealed, aad, ErrTampered},
		{"ring without the key", ring(t, "k9:"+keyB).Box(Content), sealed, aad, ErrUnknownKey},
		{"same name, other key", ring(t, "k1:"+keyB).Box(Content), sealed, aad, ErrTampered},
		// The id of a ring's other key, with that key: the header is bound.
		{"id moved between keys", ring(t, "k2:"+keyA+",k1:"+keyB).Box(Content), clone(func(b []byte) []byte { b[3] = '2'; return b }), aad, ErrTampered},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.box.Open(c.sealed, c.aad)
			if !errors.Is(err, c.want) || got != nil {
				t.Errorf("%q, %v; want %v", got, err, c.want)
			}
		})
	}
	for n := range sealed {
		if _, err := box.Open(sealed[:n], aad); err == nil {
			t.Errorf("an envelope cut to %d octets opens", n)
		}
	}
}

func TestRotation(t *testing.T) {
	old := ring(t, "k1:"+keyA)
	sealed := old.Box(Credentials).Seal([]byte("x"), nil)
	hash := old.Hasher().HashSecret("sk_x")

	both := ring(t, "k2:"+keyB+",k1:"+keyA)
	if got, err := both.Box(Credentials).Open(sealed, nil); err != nil || string(got) != "x" {
		t.Errorf("the older key does not open: %v", err)
	}
	if id, _ := KeyID(both.Box(Credentials).Seal(nil, nil)); id != "k2" {
		t.Errorf("sealed with %s", id)
	}
	h := both.Hasher()
	if !h.CheckSecret("sk_x", hash) || !h.Stale(hash) || h.Stale(h.HashSecret("sk_x")) || !h.Stale(nil) {
		t.Error("hashes do not survive a rotation")
	}
	fresh := ring(t, "k2:"+keyB)
	if fresh.Hasher().CheckSecret("sk_x", hash) {
		t.Error("a retired key still checks")
	}
	if _, err := fresh.Box(Credentials).Open(sealed, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a retired key still opens: %v", err)
	}
}

func TestSealProperties(t *testing.T) {
	box := ring(t, "k2:"+keyB+",k1:"+keyA).Box(Content)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		aad := rapid.SliceOf(rapid.Byte()).Draw(t, "aad")
		sealed := box.Seal(plain, aad)
		got, err := box.Open(sealed, aad)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%x came back as %x, %v", plain, got, err)
		}
		bit := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := box.Open(sealed, aad); err == nil {
			t.Fatalf("bit %d may be changed", bit)
		}
	})
}

func FuzzOpen(f *testing.F) {
	box := ring(f, "k1:"+keyA).Box(Content)
	f.Add(box.Seal([]byte("plain"), []byte("aad")), []byte("aad"))
	f.Add([]byte("\x01\x02k1"), []byte{})
	f.Fuzz(func(t *testing.T, sealed, aad []byte) {
		got, err := box.Open(sealed, aad)
		if err == nil && string(got) != "plain" {
			t.Fatal("a forged envelope opens")
		}
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrTampered) {
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}

func TestHashSecret(t *testing.T) {
	h := ring(t, "k1:"+keyA).Hasher()
	hash := h.HashSecret("sk_right")
	// The HMAC as openssl computes it over a subkey that was derived with
	// another implementation of HKDF: openssl kdf -kdfopt digest:SHA256
	// -kdfopt hexkey:… -kdfopt info:postrider/1/hashing HKDF, then openssl dgst
	// -sha256 -mac HMAC.
	const want = "01026b31" + "ec61061df4ba797b584c2fff6006c83317ca77666e37a626c2fdca6e7b800f60"
	if got := hex.EncodeToString(hash); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	if !h.CheckSecret("sk_right", hash) {
		t.Error("the right secret is refused")
	}
	for _, wrong := range []string{"", "sk_wrong", "sk_righ", "sk_right "} {
		if h.CheckSecret(wrong, hash) {
			t.Errorf("%q passes", wrong)
		}
	}
	for _, bad := range [][]byte{nil, {}, {1}, hash[:len(hash)-1], append(bytes.Clone(hash), 0), bytes.Repeat([]byte{1}, 40)} {
		if h.CheckSecret("sk_right", bad) || h.CheckSecret("", bad) {
			t.Errorf("the malformed hash %x fits", bad)
		}
	}
	if bytes.Equal(h.HashSecret("sk_right"), ring(t, "k1:"+keyB).Hasher().HashSecret("sk_right")) {
		t.Error("the hash does not depend on the key")
	}
}

func TestMACs(t *testing.T) {
	alone, both := ring(t, "k1:"+keyA), ring(t, "k2:"+keyB+",k1:"+keyA)
	one, two := alone.HasherOf(Media).MACs("x"), both.HasherOf(Media).MACs("x")
	if len(one) != 1 || len(two) != 2 || two[0].KeyID != "k2" || two[1].KeyID != "k1" {
		t.Fatalf("%v, %v", one, two)
	}
	if !bytes.Equal(one[0].Sum, two[1].Sum) || bytes.Equal(two[0].Sum, two[1].Sum) || len(one[0].Sum) != 32 {
		t.Error("the MAC does not depend on text and key alone")
	}
	for _, other := range [][]byte{
		alone.HasherOf(Media).MACs("y")[0].Sum,
		alone.HasherOf(Credentials).MACs("x")[0].Sum,
		alone.Hasher().MACs("x")[0].Sum,
		sum(alone.derive(Media)["k1"], "x"), // the key of the envelopes
	} {
		if bytes.Equal(one[0].Sum, other) {
			t.Error("two uses give one MAC")
		}
	}
}

func TestGenerated(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		key, sec, hook, pass := NewAPIKey(), NewAPISecret().Reveal(), NewWebhookSecret().Reveal(), NewPassword(8).Reveal()
		for _, s := range []string{key, sec, hook, pass} {
			if seen[s] {
				t.Fatalf("%s was made twice", s)
			}
			seen[s] = true
		}
		if len(key) != 27 || !strings.HasPrefix(key, "pk_") || strings.Trim(key[3:], base62) != "" {
			t.Errorf("API key %q", key)
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(sec, "sk_"))
		if len(sec) != 46 || err != nil || len(raw) != 32 {
			t.Errorf("API secret %q: %v", sec, err)
		}
		raw, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(hook, "whsec_"))
		if !strings.HasPrefix(hook, "whsec_") || err != nil || len(raw) != 32 {
			t.Errorf("webhook secret %q: %v", hook, err)
		}
		if len(pass) != 8 || strings.ContainsAny(pass, "0O1lI") {
			t.Errorf("password %q", pass)
		}
	}
	if n := len(NewPassword(20).Reveal()); n != 20 {
		t.Errorf("a password of %d characters", n)
	}
	if n := len(NewPassword(0).Reveal()); n != 8 {
		t.Errorf("a password of %d characters", n)
	}
	if _, err := ParseKeyring(NewKey("fresh").Reveal()); err != nil {
		t.Error(err)
	}
}

// Taking octets modulo the length of the alphabet would draw its first
// characters a quarter more often than the rest. Of a million fair draws each
// character comes 16,000 times give or take 130, so that 12 percent between the
// most and the least frequent does not happen by chance.
func TestEveryCharacterIsAsLikely(t *testing.T) {
	for _, alphabet := range []string{base62, unmistake} {
		count := map[rune]int{}
		for _, c := range random(alphabet, 1_000_000) {
			count[c]++
		}
		least, most := 1_000_000, 0
		for _, c := range alphabet {
			least, most = min(least, count[c]), max(most, count[c])
		}
		if least == 0 || float64(most)/float64(least) > 1.12 {
			t.Errorf("characters come between %d and %d times", least, most)
		}
	}
}

func TestStringHidesItself(t *testing.T) {
	const text = "hunter2-hunter2"
	s := Conceal(text)
	type inner struct {
		Name   string
		hidden String // unexported: fmt does not ask it
		Shown  String
	}
	nested := inner{Name: "vendor", hidden: s, Shown: s}
	k := ring(t, "k1:"+keyA)
	type holder struct {
		ring   *Keyring
		copied Keyring
		hasher *Hasher
		box    *Box
	}
	held := holder{k, *k, k.Hasher(), k.Box(Content)}
	rawKey := "an example key of 32 octets"
	shows := func(how, out string) {
		for _, leak := range []string{text, hex.EncodeToString([]byte(text)), rawKey, keyA, hex.EncodeToString([]byte(rawKey)),
			strings.ToUpper(hex.EncodeToString([]byte(text))), strings.Trim(fmt.Sprint([]byte(rawKey)), "[]")} {
			if strings.Contains(out, leak) {
				t.Errorf("%s shows %s", how, out)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		for _, v := range []any{s, &s, nested, &nested, []String{s}, map[string]String{"a": s}, k, *k, k.Hasher(), *k.Hasher(), k.Box(Content), *k.Box(Content), held, &held} {
			shows(verb, fmt.Sprintf(verb, v))
		}
	}
	b, err := json.Marshal(nested)
	if err != nil || string(b) != `{"Name":"vendor","Shown":"[secret]"}` {
		t.Errorf("JSON %s, %v", b, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "n", nested, "k", k)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "n", nested, "k", k)
	shows("slog", log.String())
	if fmt.Sprint(s) != "[secret]" || fmt.Sprint(String{}) != "" {
		t.Errorf("%v, %v", s, String{})
	}
}

func TestStringKeepsItsText(t *testing.T) {
	var c struct{ Password String }
	if err := json.Unmarshal([]byte(`{"Password":"p\u00e4ss"}`), &c); err != nil || c.Password.Reveal() != "päss" {
		t.Errorf("%q, %v", c.Password.Reveal(), err)
	}
	if !Conceal("a").Equal(Conceal("a")) || Conceal("a").Equal(Conceal("b")) || Conceal("a").Equal(String{}) || !(String{}).Equal(Conceal("")) {
		t.Error("Equal is wrong")
	}
	if !Conceal("").Empty() || Conceal("a").Empty() || (String{}).Reveal() != "" {
		t.Error("Empty is wrong")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if _, err := LoadKeyring(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing file: %v", err)
	}
	const n = 8
	rings := make([]*Keyring, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if rings[i], err = LoadOrCreateKeyring(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := rings[0].Box(Content).Seal([]byte("x"), nil)
	for i, k := range rings {
		if _, err := k.Box(Content).Open(sealed, nil); err != nil {
			t.Errorf("process %d has another key: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKeyring(path); !errors.Is(err, ErrReadableByOthers) {
			t.Errorf("mode %v is taken: %v", mode, err)
		}
	}
}

func TestBadKeyFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, path := range []string{
		write("empty", ""),
		write("garbage", "top secret garbage"),
		write("large", strings.Repeat(",", maxKeyFile+1)),
		dir,
	} {
		_, err := LoadOrCreateKeyring(path)
		if err == nil || strings.Contains(err.Error(), "top secret") {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if _, err := LoadOrCreateKeyring(filepath.Join(dir, "no", "such", "folder")); err == nil {
		t.Error("a file in a missing folder is made")
	}
}
