package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The checks name the flag that is wrong: the database's own refusals name
// constraints.

func checkRange(flag string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("--%s: want %d to %d, not %d", flag, least, most, n)
	}
	return nil
}

func checkWord(flag, word string, words ...string) error {
	if !slices.Contains(words, word) {
		return fmt.Errorf("--%s: %q is none of %s", flag, word, strings.Join(words, ", "))
	}
	return nil
}

// checkSeconds wants whole seconds, for that is what the rows hold.
func checkSeconds(flag string, d, least, most time.Duration) error {
	if d < least || d > most || d%time.Second != 0 {
		return fmt.Errorf("--%s: want whole seconds from %s to %s, not %s", flag, least, most, d)
	}
	return nil
}

// readNetworks wants networks as Postgres keeps them: without bits beyond the mask.
func readNetworks(flag string, list []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, a := range list {
		p, err := netip.ParsePrefix(a)
		switch {
		case err != nil:
			return nil, fmt.Errorf("--%s: %w; want CIDR, such as 198.51.100.0/24", flag, err)
		case p.Addr().Is4In6():
			return nil, fmt.Errorf("--%s: %s is IPv4 in IPv6; want it in IPv4", flag, p)
		case p != p.Masked():
			return nil, fmt.Errorf("--%s: %s has bits beyond its mask; want %s", flag, p, p.Masked())
		}
		networks = append(networks, p)
	}
	return networks, nil
}
