package message

import "testing"

func TestCountry(t *testing.T) {
	t.Parallel()
	for a, want := range map[Address]string{
		"+12025550143": "US", "+14165550123": "US", "+18005550123": "US", "+442071838750": "GB", "+447700900123": "GB", "+4930123456": "DE",
		"24365": "", "ACME": "", "": "", "+": "", "+88312345678": "", "not a number": "", "+0000000000": "",
	} {
		if got := a.Country(); got != want {
			t.Errorf("%s: %q, want %q", a, got, want)
		}
	}
}
