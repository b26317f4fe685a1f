package mm4

import (
	"time"

	"github.com/postrider/postrider/internal/mm4"
)

// Limits bound what peers may take. A zero field means its default.
type Limits struct {
	// Sessions is how many there may be at a time; more are greeted with 421.
	Sessions int
	// SessionsPerAddress is the same for one source address, a /64 in IPv6.
	SessionsPerAddress int
	// ConnectRate is how many connections one source address may open in 10 s.
	ConnectRate int
	// SpoolOctets is how much of mails that are not committed yet there may be in all
	// sessions together; above it a mail is answered with 452 4.3.1.
	SpoolOctets int64
	// Text is how many octets the texts of one mail may have together, in UTF-8.
	Text int
	// Command is how long we wait for a command, and for a TLS handshake.
	Command time.Duration
	// DataGrace and DataRate bound a slow mail: after DataGrace it must have come with
	// DataRate octets a second on the average. DataTime bounds it in any case.
	DataGrace time.Duration
	DataRate  int64
	DataTime  time.Duration
	// Accept is how long the Desk may take to commit a mail.
	Accept time.Duration
	// Drain is how long Serve lets mails finish when its context ends.
	Drain time.Duration
	// Commands is how many commands a session may say without a mail being taken.
	Commands int
	// AuthFailures is how many wrong passwords one source address may say in a minute.
	AuthFailures int
	// Mail bounds the parts of a mail.
	Mail mm4.Limits
}

// The defaults of Limits.
const (
	DefaultSessions           = 1000
	DefaultSessionsPerAddress = 50
	DefaultConnectRate        = 100
	DefaultSpoolOctets        = 1 << 30
	// DefaultText is far above what an MMS shows, and below what a row should hold.
	DefaultText = 64 << 10
	// DefaultCommand is the least that RFC 5321 §4.5.3.2.7 asks of a server.
	DefaultCommand = 5 * time.Minute
	// DefaultDataGrace is what a sender waits for one block to go (RFC 5321 §4.5.3.2.5).
	DefaultDataGrace = 3 * time.Minute
	DefaultDataRate  = 16 << 10
	DefaultDataTime  = 15 * time.Minute
	// DefaultAccept is below the 10 minutes that a sender waits for the reply to its
	// final dot (RFC 5321 §4.5.3.2.6): it should hear of a failure.
	DefaultAccept       = time.Minute
	DefaultDrain        = 30 * time.Second
	DefaultCommands     = 200
	DefaultAuthFailures = 10
)

const (
	// maxLine is the longest command, with its line end. RFC 5321 §4.5.3.1.4 has 512
	// octets, and its extensions add to them.
	maxLine = 1000
	// writeTime bounds the writing of one reply.
	writeTime = time.Minute
	// proxyTime is when a PROXY header must have come.
	proxyTime = 10 * time.Second
	// lingerTime and lingerOctets bound what is read of a connection that we close: what
	// is left unread would make the peer's system drop our last reply.
	lingerTime   = time.Second
	lingerOctets = 64 << 10
	// drainOctets is how much is read of a mail that is refused already, to reach its
	// end; of more only the connection's end does.
	drainOctets = 64 << 20
	// recipientTime bounds Desk.Recipient.
	recipientTime = 10 * time.Second
	// lastTime is what commits may take beyond the end of Shutdown's context.
	lastTime = 5 * time.Second
	// maxAuthTries is how many wrong passwords one session may say.
	maxAuthTries = 3
	// authChecks is how many passwords are checked at a time: a check takes a processor
	// for a tenth of a second.
	authChecks = 2
	// authWindow is what Limits.AuthFailures counts over.
	authWindow = time.Minute
	// maxHosts bounds the addresses that they are counted for, and the peers whose rates
	// this process counts.
	maxHosts = 20_000
)

func (l Limits) orDefault() Limits {
	number := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	octets := func(n *int64, d int64) {
		if *n <= 0 {
			*n = d
		}
	}
	span := func(n *time.Duration, d time.Duration) {
		if *n <= 0 {
			*n = d
		}
	}
	number(&l.Sessions, DefaultSessions)
	number(&l.SessionsPerAddress, DefaultSessionsPerAddress)
	number(&l.ConnectRate, DefaultConnectRate)
	number(&l.Text, DefaultText)
	number(&l.Commands, DefaultCommands)
	number(&l.AuthFailures, DefaultAuthFailures)
	octets(&l.SpoolOctets, DefaultSpoolOctets)
	octets(&l.DataRate, DefaultDataRate)
	span(&l.Command, DefaultCommand)
	span(&l.DataGrace, DefaultDataGrace)
	span(&l.DataTime, DefaultDataTime)
	span(&l.Accept, DefaultAccept)
	span(&l.Drain, DefaultDrain)
	return l
}
