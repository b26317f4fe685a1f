package workflows_test

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/workflows"
)

func TestMessageID(t *testing.T) {
	id := message.NewID()
	if out, in := workflows.MessageID(message.Outbound, id), workflows.MessageID(message.Inbound, id); out != workflows.OutboundID(id) || in != workflows.InboundID(id) || in == out {
		t.Errorf("%s, %s", out, in)
	}
}
