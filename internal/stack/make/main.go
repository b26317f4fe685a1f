// Command make does for the Makefile what takes more than a line of shell.
//
//	go run ./internal/stack/make build DIR      builds all programs into DIR
//	go run ./internal/stack/make temporald      builds the embedded Temporal server into the cache
//	go run ./internal/stack/make clean DIR      removes what `postrider dev` keeps in DIR
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/postrider/postrider/internal/stack"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := stack.RepoRoot()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 2 && args[0] == "build":
		return stack.BuildPrograms(ctx, root, args[1], os.Stdout)
	case len(args) == 1 && args[0] == "temporald":
		_, err := stack.BuildTemporald(ctx, root, os.Stdout)
		return err
	case len(args) == 2 && args[0] == "clean":
		// Postgres first: its files may be elsewhere, and while it runs nothing is removed.
		if err := stack.RemovePostgres(filepath.Join(args[1], "postgres")); err != nil {
			return err
		}
		return os.RemoveAll(args[1])
	}
	return errors.New("usage: make build DIR | temporald | clean DIR")
}
