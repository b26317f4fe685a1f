package workers

import (
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

// Sealer encrypts payloads; the sealed form names its key.
type Sealer interface {
	Seal(plaintext, associated []byte) []byte
	Open(sealed, associated []byte) ([]byte, error)
}

// encodingSealed marks a payload that Codec has sealed.
const encodingSealed = "binary/postrider-sealed"

// Codec encrypts everything that goes into workflow histories: inputs, results,
// failures and the texts for the UI. Search attributes are outside of it.
type Codec struct{ Sealer Sealer }

var _ converter.PayloadCodec = Codec{}

// Encode seals each payload whole.
func (c Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		plain, err := proto.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode payload: %w", err)
		}
		out[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encodingSealed)},
			Data:     c.Sealer.Seal(plain, []byte(encodingSealed)),
		}
	}
	return out, nil
}

// Decode opens what Encode sealed and leaves other payloads as they are.
func (c Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encodingSealed {
			out[i] = p
			continue
		}
		plain, err := c.Sealer.Open(p.GetData(), []byte(encodingSealed))
		if err != nil {
			return nil, fmt.Errorf("decode payload: %w", err)
		}
		out[i] = &commonpb.Payload{}
		if err := proto.Unmarshal(plain, out[i]); err != nil {
			return nil, fmt.Errorf("decode payload: %w", err)
		}
	}
	return out, nil
}

// DataConverter is the JSON converter behind the codec.
func (c Codec) DataConverter() converter.DataConverter {
	return converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), c)
}
