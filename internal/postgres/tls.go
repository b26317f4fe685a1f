package postgres

import (
	"crypto/tls"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// tlsFor reads the sslmode as libpq does, through pgx's own parser.
func tlsFor(c Config) (*tls.Config, error) {
	mode := orElse(c.SSLMode, "prefer")
	if mode == "disable" {
		return nil, nil
	}
	parsed, err := pgx.ParseConfig(fmt.Sprintf("host=%s sslmode=%s", orElse(c.Host, "127.0.0.1"), mode))
	if err != nil {
		return nil, fmt.Errorf("sslmode %q: %w", mode, err)
	}
	if mode == "prefer" || mode == "allow" {
		// With these libpq falls back to plain text; a server that wants TLS
		// is named by a stricter mode.
		return nil, nil
	}
	return parsed.TLSConfig, nil
}
