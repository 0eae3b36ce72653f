// Package postgres takes a URL and gives the inventory's database in a PostgreSQL server,
// version 14 or newer, in a schema of its own.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// connections bounds what one process takes of the server's, which are few by default.
const connections = 8

// lock is the key of the advisory lock that a writer holds.
const lock = 0x506c696d736f6c6c // "Plimsoll"

// Open connects to the database and brings its schema up to date. No error holds the
// password.
func Open(ctx context.Context, address string) (*store.DB, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, misread()
	}
	// Each question is planned for its own lists, and none is worth compiling or sharing
	// out: that takes longer than they do.
	config.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	config.RuntimeParams["jit"] = "off"
	config.RuntimeParams["max_parallel_workers_per_gather"] = "0"
	name(config.RuntimeParams)
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	db := store.New(dialect{config.Host + "/" + config.Database}, pool, pool)
	versions, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = makeSchema(ctx, db, config.RuntimeParams["search_path"])
	}
	if err == nil {
		err = db.Migrate(ctx, versions)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// misread says that the address is wrong. Its cause quotes the address, password and all.
func misread() error {
	return fault.Newf(fault.Usage, "open the inventory", "postgres", "the address is not understood").
		WithHint("write postgres://USER@HOST/DATABASE; a password can come from PGPASSWORD or a passfile")
}

// name says who we are, and in which schema our tables are.
func name(parameters map[string]string) {
	parameters["application_name"] = "plimsoll"
	if parameters["search_path"] == "" {
		parameters["search_path"] = "plimsoll"
	}
}

// Pool opens a pool of few connections for whoever needs tables beside the inventory's, in
// the same schema. The inventory must have been opened before.
func Pool(ctx context.Context, address string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, misread()
	}
	name(config.ConnConfig.RuntimeParams)
	config.MaxConns = connections
	return pgxpool.NewWithConfig(ctx, config)
}

// makeSchema makes the schema named, where it is missing.
func makeSchema(ctx context.Context, db *store.DB, name string) error {
	if strings.Contains(name, ",") {
		return nil // a search path of the user's own making
	}
	var there int64
	err := db.Read(ctx, func(tx store.Tx) (err error) {
		there, err = tx.Int(ctx, "SELECT count(*) FROM pg_namespace WHERE nspname = ?", name)
		return err
	})
	if err != nil || there > 0 {
		return err
	}
	return db.Write(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{name}.Sanitize())
		return err
	})
}

type dialect struct{ where string }

// Placeholders numbers them. The program's statements hold no other "?".
func (dialect) Placeholders(statement string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		statement = after
	}
}

func (dialect) Ints(expr string, values []int64) (string, any) {
	return expr + " = ANY(?::bigint[])", values
}

func (dialect) Texts(expr string, values []string) (string, any) {
	return expr + " = ANY(?::text[])", values
}

func (dialect) Blobs(expr string, values [][]byte) (string, any) {
	return expr + " = ANY(?::bytea[])", values
}

func (dialect) Glob(expr, pattern string) (string, any) {
	return expr + ` LIKE ?::text ESCAPE '\'`, strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`).Replace(pattern)
}

func (dialect) Member(expr string, members []byte) (string, any) {
	// The planner takes "<>" to be true of most rows, as it is: few are asked for by Ints.
	return "get_byte(?::bytea, (" + expr + ")::int) <> 0", members
}

func (dialect) Joined(expr string) string { return "string_agg((" + expr + ")::text, ',')" }

func (dialect) Hex(expr string) string { return "encode(" + expr + ", 'hex')" }

func (dialect) Lock(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lock))
	return err
}

func (dialect) Bytes(ctx context.Context, tx store.Tx) (int64, error) {
	return tx.Int(ctx, "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'")
}

func (d dialect) Explain(err error) *fault.Error {
	var refused *pgconn.ConnectError
	var failed *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		return fault.New(fault.Unavailable, "", d.where, err).WithHint("is the server running, and does it let this user in?")
	case errors.As(err, &failed) && failed.Code == "42501":
		return fault.New(fault.Denied, "", d.where, err).WithHint("the user needs the right to create a schema, or one of its own")
	case errors.As(err, &failed):
		return fault.New(fault.Failed, "", d.where, err)
	case pgconn.Timeout(err), pgconn.SafeToRetry(err):
		return fault.New(fault.Unavailable, "", d.where, err).WithHint("try again")
	}
	return nil
}
