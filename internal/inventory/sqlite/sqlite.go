// Package sqlite takes a path and gives the inventory's database in that file, which
// several processes may use at once.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many connections read at once; each has a cache of its own.
const readers = 4

// Open opens the database, makes it where there is none, and brings its schema up to date.
func Open(ctx context.Context, path string) (*store.DB, error) {
	if path == "" {
		return nil, fault.Newf(fault.Usage, "open the inventory", "sqlite:", "there is no path").WithHint("write sqlite:PATH")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fault.New(fault.Failed, "open the inventory", path, err).WithHint("name a path in a folder that can be written")
	}
	reading := append([]string{"query_only(1)"}, pragmas...)
	writer, err := Pool(path)
	if err != nil {
		return nil, err
	}
	reader, err := sql.Open("sqlite", source(path, url.Values{"_pragma": reading}))
	if err != nil {
		return nil, fault.New(fault.Failed, "open the inventory", path, errors.Join(err, writer.Close()))
	}
	reader.SetMaxOpenConns(readers)
	reader.SetMaxIdleConns(readers)
	db := store.New(dialect{path}, reader, writer)
	versions, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = db.Migrate(ctx, versions)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Waits are long: a batch of another process is over in seconds. NORMAL loses the last
// transactions of a power cut, but never the file; what is lost is in the registries.
var pragmas = []string{"busy_timeout(60000)", "journal_mode(WAL)", "synchronous(NORMAL)", "cache_size(-32000)", "mmap_size(1073741824)"}

// Pool opens a pool of one connection, whose transactions write from their begin: in one
// process there may be several such pools of one file, which wait for each other.
func Pool(path string) (*sql.DB, error) {
	pool, err := sql.Open("sqlite", source(path, url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}))
	if err != nil {
		return nil, fault.New(fault.Failed, "open the inventory", path, err)
	}
	pool.SetMaxOpenConns(1)
	return pool, nil
}

// source gives the file's address with the driver's settings.
func source(path string, settings url.Values) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: settings.Encode()}).String()
}

type dialect struct{ path string }

func (dialect) Placeholders(statement string) string { return statement }

func (dialect) Ints(expr string, values []int64) (string, any) {
	return expr + " IN (SELECT value FROM json_each(?))", array(values)
}

func (dialect) Texts(expr string, values []string) (string, any) {
	return expr + " IN (SELECT value FROM json_each(?))", array(values)
}

func (dialect) Blobs(expr string, values [][]byte) (string, any) {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = hex.EncodeToString(value)
	}
	return expr + " IN (SELECT unhex(value) FROM json_each(?))", array(texts)
}

// array gives a JSON array: SQLite has no parameter that is a list.
func array[T any](values []T) string {
	if values == nil {
		return "[]"
	}
	text, _ := json.Marshal(values) // numbers and strings do not fail
	return string(text)
}

func (dialect) Glob(expr, pattern string) (string, any) {
	return expr + " GLOB ?", strings.ReplaceAll(pattern, "[", "[[]")
}

func (dialect) Member(expr string, members []byte) (string, any) {
	return "substr(?, " + expr + " + 1, 1) = x'01'", members
}

func (dialect) Joined(expr string) string { return "group_concat(" + expr + ")" }

func (dialect) Hex(expr string) string { return "hex(" + expr + ")" }

// Lock has nothing to do: a transaction of the writing pool is the only one from its begin.
func (dialect) Lock(context.Context, *sql.Tx) error { return nil }

func (dialect) Bytes(ctx context.Context, tx store.Tx) (int64, error) {
	return tx.Int(ctx, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
}

func (d dialect) Explain(err error) *fault.Error {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return nil
	}
	e := fault.New(fault.Failed, "", d.path, err)
	switch failed.Code() & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		e.Kind, e.Hint = fault.Unavailable, "another process has been writing for a minute; try again"
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		e.Hint = "remove the file: it can be rebuilt from the registries"
	case lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY, lib.SQLITE_PERM:
		e.Hint = "the file and its folder must be readable and writable"
	case lib.SQLITE_FULL:
		e.Hint = "make room on the disk"
	}
	return e
}
