package main

import (
	"net/url"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/workers"
)

// decodePayloads opens the payloads of a request of Temporal's remote codec protocol, and
// says how many there were. Their order stays.
func (g *Gateway) decodePayloads(body []byte) ([]byte, int, error) {
	var in commonpb.Payloads
	if err := protojson.Unmarshal(body, &in); err != nil {
		return nil, 0, message.Because(message.ReasonInvalidRequest, err, "the body is no list of payloads: send {\"payloads\": […]} as Temporal's remote codec protocol has it")
	}
	opened, err := workers.Codec{Sealer: g.keys.Box(secret.Content)}.Decode(in.GetPayloads())
	if err != nil {
		return nil, 0, message.Because(message.ReasonInvalidRequest, err, "a payload was not sealed with a key of this installation")
	}
	out, err := protojson.Marshal(&commonpb.Payloads{Payloads: opened})
	return out, len(opened), err
}

// originOf is the origin of a URL, as browsers name it; empty for none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
