package vendorconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// A certificate is shown to all staff and stands in the audit log: a key that was put
// next to it, as files often have both, is refused.
func TestNoKeyInTheCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	for given, ok := range map[string]bool{cert: true, cert + cert: true, cert + secret: false, secret + cert: false, secret + "\n" + cert: false, "about it: " + secret + cert: false} {
		var f Faults
		v := NewVendor("a", kindSMPP, &f)
		v.Host, v.Port, v.Username = "smsc.example", 1, "a"
		doc := VendorOf(&v)
		doc.TLSClientCert = given
		f = doc.Into(&v, Secrets{TLSClientKey: &secret})
		if got := len(f) == 0; got != ok {
			t.Errorf("%d octets: %v", len(given), f)
		}
	}
}
