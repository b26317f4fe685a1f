package vendortest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/mm4"
)

// MM4Config is a vendor that takes MMS over MM4.
type MM4Config struct {
	// Answer is told of the MM4_forward.RES to a request. Who has the mails carried to a
	// gateway makes one of it.
	Answer func(request mm4.Header, s mm4.Status)
	// ByResponse has refusals said by responses, after a 250; else SMTP says them.
	ByResponse bool
}

// MM4Vendor is an MMSC on a real socket, which does as it is told. It knows a mail that
// comes again by its transaction id, and does the same again with it, unless
// AfterCut says otherwise. It is a Vendor as far as submissions go; what else a
// vendor sends comes over other connections. Safe for concurrent use.
type MM4Vendor struct {
	Script
	cfg     MM4Config
	ln      net.Listener
	server  *smtp.Server
	done    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	known    map[string]known // by transaction id
	mails    []MM4Mail
	conns    map[*smtp.Conn]struct{}
	dials    int
	afterCut ReplyKind // what is said to a mail that was cut off when it comes again
}

type known struct {
	came  Came
	reply Reply
}

// MM4Mail is a mail as it came.
type MM4Mail struct {
	From, To string // of the envelope
	Text     string
	Header   mm4.Header
}

// NewMM4 starts one on a free port of the loopback. Close ends it.
func NewMM4(cfg MM4Config) (*MM4Vendor, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &MM4Vendor{cfg: cfg, ln: ln, afterCut: Cut, known: make(map[string]known), conns: make(map[*smtp.Conn]struct{})}
	v.done, v.end = context.WithCancel(context.Background())
	v.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.conns[c] = struct{}{}
		v.dials++
		return &mm4Session{vendor: v, conn: c}, nil
	}))
	v.server.Domain = "mm4.peer.example"
	v.running.Go(func() { _ = v.server.Serve(ln) }) // ends by Close
	return v, nil
}

// Port is where it listens, on 127.0.0.1.
func (v *MM4Vendor) Port() int { return v.ln.Addr().(*net.TCPAddr).Port }

// Close ends it and all of its connections.
func (v *MM4Vendor) Close() {
	v.end()
	_ = v.ln.Close() // the server may not know it yet
	_ = v.server.Close()
	v.running.Wait()
}

// AfterCut says what a mail that was cut off is answered when it comes again. Before it is
// called, such a mail is cut off again.
func (v *MM4Vendor) AfterCut(kind ReplyKind) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.afterCut = kind
}

// Mails lists all mails in their order, repeated ones among them.
func (v *MM4Vendor) Mails() []MM4Mail {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]MM4Mail(nil), v.mails...)
}

// Dials is how many connections were made to it.
func (v *MM4Vendor) Dials() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dials
}

// Binds is 0: it has none.
func (*MM4Vendor) Binds() int { return 0 }

var errElsewhere = errors.New("vendortest: MM4 vendors report by mails to the gateway's server, not over the link")

// SendReceipt is not what a link of this kind sees.
func (*MM4Vendor) SendReceipt(context.Context, Came, message.ReceiptState) error { return errElsewhere }

// SendInbound is not what a link of this kind sees.
func (*MM4Vendor) SendInbound(context.Context, Inbound) error { return errElsewhere }

// CutAll ends every connection.
func (v *MM4Vendor) CutAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		_ = c.Conn().Close()
	}
}

type mm4Session struct {
	vendor   *MM4Vendor
	conn     *smtp.Conn
	from, to string
}

// Mail notes the sender.
func (s *mm4Session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

// Rcpt notes the recipient.
func (s *mm4Session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

// Reset forgets both.
func (s *mm4Session) Reset() { s.from, s.to = "", "" }

// Logout forgets the connection.
func (s *mm4Session) Logout() error {
	s.vendor.mu.Lock()
	defer s.vendor.mu.Unlock()
	delete(s.vendor.conns, s.conn)
	return nil
}

// Data takes a mail, and answers as it was told.
func (s *mm4Session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c, h, err := readMM4(string(raw))
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: err.Error()}
	}
	v := s.vendor
	v.mu.Lock()
	v.mails = append(v.mails, MM4Mail{From: s.from, To: s.to, Text: string(raw), Header: h})
	k, again := v.known[h.TransactionID]
	if !again {
		k.came, k.reply = v.Arrive(c, nil)
		v.known[h.TransactionID] = k
	}
	then := v.afterCut
	v.mu.Unlock()
	if again && k.reply.Kind == Cut {
		k.reply.Kind = then
	}
	return s.play(h, k.reply, again)
}

// refusals are what it says by SMTP, and by a response.
var refusals = map[ReplyKind]struct {
	reply  smtp.SMTPError
	status mm4.Status
}{
	Throttle:  {smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "too many mails"}, mm4.StatusNetworkProblem},
	Temporary: {smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now"}, mm4.StatusUnspecified},
	Permanent: {smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}, mm4.StatusAddress},
}

func (s *mm4Session) play(h mm4.Header, r Reply, again bool) error {
	v := s.vendor
	left := func() {
		if !again {
			v.Left()
		}
	}
	status := mm4.StatusOK
	switch r.Kind {
	case Cut:
		left()
		_ = s.conn.Conn().Close()
		return nil
	case Silent:
		left()
		return nil
	case Throttle, Temporary, Permanent:
		if !v.cfg.ByResponse || r.Kind == Throttle {
			left()
			no := refusals[r.Kind].reply
			return &no
		}
		status = refusals[r.Kind].status
	}
	v.running.Go(func() {
		if r.Hold != nil {
			select {
			case <-r.Hold:
			case <-v.done.Done():
				return
			}
		}
		left()
		v.cfg.Answer(h, status)
	})
	return nil
}

// readMM4 reads a mail the way a handset would.
func readMM4(raw string) (Came, mm4.Header, error) {
	m, err := mm4.NewReader(strings.NewReader(raw), mm4.Limits{})
	if err != nil {
		return Came{}, mm4.Header{}, err
	}
	c := Came{ID: m.Header.MessageID, From: m.Header.From.Number(), To: m.Header.To[0].Number()}
	for {
		p, err := m.Next()
		if errors.Is(err, io.EOF) {
			return c, m.Header, nil
		}
		if err != nil {
			return c, m.Header, err
		}
		body, err := io.ReadAll(p.Body)
		if err != nil {
			return c, m.Header, err
		}
		switch {
		case p.IsSMIL():
		case p.IsText():
			c.Text += strings.TrimSuffix(string(body), "\n")
		default:
			c.Media = append(c.Media, string(body))
		}
	}
}
