package message

// Resolution is what staff say of a message in doubt: what became of it, or what is to
// become of it.
type Resolution string

// The resolutions.
const (
	ResolvedSent      Resolution = "sent"       // the vendor has it: receipts are waited for
	ResolvedNotSent   Resolution = "not_sent"   // the vendor does not have it: it has failed
	ResolvedSendAgain Resolution = "send_again" // whether or not it has it: it is offered again
)

// Resolutions lists each once.
func Resolutions() []Resolution {
	return []Resolution{ResolvedSent, ResolvedNotSent, ResolvedSendAgain}
}
