package workflows

import "github.com/postrider/postrider/internal/message"

// InboundInput is what the workflow of an inbound message starts with.
type InboundInput struct {
	MessageID message.ID
	AccountID message.ID
}
