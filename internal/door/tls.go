package door

import "crypto/tls"

// ServerTLS is a copy of the configuration with what must hold for whoever connects: TLS
// 1.2 at least, and nobody is asked for a certificate. Cipher suites are Go's choice.
func ServerTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ClientAuth = tls.NoClientCert
	return c
}
