package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// operator runs `postrider admin` as the staff of the stack do: with the
// environment of its gateway, which knows database and keys.
type operator struct {
	program string
	env     []string
}

// openOperator finds the gateway's program and environment in /proc, which its
// user may read and nobody else.
func openOperator(m meter) (*operator, error) {
	if m.root == 0 {
		return nil, errors.New("the stack's processes are not found, and without them no other account can be made")
	}
	gateways := m.processes()[partGateway]
	if len(gateways) == 0 {
		return nil, errors.New("the stack has no gateway")
	}
	folder := filepath.Join(m.proc, strconv.Itoa(gateways[0].pid))
	program, err := os.Readlink(filepath.Join(folder, "exe"))
	if err != nil {
		return nil, err
	}
	body, err := os.ReadFile(filepath.Join(folder, "environ"))
	if err != nil {
		return nil, err
	}
	return &operator{program: program, env: strings.Split(strings.TrimRight(string(body), "\x00"), "\x00")}, nil
}

// admin runs one command. What it prints is JSON, and goes into the value unless
// that is nil.
func (o *operator) admin(ctx context.Context, into any, args ...string) error {
	out, err := o.said(ctx, args...)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("postrider admin %s: %w", strings.Join(args[:min(2, len(args))], " "), err)
	}
	return nil
}

// said is what a command prints.
func (o *operator) said(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, o.program, append([]string{"admin"}, args...)...)
	cmd.Env = o.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("postrider admin %s: %w\n%s", strings.Join(args[:min(2, len(args))], " "), err, stderr.Bytes())
	}
	return out, nil
}

// sender is an account that may send.
type sender struct{ key, secret, from string }

// benchVendor is the vendor that `postrider dev` makes of the simulator.
const benchVendor = "smscsim"

// addSender makes an account with a number of its own and a route to the simulator.
// It is not held up by quiet hours: the bench runs at any time of the day. backlog is
// how many of its messages may be on their way.
func (o *operator) addSender(ctx context.Context, from string, backlog int) (sender, error) {
	var account, campaign struct {
		ID string `json:"id"`
	}
	var key struct{ Key, Secret string }
	for _, step := range []func() error{
		func() error {
			return o.admin(ctx, &account, "account", "create", "--name", "Bench", "--rate", "100000", "--max-backlog", strconv.Itoa(backlog), "--quiet-hours", "off")
		},
		func() error {
			return o.admin(ctx, &campaign, "campaign", "add", "--account", account.ID, "--campaign-id", "CBENCH"+from[len(from)-1:], "--use-case", "MARKETING", "--status", "active")
		},
		func() error {
			return o.admin(ctx, nil, "number", "add", from, "--account", account.ID, "--campaign", campaign.ID)
		},
		func() error {
			return o.admin(ctx, &key, "credential", "create", "--account", account.ID, "--name", "bench")
		},
		func() error {
			return o.admin(ctx, nil, "route", "add", "--vendor", benchVendor, "--account", account.ID, "--priority", "10", "--dest", "^1", "--rate", "0.0045")
		},
	} {
		if err := step(); err != nil {
			return sender{}, err
		}
	}
	return sender{key: key.Key, secret: key.Secret, from: from}, nil
}

// staff is a member of staff that looks, and sees no texts.
type staff struct{ base, email, password string }

// addStaff makes one. base is where the internal API is.
func (o *operator) addStaff(ctx context.Context, base string) (staff, error) {
	s := staff{base: base}
	var made struct{ Email, Password string }
	// Another run may have left its own.
	email := fmt.Sprintf("bench-%d@gw.example", time.Now().UnixMilli())
	err := o.admin(ctx, &made, "staff", "create", email, "--role", "viewer")
	s.email, s.password = made.Email, made.Password
	return s, err
}

// endStaff takes away the right to log in.
func (o *operator) endStaff(ctx context.Context, s staff) error {
	return o.admin(ctx, nil, "staff", "disable", s.email)
}

// bearer takes a token for an Authorization header.
func (s staff) bearer(ctx context.Context) (string, error) {
	body, err := json.Marshal(map[string]string{"email": s.email, "password": s.password})
	if err != nil {
		return "", err
	}
	return takeToken(ctx, s.base+"/api/v1/admin/auth/token", body)
}

// formToken finds the token that a form carries.
var formToken = regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`)

// visit signs in to the console, as a browser does.
func (s staff) visit(ctx context.Context) (*http.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	jar, _ := cookiejar.New(nil) // never an error
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, form string) (*http.Response, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, method, s.base+"/console/sign-in", strings.NewReader(form))
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
	_, page, err := ask(http.MethodGet, "")
	if err != nil {
		return nil, fmt.Errorf("sign in to the console: %w", err)
	}
	token := formToken.FindSubmatch(page)
	if token == nil {
		return nil, errors.New("sign in to the console: its form carries no token")
	}
	resp, _, err := ask(http.MethodPost, url.Values{"csrf": {string(token[1])}, "email": {s.email}, "password": {s.password}}.Encode())
	if err == nil && resp.StatusCode != http.StatusSeeOther {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("sign in to the console: %w", err)
	}
	return client, nil
}

// throttle sets how many parts a second the simulator is given; 0: no limit.
func (o *operator) throttle(ctx context.Context, rate int) error {
	return o.admin(ctx, nil, "vendor", "throughput", benchVendor, strconv.Itoa(rate))
}

// binds sets how many binds the simulator takes, over all processes.
func (o *operator) binds(ctx context.Context, n int) error {
	return o.admin(ctx, nil, "vendor", "set", benchVendor, "--max-binds", strconv.Itoa(n))
}

// bound is how many processes hold binds to the simulator now.
func (o *operator) bound(ctx context.Context) (int, error) {
	out, err := o.said(ctx, "vendor", "status", benchVendor)
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if slices.Contains(strings.Fields(line), "connected") {
			n++
		}
	}
	return n, nil
}
