package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
	"github.com/postrider/postrider/internal/secret"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/workers"
)

const day = 24 * time.Hour

func (c Config) checkRetention() error {
	least, most := int(message.MinRetention/day), int(message.MaxRetention/day)
	if c.RetentionDays < least || c.RetentionDays > most {
		return fmt.Errorf("RETENTION_DAYS is %d; want %d to %d: a message may be under way for 38 days", c.RetentionDays, least, most)
	}
	if least := int(message.MinStrays / day); c.RetentionStrayDays < least || c.RetentionStrayDays > c.RetentionDays {
		return fmt.Errorf("RETENTION_STRAY_DAYS is %d; want %d to %d, which is RETENTION_DAYS", c.RetentionStrayDays, least, c.RetentionDays)
	}
	return nil
}

func (c Config) retention() message.Retention {
	return message.Retention{Messages: time.Duration(c.RetentionDays) * day, Strays: time.Duration(c.RetentionStrayDays) * day}
}

// upkeepOf begins rounds of upkeep for a process.
func upkeepOf(db *postgres.DB, instance string, keep message.Retention) func(context.Context, time.Duration) (workers.Upkeep, error) {
	return func(ctx context.Context, every time.Duration) (workers.Upkeep, error) {
		u, err := db.BeginUpkeep(ctx, instance, keep, every)
		if u == nil {
			return nil, err
		}
		return u, nil
	}
}

// caretaker is this process's part in the upkeep.
func (g *Gateway) caretaker(db *postgres.DB) *workers.Caretaker {
	return &workers.Caretaker{
		Begin: upkeepOf(db, g.instance(), g.Config.retention()),
		Log:   g.Log.With("part", "retention"),
		Cared: func(table string, done message.Cared) {
			g.metrics.UpkeepRows.WithLabelValues(table).Add(float64(done.Rows))
			g.metrics.UpkeepPartitions.WithLabelValues("made").Add(float64(len(done.Made)))
			g.metrics.UpkeepPartitions.WithLabelValues("removed").Add(float64(len(done.Partitions)))
		},
		Whole: func(ctx context.Context) {
			g.sweepMedia(ctx)
			oldest, err := db.OldestRows(ctx)
			if err != nil {
				return // the next round looks again
			}
			g.metrics.UpkeepOldest.Reset()
			for table, at := range oldest {
				g.metrics.UpkeepOldest.WithLabelValues(table).Set(float64(at.Unix()))
			}
		},
	}
}

func retentionCommand() *cobra.Command {
	var run bool
	cmd := &cobra.Command{
		Use: "retention", Short: "Show until when rows are kept, table by table", Args: cobra.NoArgs,
		Long: "Show of every table until when its rows are kept, how many there are (as the server estimates), how large it is with its indexes, and from when\n" +
			"the oldest row is. Processes with the role messages remove what is kept no longer, every ten minutes; RETENTION_DAYS and RETENTION_STRAY_DAYS\n" +
			"of this shell's environment should be theirs.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig()
			if err != nil {
				return err
			}
			keys, err := c.keyring()
			if err != nil {
				return err
			}
			db, err := postgres.Open(cmd.Context(), c.postgres(), keys.Box(secret.Content))
			if err != nil {
				return err
			}
			defer db.Close()
			if run {
				if err := careNow(cmd, db, c); err != nil {
					return err
				}
			}
			return showKept(cmd, db, c)
		},
	}
	cmd.Flags().BoolVar(&run, "run", false, "remove what is due now, as gently as a running process does, and show what is left")
	return cmd
}

// careNow does a round in this process.
func careNow(cmd *cobra.Command, db *postgres.DB, c Config) error {
	log, err := telemetry.NewLogger(cmd.ErrOrStderr(), c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	keeper := workers.Caretaker{Begin: upkeepOf(db, shellActor().Name+"@shell", c.retention()), Log: log}
	did, err := keeper.Round(cmd.Context(), 0)
	if err == nil && !did {
		err = errors.New("another process is removing rows just now; look again in a minute")
	}
	return err
}

func showKept(cmd *cobra.Command, db *postgres.DB, c Config) error {
	list, err := db.KeptTables(cmd.Context(), c.retention())
	if err != nil {
		return err
	}
	w := table(cmd.OutOrStdout(), "TABLE\tROWS\tMIB\tOLDEST\tKEPT")
	for _, k := range list {
		oldest := ""
		if !k.Oldest.IsZero() {
			oldest = k.Oldest.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%s\t%s\n", k.Table, k.Rows, float64(k.Octets)/(1<<20), oldest, k.Rule)
	}
	return w.Flush()
}
