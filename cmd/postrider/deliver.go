package main

import (
	"fmt"

	"github.com/postrider/postrider/activities/deliver"
	"github.com/postrider/postrider/internal/email"
	"github.com/postrider/postrider/internal/mm4out"
)

// joinDeliver joins what takes inbound messages to their owners.
func (g *Gateway) joinDeliver() error {
	g.steps.Deliver = &deliver.Activities{Journal: g.db, Snapshot: g.config.Current, Now: g.db.Now, MediaURL: g.mediaURL, MailBytes: g.Config.EmailMaxBytes}
	if g.media != nil {
		g.steps.Deliver.Library = g.media
	}
	g.steps.Deliver.Peers = &mm4out.Post{Own: g.Config.mm4System(), Store: g.mediaStoreOpen(), Sender: g.mails()}
	if n := g.Config.EmailMaxBytes; n < 0 || n > deliver.MaxMailBytes {
		return fmt.Errorf("EMAIL_MAX_BYTES must be from 0 to %d", deliver.MaxMailBytes)
	}
	if g.Config.EmailRelay.Empty() {
		return nil
	}
	relay, err := email.Parse(g.Config.EmailRelay.Reveal(), g.Config.EmailFrom, nil)
	if err != nil {
		return err
	}
	g.steps.Deliver.Mailer = relay
	return nil
}

// tester tries the destinations of numbers.
func (g *Gateway) tester() *deliver.Tester {
	return &deliver.Tester{Snapshot: g.config.Current, Sender: g.sender, Mailer: g.steps.Deliver.Mailer, Peers: g.steps.Deliver.Peers, Now: g.db.Now}
}
