package policy

import (
	"cmp"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/text"
)

// The answers of those who have none of their own. {company} is the name of the
// account's company; a name that does not fit is cut, so that each is one part of
// GSM 7-bit.
var answers = map[message.KeywordAction]string{
	message.KeywordStop:  company + ": You have been unsubscribed and will receive no more messages. Reply START to subscribe again.",
	message.KeywordStart: company + ": You are subscribed again. Msg & data rates may apply. Reply HELP for help, STOP to unsubscribe.",
	message.KeywordHelp:  company + ": Help for these messages. Msg & data rates may apply. Reply STOP to unsubscribe.",
}

// company stands for the company's name in an answer.
const company = "{company}"

// nobody is what an answer says instead of a name that has no character of GSM
// 7-bit.
const nobody = "This sender"

// ActOn says what a keyword changes that came from a sender to a number of s, over a
// vendor: the pair that stops or starts, how much of the account's traffic it is
// about, and the answer that is owed if something changes. Nil: nothing, since the
// text is no keyword, or comes from where no message could go.
//
// The caller gives the OptOut and the Reply their ids.
func ActOn(s *snapshot.Snapshot, n *snapshot.Number, vendor message.ID, from message.Address, k Keyword) *message.KeywordAct {
	account := s.Accounts[n.AccountID]
	if k.Action == message.KeywordNone || account == nil || from.Kind() != message.E164 && from.Kind() != message.ShortCode {
		return nil
	}
	act := &message.KeywordAct{OptOut: message.OptOut{AccountID: account.ID, Recipient: from, Scope: cmp.Or(account.OptOutScope, message.OptOutNumber),
		Sender: n.Number, Keyword: k.Word, Source: message.OptOutByKeyword}}
	campaign := s.CampaignOf(n)
	if campaign != nil && campaign.AccountID != account.ID {
		campaign = nil
	}
	if campaign != nil {
		act.OptOut.CampaignID = campaign.CampaignID
	}
	if act.OptOut.Scope == message.OptOutCampaign && act.OptOut.CampaignID == "" {
		act.OptOut.Scope = message.OptOutNumber // there is no more to it than the number
	}
	if answersItself(s.Vendors[vendor], n.Number, k.Action) || !n.SMSEnabled || account.Status != snapshot.AccountActive {
		return act
	}
	act.Reply = &message.AutomaticReply{AccountID: account.ID, From: n.Number, To: from, Action: k.Action, Text: answer(account, campaign, k.Action)}
	return act
}

// answersItself reports whether the vendor, or the network behind it, answers.
func answersItself(v *snapshot.Vendor, number message.Address, action message.KeywordAction) bool {
	replies := snapshot.RepliesDefault
	if v != nil {
		replies = v.Replies
	}
	switch replies {
	case snapshot.RepliesVendor:
		return true
	case snapshot.RepliesGateway:
		return false
	}
	return number.TollFree() && action != message.KeywordHelp
}

// answer is the text of the answer: the campaign's, else the account's, else
// everybody's.
func answer(a *snapshot.Account, c *snapshot.Campaign, action message.KeywordAction) string {
	var own string
	if c == nil {
		c = &snapshot.Campaign{}
	}
	switch action {
	case message.KeywordStop:
		own = cmp.Or(c.StopReply, a.StopReply)
	case message.KeywordStart:
		own = cmp.Or(c.StartReply, a.StartReply)
	case message.KeywordHelp:
		own = cmp.Or(c.HelpReply, a.HelpReply)
	}
	if own != "" {
		return strings.ReplaceAll(own, company, a.CompanyName)
	}
	form := answers[action]
	room := text.SingleSeptets - len(form) + len(company) // its characters are a septet each
	return strings.ReplaceAll(form, company, shortName(a.CompanyName, room))
}

// shortName is what of a company's name GSM 7-bit has, in at most so many septets.
func shortName(name string, room int) string {
	if plan, err := text.Plan(name, message.EncodingAuto, true); err == nil && plan.Encoding == message.EncodingGSM7 {
		name = plan.Text
	}
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(name), " ") {
		plan, err := text.Plan(b.String()+string(r), message.EncodingGSM7, false)
		switch {
		case err != nil: // the alphabet lacks it
		case plan.Units > room:
			return strings.TrimSpace(b.String())
		default:
			b.WriteRune(r)
		}
	}
	return cmp.Or(strings.TrimSpace(b.String()), nobody)
}
