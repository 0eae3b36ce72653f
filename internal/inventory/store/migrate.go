package store

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Migrate brings the schema up to the newest of the migrations: files "NNNN-what.sql",
// from 0001 without gaps, whose statements end with ";" at the end of a line. Several
// processes may call it at once; one of them does it, all or nothing.
func (db *DB) Migrate(ctx context.Context, migrations fs.FS) error {
	files, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return err
	}
	slices.Sort(files)
	current, err := db.version(ctx)
	if err == nil && current == len(files) {
		return nil // without waiting for a writer
	}
	return db.Write(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"); err != nil {
			return err
		}
		current, err := tx.Int(ctx, "SELECT max(version) FROM schema_version")
		if err != nil {
			return err
		}
		if int(current) > len(files) {
			return fault.Newf(fault.Failed, "open the inventory", "", fmt.Sprintf("its schema %d is newer than this program's %d", current, len(files))).
				WithHint("use a newer plimsoll, or name another database: it can be rebuilt from the registries")
		}
		for n, file := range files[current:] {
			if err := tx.migrate(ctx, migrations, file, int(current)+n+1); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return nil
	})
}

// version gives the schema's version; an error when there is none yet.
func (db *DB) version(ctx context.Context) (int, error) {
	var version int64
	err := db.Read(ctx, func(tx Tx) (err error) {
		version, err = tx.Int(ctx, "SELECT max(version) FROM schema_version")
		return err
	})
	return int(version), err
}

func (tx Tx) migrate(ctx context.Context, migrations fs.FS, file string, version int) error {
	number, _, _ := strings.Cut(path.Base(file), "-")
	if n, err := strconv.Atoi(number); err != nil || n != version {
		return fmt.Errorf("want migration %d next", version)
	}
	text, err := fs.ReadFile(migrations, file)
	if err != nil {
		return err
	}
	for _, statement := range strings.SplitAfter(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "INSERT INTO schema_version (version) VALUES (?)", version)
	return err
}
