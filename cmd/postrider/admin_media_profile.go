package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
)

func mediaProfileCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "media-profile", Short: "What vendors take of files",
		Long: "What vendors take of files: types, sizes, lengths. A vendor names one with --media-profile. Those that the release brings are there without a row;\n" +
			"a row of the same name takes the place of one, until it is removed. Changes hold on every process within 5 s.",
	}
	cmd.AddCommand(mediaProfileListCommand(), mediaProfileShowCommand(), mediaProfileSetCommand(), mediaProfileRemoveCommand())
	return cmd
}

func mediaProfileListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List profiles, and which cannot be used", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			rows, err := db.MediaProfiles(cmd.Context())
			if err != nil {
				return err
			}
			stored := map[string]mediaprofile.Stored{}
			var names []string
			for _, p := range rows {
				stored[p.Name] = p
				names = append(names, p.Name)
			}
			w := table(cmd.OutOrStdout(), "NAME\tOCTETS\tFILES\tPIXELS\tSECONDS\tVIDEO\tAUDIO\tCHANGED\tSTATE")
			for _, name := range mediaprofile.Names(names) {
				p, there := stored[name]
				changed, state := p.UpdatedAt.UTC().Format(time.DateOnly), "set here"
				if !there {
					p.Profile, _ = mediaprofile.Builtin(name)
					changed, state = "", "of the release"
				}
				if p.Broken != "" {
					state = "LEFT OUT: " + p.Broken
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", name, p.MessageBytes, p.MaxParts, p.MaxSide, p.MaxSeconds, p.Video, p.Audio, changed, state)
			}
			return w.Flush()
		})
	}}
}

func mediaProfileShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show a profile in the form that set reads", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			p, known := mediaprofile.Builtin(args[0])
			rows, err := db.MediaProfiles(cmd.Context())
			if err != nil {
				return err
			}
			var names []string
			for _, row := range rows {
				names = append(names, row.Name)
				if row.Name == args[0] {
					if row.Broken != "" {
						return fmt.Errorf("what is stored cannot be used: %s", row.Broken)
					}
					p, known = row.Profile, true
				}
			}
			if !known {
				return fmt.Errorf("there is no media profile %q; there are %s", args[0], strings.Join(mediaprofile.Names(names), ", "))
			}
			return printJSON(cmd.OutOrStdout(), json.RawMessage(p.Definition()))
		})
	}}
}

func mediaProfileSetCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "set NAME --file FILE", Short: "Add a profile, or replace the one of this name as a whole", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readUpTo(cmd, file)
			if err != nil {
				return fmt.Errorf("--file: %w", err)
			}
			p, err := mediaprofile.Read(args[0], []byte(text))
			if err != nil {
				return fmt.Errorf("--file: %w", err)
			}
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				_, err := db.SetMediaProfile(cmd.Context(), shellActor(), p)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "its members in JSON, as show prints them; - for standard input")
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

func mediaProfileRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Take a profile away; one of the release counts again as it was", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				return db.RemoveMediaProfile(cmd.Context(), shellActor(), args[0])
			})
		},
	}
}
