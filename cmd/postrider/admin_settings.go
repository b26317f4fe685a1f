package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/vendorconf"
)

// settingFlags are the settings of a document of vendorconf as flags, in its order. What
// was given is laid over the document that there is.
type settingFlags struct {
	given []givenSetting
	names map[string]string // flags by settings
}

type givenSetting struct{ name, word string }

// settingWords are the flags whose names are shorter than those of their settings.
var settingWords = map[string]string{"username": "system-id", "use_tls": "tls", "supports_alphanumeric": "alphanumeric", "supports_unicode": "unicode", "supports_mms": "mms",
	"is_active": "active", "dest_pattern": "dest", "source_pattern": "source", "vendor_id": "vendor", "account_id": "account", "rate_per_msg": "rate"}

// settingFlag is one of them.
type settingFlag struct {
	of      *settingFlags
	setting vendorconf.Setting
	kind    string
}

func (f settingFlag) String() string   { return "" }
func (f settingFlag) Type() string     { return f.kind }
func (f settingFlag) IsBoolFlag() bool { return f.kind == "bool" }

func (f settingFlag) Set(word string) error {
	if f.setting.Lines() && word != "" {
		text, err := os.ReadFile(word)
		if err != nil {
			return err
		}
		word = string(text)
	}
	f.of.given = append(f.of.given, givenSetting{f.setting.Name, word})
	return f.setting.Set(word)
}

// add makes a flag of every setting of the document, which is one to try words on.
func (s *settingFlags) add(cmd *cobra.Command, doc any) {
	s.names = map[string]string{}
	for _, setting := range vendorconf.Settings(doc) {
		flag := settingWords[setting.Name]
		if flag == "" {
			flag = strings.ReplaceAll(setting.Name, "_", "-")
		}
		s.names[setting.Name] = flag
		kind := strings.TrimPrefix(setting.Value.Type().String(), "*")
		usage := setting.Doc
		switch {
		case setting.Lines():
			kind, usage = "file", "a file: "+usage
		case setting.Choices() != nil:
			usage += " (" + strings.Join(setting.Choices(), ", ") + ")"
		case kind == "[]string":
			kind = "list"
		case kind == "map[string]string":
			kind = "pairs"
		}
		names := []string{flag}
		if whole := strings.ReplaceAll(setting.Name, "_", "-"); whole != flag { // as the API calls it
			names = append(names, whole)
		}
		for i, name := range names {
			f := cmd.Flags().VarPF(settingFlag{s, setting, kind}, name, "", usage)
			if kind == "bool" {
				f.NoOptDefVal = "true"
			}
			f.Hidden = i > 0
		}
	}
}

// lay puts what was given into a document.
func (s *settingFlags) lay(doc any) error {
	byName := map[string]vendorconf.Setting{}
	for _, setting := range vendorconf.Settings(doc) {
		byName[setting.Name] = setting
	}
	for _, g := range s.given {
		if err := byName[g.name].Set(g.word); err != nil {
			return fmt.Errorf("--%s: %w", s.names[g.name], err)
		}
	}
	return nil
}

// fault names the flags that are wrong, nil when none is.
func (s *settingFlags) fault(f vendorconf.Faults) error {
	var errs []error
	for _, one := range f {
		name := s.names[one.Location]
		if name == "" {
			name = strings.ReplaceAll(one.Location, "_", "-")
		}
		errs = append(errs, fmt.Errorf("--%s: %s", name, one.Message))
	}
	return errors.Join(errs...)
}

// said turns the database's words for settings into those of flags.
func (s *settingFlags) said(err error) error {
	if e := message.AsError(err); e != nil && len(e.Fields) > 0 {
		return s.fault(e.Fields)
	}
	return err
}

// secretsFile is a file with secrets: flags are seen by whoever lists the processes, and
// stay in the shell's history.
type secretsFile struct{ path string }

// flag adds the flag, whose usage says what may be in the file.
func (f *secretsFile) flag(cmd *cobra.Command, holds string) {
	cmd.Flags().StringVar(&f.path, "secrets", "", "a JSON file, - for standard input, with any of "+holds)
}

// read reads the JSON object into given, of at most so many octets; without a file given
// stays as it is. The error names what may be in it.
func (f *secretsFile) read(cmd *cobra.Command, given any, most int64, names string) error {
	if f.path == "" {
		return nil
	}
	in, err := openInput(cmd, f.path)
	if err != nil {
		return fmt.Errorf("--secrets: %w", err)
	}
	defer func() { _ = in.Close() }()
	d := json.NewDecoder(io.LimitReader(in, most))
	d.DisallowUnknownFields()
	if d.Decode(given) != nil { // what the decoder says may hold some of them
		return errors.New("--secrets: want a JSON object with any of " + names)
	}
	return nil
}
