package main

import (
	"encoding/base64"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/workers"
)

func TestDecodePayloads(t *testing.T) {
	t.Parallel()
	ring := func(key string) *secret.Keyring {
		keys, err := secret.ParseKeyring("test:" + base64.StdEncoding.EncodeToString([]byte(key)))
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	g := &Gateway{keys: ring("0123456789abcdef0123456789abcdef")}
	plain := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"Your parcel is on its way"`)}
	seal := func(keys *secret.Keyring) []byte {
		sealed, err := workers.Codec{Sealer: keys.Box(secret.Content)}.Encode([]*commonpb.Payload{plain})
		if err != nil {
			t.Fatal(err)
		}
		body, err := protojson.Marshal(&commonpb.Payloads{Payloads: append(sealed, plain)})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	out, n, err := g.decodePayloads(seal(g.keys))
	var got commonpb.Payloads
	if uerr := protojson.Unmarshal(out, &got); err != nil || uerr != nil || n != 2 || len(got.Payloads) != 2 {
		t.Fatal(n, err, uerr)
	}
	for _, p := range got.Payloads {
		if string(p.Data) != string(plain.Data) || string(p.Metadata["encoding"]) != "json/plain" {
			t.Errorf("%v", p)
		}
	}
	for what, body := range map[string][]byte{"nonsense": []byte(`[1]`), "another key": seal(ring("fedcba9876543210fedcba9876543210"))} {
		if _, _, err := g.decodePayloads(body); message.ReasonOf(err) != message.ReasonInvalidRequest || strings.Contains(message.AsError(err).Detail, "parcel") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for address, want := range map[string]string{"https://temporal.gw.example/x/": "https://temporal.gw.example", "http://127.0.0.1:8233": "http://127.0.0.1:8233", "": "", "temporal": ""} {
		if got := originOf(address); got != want {
			t.Errorf("%q: %q", address, got)
		}
	}
}
