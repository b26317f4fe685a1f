package secret

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestPasswords(t *testing.T) {
	p := Passwords{Cost: bcrypt.MinCost + 1}
	for _, password := range []string{"", "eleven-char", strings.Repeat("x", 73)} {
		if _, err := p.HashPassword(password); !errors.Is(err, ErrPasswordLength) {
			t.Errorf("%d octets: %v", len(password), err)
		}
	}
	for _, password := range []string{"twelve-chars", strings.Repeat("ü", 36)} {
		hash, err := p.HashPassword(password)
		if err != nil {
			t.Fatal(err)
		}
		if cost, err := bcrypt.Cost([]byte(hash)); err != nil || cost != p.Cost {
			t.Errorf("cost %d, %v", cost, err)
		}
		if !p.PasswordFits(hash, password) || p.PasswordFits(hash, password[1:]) || p.PasswordFits(hash, "") {
			t.Error("it fits what it should not, or does not fit")
		}
		// One of a smaller cost, and of a greater one, is as good.
		for _, cost := range []int{bcrypt.MinCost, bcrypt.MinCost + 2} {
			other, err := Passwords{Cost: cost}.HashPassword(password)
			if err != nil || !p.PasswordFits(other, password) || p.PasswordFits(other, "another password") {
				t.Errorf("cost %d: %v", cost, err)
			}
		}
	}
	for _, hash := range []string{"", "x", "$2a$04$short", nobodys(bcrypt.MinCost)} {
		if p.PasswordFits(hash, "twelve-chars") || p.PasswordFits(hash, "") {
			t.Errorf("%q fits", hash)
		}
	}
	if cost, err := bcrypt.Cost([]byte(nobodys(passwordCost))); err != nil || cost != passwordCost {
		t.Errorf("the hash that takes time costs %d, %v", cost, err)
	}
}
