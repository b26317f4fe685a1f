package secret

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// quick takes no time.
var quick = Passwords{Cost: bcrypt.MinCost + 1, Memory: 64, Passes: 1}

func TestPasswords(t *testing.T) {
	for _, password := range []string{"", "eleven-char", strings.Repeat("x", 73)} {
		if _, err := quick.HashPassword(password); !errors.Is(err, ErrPasswordLength) {
			t.Errorf("%d octets: %v", len(password), err)
		}
		if _, err := HashPeerPassword(password); !errors.Is(err, ErrPasswordLength) {
			t.Errorf("a peer's, %d octets: %v", len(password), err)
		}
	}
	for _, password := range []string{"twelve-chars", strings.Repeat("ü", 36)} {
		hash, err := quick.HashPassword(password)
		if err != nil {
			t.Fatal(err)
		}
		again, err := quick.HashPassword(password)
		if err != nil || again == hash {
			t.Errorf("one salt twice, %v", err)
		}
		if !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") {
			t.Error(hash)
		}
		for _, p := range []Passwords{quick, {Fresh: true, Memory: 128, Passes: 2}} {
			if !p.PasswordFits(hash, password) || p.PasswordFits(hash, password[1:]) || p.PasswordFits(hash, "") {
				t.Error("it fits what it should not, or does not fit")
			}
		}
	}
	for _, hash := range []string{"", "x", "$2a$04$short", nobodys(bcrypt.MinCost), quick.fresh().String()} {
		if quick.PasswordFits(hash, "twelve-chars") || quick.PasswordFits(hash, "") {
			t.Errorf("%q fits", hash)
		}
	}
	if cost, err := bcrypt.Cost([]byte(nobodys(passwordCost))); err != nil || cost != passwordCost {
		t.Errorf("the hash that takes time costs %d, %v", cost, err)
	}
}

// The parameters of production are those that OWASP names.
func TestPasswordParameters(t *testing.T) {
	hash, err := Passwords{}.HashPassword("correct horse battery")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s %v", hash, err)
	}
	if !(Passwords{Fresh: true}).PasswordFits(hash, "correct horse battery") || (Passwords{}).Stale(hash) {
		t.Error("its own hash does not fit, or is stale")
	}
	if _, ok := parseArgon(strings.Replace(hash, "m=19456", "m=262145", 1)); ok {
		t.Error("a hash may ask for more memory than it should")
	}
}

// What an earlier release has stored fits, whatever its cost, and is to be replaced.
func TestOlderPasswords(t *testing.T) {
	const password = "twelve-chars"
	for _, cost := range []int{bcrypt.MinCost, bcrypt.MinCost + 1, bcrypt.MinCost + 2} {
		hash, err := hashBcrypt(password, cost)
		if err != nil {
			t.Fatal(err)
		}
		if !quick.PasswordFits(hash, password) || quick.PasswordFits(hash, "another password") || !quick.Stale(hash) {
			t.Errorf("cost %d", cost)
		}
		if (Passwords{Fresh: true, Memory: 64, Passes: 1}).PasswordFits(hash, password) {
			t.Errorf("cost %d fits where there is none", cost)
		}
	}
	weaker, err := Passwords{Memory: 32, Passes: 1}.HashPassword(password)
	if err != nil || !quick.PasswordFits(weaker, password) || !quick.Stale(weaker) {
		t.Errorf("other parameters: %v", err)
	}
}

// Nothing that is no hash of ours is computed, nor breaks anything.
func TestBrokenPasswordHashes(t *testing.T) {
	hash, err := quick.HashPassword("twelve-chars")
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, to string) string { return strings.Replace(hash, old, to, 1) }
	for _, broken := range []string{
		change("argon2id", "argon2i"), change("v=19", "v=16"), change("m=64", "m=0"), change("m=64", "m=4294967295"), change("m=64", "m=+64"), change("t=1", "t=0"),
		change("t=1", "t=17"), change("p=1", "p=0"), change("p=1", "p=2"), change("p=1", "p=1,x=2"), hash + "$", hash + "A", hash[:len(hash)-2], "x" + hash, hash[:strings.LastIndexByte(hash, '$')],
	} {
		if _, ok := parseArgon(broken); ok || broken == hash {
			t.Errorf("%s is taken", broken)
		}
		if quick.PasswordFits(broken, "twelve-chars") {
			t.Errorf("%s fits", broken)
		}
	}
}

func BenchmarkPasswordFits(b *testing.B) {
	for name, p := range map[string]Passwords{"bcrypt as well": {}, "argon2id alone": {Fresh: true}} {
		b.Run(name, func(b *testing.B) {
			hash, err := p.HashPassword("twelve-chars")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.PasswordFits(hash, "twelve-chars")
			}
		})
	}
}
