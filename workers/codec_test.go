package workers_test

import (
	"bytes"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/workers"
)

func box(t testing.TB) *secret.Box {
	t.Helper()
	ring, err := secret.ParseKeyring(secret.NewKey("test").Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return ring.Box(secret.Content)
}

func TestCodecGivesBackWhatItWasGiven(t *testing.T) {
	codec := workers.Codec{Sealer: box(t)}
	rapid.Check(t, func(rt *rapid.T) {
		in := []*commonpb.Payload{}
		for range rapid.IntRange(0, 4).Draw(rt, "payloads") {
			in = append(in, &commonpb.Payload{Data: rapid.SliceOf(rapid.Byte()).Draw(rt, "data"),
				Metadata: map[string][]byte{converter.MetadataEncoding: []byte(rapid.StringMatching(`[a-z/]{0,12}`).Draw(rt, "encoding"))}})
		}
		sealed, err := codec.Encode(in)
		if err != nil {
			rt.Fatal(err)
		}
		for i, p := range sealed {
			if n := len(in[i].Data); n > 8 && bytes.Contains(p.Data, in[i].Data) {
				rt.Fatal("the data can be read")
			}
		}
		out, err := codec.Decode(sealed)
		if err != nil {
			rt.Fatal(err)
		}
		if len(out) != len(in) {
			rt.Fatalf("%d of %d payloads", len(out), len(in))
		}
		for i := range in {
			if !proto.Equal(in[i], out[i]) {
				rt.Fatalf("payload %d differs", i)
			}
		}
	})
}

// Payloads of a time before the codec stay readable, and those that somebody
// has touched do not.
func TestCodecForeignPayloads(t *testing.T) {
	codec := workers.Codec{Sealer: box(t)}
	plain := &commonpb.Payload{Data: []byte(`"x"`), Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}}
	out, err := codec.Decode([]*commonpb.Payload{plain, {}})
	if err != nil || !proto.Equal(out[0], plain) {
		t.Errorf("%v, %v", out, err)
	}
	sealed, err := codec.Encode([]*commonpb.Payload{plain})
	if err != nil {
		t.Fatal(err)
	}
	sealed[0].Data[len(sealed[0].Data)-1] ^= 1
	if _, err := codec.Decode(sealed); err == nil {
		t.Error("an altered payload is read")
	}
	if _, err := codec.Decode([]*commonpb.Payload{{Data: []byte("short"), Metadata: sealed[0].Metadata}}); err == nil {
		t.Error("a cut payload is read")
	}
}

func TestDataConverter(t *testing.T) {
	dc := workers.Codec{Sealer: box(t)}.DataConverter()
	p, err := dc.ToPayloads("text of a message", 42)
	if err != nil {
		t.Fatal(err)
	}
	if raw, _ := proto.Marshal(p); bytes.Contains(raw, []byte("text of a message")) {
		t.Error("the text can be read")
	}
	var s string
	var n int
	if err := dc.FromPayloads(p, &s, &n); err != nil || s != "text of a message" || n != 42 {
		t.Errorf("%q, %d, %v", s, n, err)
	}
}
