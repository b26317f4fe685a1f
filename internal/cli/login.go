package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postrider/postrider/internal/client"
	"github.com/postrider/postrider/internal/client/api"
)

func (a *app) loginCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use: "login", Short: "Keep an API key for the commands of this user",
		Long: `Asks for an API key and its secret, tries them, and writes them to the user's file, which
nobody else can read (postrider/credentials.json in the directory of user configuration, or
the file that POSTRIDER_CONFIG names). In a script: the key in the first line of standard
input, the secret in the second. POSTRIDER_API_KEY and POSTRIDER_API_SECRET go before the file.`,
	}, func(cmd *cobra.Command, _ []string) error { return a.login(cmd) })
}

func (a *app) login(cmd *cobra.Command) error {
	path, err := settingsFile()
	if err != nil {
		return err
	}
	stored, err := readSettings(path)
	if err != nil {
		return err
	}
	stored.URL = cmp.Or(a.url, os.Getenv("POSTRIDER_API_URL"), stored.URL, defaultURL)
	if stored.Key, stored.Secret, err = askCredentials(cmd, stored.URL); err != nil {
		return err
	}
	c, err := a.connectAs(cmd, client.Config{URL: stored.URL})
	if err != nil {
		return err
	}
	if _, err := c.IssueTokenWithResponse(cmd.Context(), api.SignOn{APIKey: &stored.Key, APISecret: &stored.Secret}); err != nil {
		return fmt.Errorf("nothing is kept: %w", err)
	}
	if err := writeOwn(path, stored); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "API key %s for %s is in %s\n", stored.Key, stored.URL, path)
	return nil
}

// askCredentials reads key and secret, the secret unseen if a person types it.
func askCredentials(cmd *cobra.Command, at string) (key, secret string, err error) {
	in := cmd.InOrStdin()
	terminal, _ := in.(*os.File)
	typed := terminal != nil && term.IsTerminal(int(terminal.Fd()))
	if typed {
		fmt.Fprintf(cmd.ErrOrStderr(), "API key for %s: ", at)
	}
	lines := bufio.NewReader(in)
	key, err = line(lines)
	if err == nil && typed {
		fmt.Fprint(cmd.ErrOrStderr(), "Secret (not shown): ")
		var raw []byte
		raw, err = term.ReadPassword(int(terminal.Fd()))
		secret = strings.TrimSpace(string(raw))
		fmt.Fprintln(cmd.ErrOrStderr())
	} else if err == nil {
		secret, err = line(lines)
	}
	if err != nil {
		return "", "", err
	}
	if key == "" || secret == "" {
		return "", "", usage("login needs an API key in the first line and its secret in the second")
	}
	return key, secret, nil
}

// line reads one, the last also without its end.
func line(from *bufio.Reader) (string, error) {
	s, err := from.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimSpace(s), err
}
