package postgres

import (
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// A group is kept with each of its messages, beside others that are in none.
func TestGroupIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	group, everybody := message.NewID(), []message.Address{"+13105550117", "+13105550118", "24365"}
	grouped, alone := b.draft(), b.draft()
	grouped.GroupID, grouped.GroupRecipients = group, everybody
	b.store(grouped)
	b.store(alone)
	got, err := b.AccountMessage(b.ctx, grouped.AccountID, grouped.ID)
	if err != nil || got.GroupID != group || !slices.Equal(got.GroupRecipients, everybody) {
		t.Errorf("%v, %v, %v", got.GroupID, got.GroupRecipients, err)
	}
	if got, err = b.AccountMessage(b.ctx, alone.AccountID, alone.ID); err != nil || got.GroupID != (message.ID{}) || got.GroupRecipients != nil {
		t.Errorf("alone: %v, %v, %v", got.GroupID, got.GroupRecipients, err)
	}
}

// So is that of an inbound message, also of one that was nobody's at first.
func TestInboundGroupIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	everybody := []message.Address{ours, "+13105550118", "odd\x00one"}
	kept := []message.Address{ours, "+13105550118", "odd\uFFFDone"}
	a := b.toRecord(b.owned(b.arrival("hi all")))
	a.Recipients = everybody
	b.came(a)
	got, err := b.Received(b.ctx, a.ID)
	if err != nil || !slices.Equal(got.Group, kept) {
		t.Errorf("%q, %v", got.Group, err)
	}
	state, err := b.ReceivedMessage(b.ctx, b.owner, a.ID)
	if err != nil || !slices.Equal(state.Group, kept) {
		t.Errorf("%q, %v", state.Group, err)
	}
	plain := b.toRecord(b.owned(b.arrival("hi")))
	b.came(plain)
	if got, err = b.Received(b.ctx, plain.ID); err != nil || got.Group != nil {
		t.Errorf("of one recipient: %q, %v", got.Group, err)
	}
}
