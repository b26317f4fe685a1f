package mm4

import "strings"

// judge looks at each command before the library does. It answers what the library would
// answer otherwise than RFC 5321 §4.1.4 and §4.3.2 have it, and what it must not do.
func (c *session) judge(command string) verdict {
	if c.commands++; c.commands > c.server.limits.Commands {
		return verdict{reply: say(codeBusy, "%d commands and no mail", c.server.limits.Commands), end: true}
	}
	var v verdict
	err := c.protect("a command", func() error {
		v = c.verdict(command)
		return nil
	})
	if err != nil {
		return verdict{reply: replyTo(err), end: true}
	}
	return v
}

// verdict looks at one command.
func (c *session) verdict(command string) verdict {
	if strings.ContainsFunc(command, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
		return verdict{reply: say(codeSyntax, "a command has ASCII letters only; SMTPUTF8 is not offered")}
	}
	verb, args, _ := strings.Cut(command, " ")
	order := func(ok bool, text string) verdict {
		if ok {
			return verdict{pass: true}
		}
		return verdict{reply: say(codeOrder, "%s", text)}
	}
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO":
		if name, _, _ := strings.Cut(strings.TrimSpace(args), " "); name != "" {
			c.greeted, c.hello = true, printable(name)
		}
	case "STARTTLS":
		return c.startTLS(args)
	case "AUTH":
		return c.judgeAuth()
	case "MAIL":
		if v := order(c.greeted, "say EHLO first"); !v.pass {
			return v
		}
		if v := order(c.mail == nil, "a mail is begun already; finish it, or say RSET"); !v.pass {
			return v
		}
		if hugeSize(args) {
			return verdict{reply: say(codeTooLarge, "the mail is larger than any that is taken")}
		}
	case "RCPT":
		return order(c.mail != nil, "say MAIL first")
	case "DATA":
		v := order(c.mail != nil && len(c.mail.To) > 0, "say MAIL, and RCPT for a recipient that is taken, first")
		if v.pass && args == "" {
			c.state(StateData) // before 354 goes out, so that Kick knows
		}
		return v
	case "BDAT":
		// Its octets follow, and must not be taken for commands.
		return verdict{reply: say(codeUnoffered, "BDAT is not offered; use DATA"), end: true}
	}
	return verdict{pass: true}
}

// hugeSize finds a SIZE= of more digits than the library can read, which it would call
// a mistake of syntax (RFC 1870 §4: up to 20 digits).
func hugeSize(args string) bool {
	for word := range strings.FieldsSeq(args) {
		if len(word) > len("SIZE=") && strings.EqualFold(word[:len("SIZE=")], "SIZE=") {
			digits := strings.TrimLeft(word[len("SIZE="):], "0")
			if len(digits) > 9 && strings.Trim(digits, "0123456789") == "" {
				return true
			}
		}
	}
	return false
}

// startTLS judges STARTTLS (RFC 3207). What follows it in the same breath was sent in
// clear and would be read as if it had been secured; a peer that sends it is not
// talked to.
func (c *session) startTLS(args string) verdict {
	switch {
	case c.link.config == nil:
		return verdict{reply: say(codeUnoffered, "STARTTLS is not offered")}
	case c.link.secured:
		return verdict{reply: say(codeOrder, "the connection is secured already")}
	case strings.TrimSpace(args) != "":
		return verdict{reply: say(codeSyntax, "STARTTLS has no parameters")}
	case c.mail != nil || c.proved != nil:
		return verdict{reply: say(codeOrder, "say STARTTLS before AUTH and MAIL")}
	case c.link.in.Buffered() > 0:
		c.refused(RefusedInjection)
		return verdict{reply: say(codeOrder, "nothing may follow STARTTLS before the handshake"), end: true}
	}
	return verdict{
		reply: say(codeReady, "begin the handshake"), startTLS: true,
		tlsDone: func() {
			// Nothing that was said in clear counts (RFC 3207 §4.2).
			c.greeted, c.hello = false, ""
			c.note(func(i *SessionInfo) { i.TLS = true })
		},
	}
}

// judgeAuth judges AUTH (RFC 4954 §4).
func (c *session) judgeAuth() verdict {
	switch {
	case !c.greeted:
		return verdict{reply: say(codeOrder, "say EHLO first")}
	case c.proved != nil:
		return verdict{reply: say(codeOrder, "a password was proved already")}
	case c.mail != nil:
		return verdict{reply: say(codeOrder, "say AUTH before MAIL")}
	case !c.mayAuth():
		return verdict{reply: say(codeDemanded, "a password is said under TLS only; say STARTTLS first")}
	case !c.server.mayTry(c.address):
		c.refused(RefusedPasswords)
		return verdict{reply: say(codeBusy, "too many wrong passwords; come back in a minute"), end: true}
	}
	return verdict{pass: true}
}
