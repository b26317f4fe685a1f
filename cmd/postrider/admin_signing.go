package main

import (
	"crypto/rand"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/edges/rest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/snapshot"
)

func signingKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "signing-key", Short: "Keys that sign access tokens"}
	cmd.AddCommand(signingKeyList(), signingKeyRotate())
	return cmd
}

func signingKeyList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the keys", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
			s, err := db.LoadSnapshot(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KID\tALGORITHM\tSIGNS FROM\tRETIRED AT\tSTATE")
			for _, k := range s.SigningKeys {
				retired := "-"
				if !k.RetiredAt.IsZero() {
					retired = k.RetiredAt.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.KID, k.Algorithm, k.SignsFrom.UTC().Format(time.RFC3339), retired, rest.KeyState(s, k.KID, db.Now()))
			}
			return w.Flush()
		})
	}}
}

func signingKeyRotate() *cobra.Command {
	var algorithm string
	var atOnce bool
	cmd := &cobra.Command{
		Use: "rotate", Short: "Make a new key, which takes over when everybody knows it", Args: cobra.NoArgs,
		Long: "Make a new key. It is published at /.well-known/jwks.json now and signs one token life (15 minutes) later; the old keys stay published until the\n" +
			"last token that they have signed has ended. With --compromised the new key signs at once and the old ones are of no use any more: everybody\n" +
			"has to ask for a new token.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDB(cmd.Context(), func(db *postgres.DB, _ *secret.Keyring) error {
				k, err := newSigningKey(algorithm)
				if err != nil {
					return err
				}
				from, err := db.RotateSigningKey(cmd.Context(), shellActor(), k, rest.TokenLife, atOnce)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"kid": k.KID, "algorithm": k.Algorithm, "signs_from": from.UTC().Format(time.RFC3339)})
			})
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", "EdDSA", "EdDSA, or HS256, whose keys are not published")
	cmd.Flags().BoolVar(&atOnce, "compromised", false, "end the old keys and their tokens at once")
	return cmd
}

// signingSecret is the size of a key of either algorithm: an Ed25519 seed, and as much for
// HS256 as its hash has.
const signingSecret = 32

func newSigningKey(algorithm string) (snapshot.SigningKey, error) {
	if algorithm != "EdDSA" && algorithm != "HS256" {
		return snapshot.SigningKey{}, fmt.Errorf("--algorithm: %q is neither EdDSA nor HS256", algorithm)
	}
	k := snapshot.SigningKey{KID: message.Hex32(message.NewID()), Algorithm: algorithm, Secret: make([]byte, signingSecret)}
	_, err := rand.Read(k.Secret)
	return k, err
}
