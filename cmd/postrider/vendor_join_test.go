package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestVendorWithoutKeysFailsItsTest(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":[]}`) }))
	t.Cleanup(api.Close)
	v := &snapshot.Vendor{Name: "acme", ProviderType: "telnyx", BaseURL: api.URL, Password: "KEY1"}
	if detail, err := testVendor(stacktest.Context(t), v); err == nil || !strings.Contains(err.Error(), "signing_keys") || strings.Contains(err.Error(), v.Password) {
		t.Errorf("%q, %v", detail, err)
	}
	v.SigningKeys = []string{"A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}
	if detail, err := testVendor(stacktest.Context(t), v); err != nil || detail == "" {
		t.Errorf("%q, %v", detail, err)
	}
}
