package page

import "github.com/postrider/postrider/internal/message"

// word is how a status is shown.
type word struct {
	tone Tone
	help string
}

// statuses says in plain words what each status of a message means.
var statuses = map[message.Status]word{
	message.StatusAccepted:    {Busy, "Written down and answered; its checks begin"},
	message.StatusScheduled:   {Busy, "Waits for the time at which it is to be sent"},
	message.StatusQueued:      {Busy, "Checked and routed; waits for media, its order, a cap or a link to the vendor"},
	message.StatusSending:     {Busy, "A submit to the vendor is under way"},
	message.StatusSent:        {Busy, "The vendor has taken it; its delivery report is awaited"},
	message.StatusInDoubt:     {Warn, "It was submitted and no answer is known: the vendor may have it or not"},
	message.StatusDelivered:   {Good, "The vendor reports that it was delivered"},
	message.StatusUndelivered: {Bad, "The vendor reports that it cannot be delivered"},
	message.StatusFailed:      {Bad, "No vendor took it"},
	message.StatusRejected:    {Bad, "Refused by a rule before it was sent"},
	message.StatusExpired:     {Bad, "Its validity ended before it was delivered"},
	message.StatusCanceled:    {Plain, "Withdrawn before it was sent"},
	message.StatusUnconfirmed: {Warn, "Sent, and no delivery report came in time"},
}

// Status is the badge of a message's status.
func Status(status string) Cell {
	w, ok := statuses[message.Status(status)]
	if !ok {
		return Badge(status, Plain, "")
	}
	text := status
	if status == string(message.StatusInDoubt) {
		text = "in doubt"
	}
	return Badge(text, w.tone, w.help)
}

// StatusOptions are all statuses for a choice in a filter.
func StatusOptions() []Option {
	var out []Option
	for _, s := range message.Statuses() {
		out = append(out, Option{Value: string(s), Text: Status(string(s)).Text})
	}
	return out
}
