package stacktest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

var greeted = NewTemplate(func(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "create table greeting (word text); insert into greeting values ('hello')")
	return err
})

// Each test sees the template's rows and nobody else's.
func TestTemplate(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("copy", func(t *testing.T) {
			t.Parallel()
			ctx := Context(t)
			conn, err := pgx.Connect(ctx, greeted.Database(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			if _, err := conn.Exec(ctx, "insert into greeting values ('own')"); err != nil {
				t.Fatal(err)
			}
			var words []string
			rows, err := conn.Query(ctx, "select word from greeting order by word")
			if err != nil {
				t.Fatal(err)
			}
			if words, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				t.Fatal(err)
			}
			if len(words) != 2 || words[0] != "hello" || words[1] != "own" {
				t.Errorf("the copy holds %q", words)
			}
		})
	}
}
