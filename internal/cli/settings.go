package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
)

// defaultURL is where `make run` has the API.
const defaultURL = "http://localhost:8080"

// settings are what the program needs to speak for a customer. They come from the
// environment, or from the user's file, which postrider login writes.
type settings struct {
	URL           string `json:"api_url"`
	Key           string `json:"api_key"`
	Secret        string `json:"api_secret"`
	StaffToken    string `json:"-"` // it lives for minutes: from the environment alone
	WebhookSecret string `json:"webhook_secret,omitempty"`
}

// settings reads them. Key and secret of the file go to the URL of the file alone: another
// one in the environment, or as a flag, needs credentials from there too.
func (a *app) settings() (settings, error) {
	path, err := settingsFile()
	if err != nil {
		return settings{}, err
	}
	stored, err := readSettings(path)
	if err != nil {
		return settings{}, err
	}
	s := settings{
		URL:           cmp.Or(a.url, os.Getenv("POSTRIDER_API_URL"), stored.URL, defaultURL),
		Key:           os.Getenv("POSTRIDER_API_KEY"),
		Secret:        os.Getenv("POSTRIDER_API_SECRET"),
		StaffToken:    os.Getenv("POSTRIDER_STAFF_TOKEN"),
		WebhookSecret: cmp.Or(os.Getenv("POSTRIDER_WEBHOOK_SECRET"), stored.WebhookSecret),
	}
	switch {
	case (s.Key == "") != (s.Secret == ""):
		return s, usage("POSTRIDER_API_KEY and POSTRIDER_API_SECRET belong together; one of them is not set")
	case s.Key == "" && stored.Key != "" && s.URL != stored.URL && s.StaffToken == "":
		return s, usage("the API key in %s is for %s and is not sent to %s: set POSTRIDER_API_KEY and POSTRIDER_API_SECRET, or run postrider login --api-url %s", path, stored.URL, s.URL, s.URL)
	case s.Key == "" && s.URL == stored.URL:
		s.Key, s.Secret = stored.Key, stored.Secret
	}
	return s, nil
}

// settingsFile is the user's file: POSTRIDER_CONFIG, or postrider/credentials.json where
// the system keeps such files.
func settingsFile() (string, error) {
	if path := os.Getenv("POSTRIDER_CONFIG"); path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no place for the file of credentials: %w; name one as POSTRIDER_CONFIG", err)
	}
	return filepath.Join(dir, "postrider", "credentials.json"), nil
}

func readSettings(path string) (s settings, err error) {
	raw, err := readOwn(path)
	if err != nil || raw == nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, usage("%s is not as postrider login writes it; run it again, or remove the file", path)
	}
	return s, nil
}

// readOwn reads a file that others must not read; nil if there is none.
func readOwn(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, usage("%s can be read by others: chmod 600 it, and change the secrets in it if that was so for long", path)
	}
	return os.ReadFile(path)
}

// writeOwn writes such a file, whole or not at all.
func writeOwn(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".postrider-") // it has mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone when it was renamed
	_, err = file.Write(append(raw, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// inClear reports whether credentials would leave this machine unencrypted.
func inClear(given string) bool {
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}
