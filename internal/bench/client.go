package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/smpp"
)

// requestTimeout bounds a request: what takes longer counts as an error.
const requestTimeout = 30 * time.Second

// api is where load goes, and as whom. Its head is prepared once: a request
// then costs the generator one write and one read.
type api struct {
	address string                  // host:port
	head    *atomic.Pointer[[]byte] // of POST /v1/messages, up to the value of Content-Length
	from    string
	webhook string
	class   string // empty: the account's
}

// newAPI prepares requests to base with the value of an Authorization header.
func newAPI(base, authorization, from, webhook string) (*api, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" || u.Port() == "" {
		return nil, fmt.Errorf("POSTRIDER_URL is %q; want http://host:port", base)
	}
	a := &api{address: u.Host, head: new(atomic.Pointer[[]byte]), from: from, webhook: webhook}
	a.authorize(authorization)
	return a, nil
}

// authorize takes another value for the Authorization header of the requests to
// come, also those of copies.
func (a *api) authorize(authorization string) {
	head := []byte("POST /v1/messages HTTP/1.1\r\nHost: " + a.address + "\r\nAuthorization: " + authorization +
		"\r\nContent-Type: application/json\r\nUser-Agent: postrider-bench\r\nContent-Length: ")
	a.head.Store(&head)
}

// appendRequest writes the request of one message.
func (a *api) appendRequest(b []byte, to, reference string) []byte {
	body := `{"from":"` + a.from + `","to":"` + to + `","body":"Your parcel ` + reference +
		` is on its way and arrives today before 18:00.","webhook_url":"` + a.webhook + `","client_reference":"` + reference + `"`
	if a.class != "" {
		body += `,"message_class":"` + a.class + `"`
	}
	body += "}"
	b = append(b, *a.head.Load()...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// link is one keep-alive connection. It has one user at a time.
type link struct {
	api    *api
	conn   net.Conn
	reader *bufio.Reader
	buffer []byte
	used   time.Time // when its last exchange ended
}

// idleConnection is how long a connection may have been idle to be used again, as HTTP
// clients have it: below the 120 s after which our server closes it.
const idleConnection = 30 * time.Second

// answerError is an answer other than 202.
type answerError struct {
	status int
	code   string // of the problem document, if it is one
}

func (e *answerError) Error() string { return fmt.Sprintf("%d %s", e.status, e.code) }

// post sends one message and returns when it was accepted. It never tries
// again: the message may have been accepted, and a second one would be a
// doubled message of our own making.
func (l *link) post(ctx context.Context, to, reference string) error {
	if l.conn != nil && time.Since(l.used) > idleConnection {
		l.close()
	}
	if l.conn == nil {
		dialer := net.Dialer{Timeout: requestTimeout}
		conn, err := dialer.DialContext(ctx, "tcp", l.api.address)
		if err != nil {
			return err
		}
		l.conn, l.reader = conn, bufio.NewReader(conn)
	}
	again, err := l.exchange(to, reference)
	if l.used = time.Now(); !again {
		l.close()
	}
	return err
}

// exchange reports whether the connection may be used again.
func (l *link) exchange(to, reference string) (again bool, err error) {
	if err := l.conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return false, err
	}
	l.buffer = l.api.appendRequest(l.buffer[:0], to, reference)
	if _, err := l.conn.Write(l.buffer); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted {
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && !resp.Close, err
	}
	refused := &answerError{status: resp.StatusCode}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false, refused
	}
	refused.code = problemCode(body)
	return !resp.Close && len(body) < maxAnswer, refused
}

const maxAnswer = 1 << 20

// problemCode reads the code of a problem document; empty: none.
func problemCode(body []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		return ""
	}
	return problem.Code
}

func (l *link) close() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn, l.reader = nil, nil
	}
}

// errorName groups errors for the report: an answer by its status and code,
// the rest by kind.
func errorName(err error) string {
	var answer *answerError
	var timeout interface{ Timeout() bool }
	var refused *smpp.StatusError
	switch {
	case errors.As(err, &refused):
		return refused.Status.String()
	case errors.As(err, &answer):
		return answer.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	default:
		return "connection broken"
	}
}

// basic is the Authorization header of a key and its secret.
func basic(key, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"+secret))
}

// bearer takes a token, which is good for fifteen minutes, for its
// Authorization header.
func bearer(ctx context.Context, base, key, secret string) (string, error) {
	body, err := json.Marshal(map[string]string{"api_key": key, "api_secret": secret})
	if err != nil {
		return "", err
	}
	return takeToken(ctx, base+"/v1/auth/token", body)
}

// takeToken takes a token with credentials in JSON, for an Authorization header.
func takeToken(ctx context.Context, address string, body []byte) (string, error) {
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := callJSON(ctx, http.MethodPost, address, body, &token); err != nil {
		return "", fmt.Errorf("take a token: %w", err)
	}
	return "Bearer " + token.AccessToken, nil
}

// callJSON makes one request outside of the load.
func callJSON(ctx context.Context, method, address string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, req.URL.Path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
