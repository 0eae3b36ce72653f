// Package store takes SQL that both databases understand and runs it in one of them: many
// readers, each with one unchanging view, and one writer at a time.
package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Dialect is what the databases do not say alike. A method that gives SQL and an argument
// gives a condition with one "?" in it.
type Dialect interface {
	// Placeholders gives the statement with its "?" as the driver wants them.
	Placeholders(statement string) string

	// Ints, Texts and Blobs are true where the expression is one of the values.
	Ints(expr string, values []int64) (string, any)
	Texts(expr string, values []string) (string, any)
	Blobs(expr string, values [][]byte) (string, any)

	// Glob is true where the text matches the pattern: "*" any text, "?" one character,
	// no other character special.
	Glob(expr, pattern string) (string, any)

	// Member is true where the byte at that offset, from 0, is 1.
	Member(expr string, members []byte) (string, any)

	// Joined gives the expression of all rows as one text, with commas between: to step
	// through many rows costs more than to find them.
	Joined(expr string) string

	// Hex gives the hexadecimal digits, in any case, of bytes.
	Hex(expr string) string

	// Lock makes the transaction the only one that writes, until its end.
	Lock(ctx context.Context, tx *sql.Tx) error

	// Bytes gives how much the database takes on its disk.
	Bytes(ctx context.Context, tx Tx) (int64, error)

	// Explain gives a *fault.Error for an error of the driver, or nil when it has none.
	Explain(err error) *fault.Error
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	Dialect
	readers, writers *sql.DB
}

// New gives a DB over open pools, which it closes at its own end; they may be the same.
func New(dialect Dialect, readers, writers *sql.DB) *DB {
	return &DB{Dialect: dialect, readers: readers, writers: writers}
}

// Close ends all connections.
func (db *DB) Close() error {
	err := db.readers.Close()
	if db.writers != db.readers {
		err = errors.Join(err, db.writers.Close())
	}
	return err
}

// Read calls do with a view of the database that does not change.
func (db *DB) Read(ctx context.Context, do func(Tx) error) error {
	tx, err := db.readers.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return db.failure("read the inventory", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return db.failure("read the inventory", do(Tx{db, tx}))
}

// Write calls do while nobody else writes, and keeps what it wrote if it gives no error.
func (db *DB) Write(ctx context.Context, do func(Tx) error) error {
	tx, err := db.writers.BeginTx(ctx, nil)
	if err != nil {
		return db.failure("write the inventory", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err = db.Lock(ctx, tx); err == nil {
		if err = do(Tx{db, tx}); err == nil {
			err = tx.Commit()
		}
	}
	return db.failure("write the inventory", err)
}

// failure gives the error that reaches the user.
func (db *DB) failure(what string, err error) error {
	var known *fault.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Canceled, what, "", err)
	}
	if explained := db.Explain(err); explained != nil {
		explained.What = what
		return explained
	}
	return fault.New(fault.Failed, what, "", err)
}

// Tx is one transaction.
type Tx struct {
	*DB
	tx *sql.Tx
}

// Exec runs a statement and gives how many rows it changed.
func (tx Tx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := tx.tx.ExecContext(ctx, tx.Placeholders(statement), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Each calls do for every row of a question. do scans the row.
func (tx Tx) Each(ctx context.Context, do func(scan func(...any) error) error, statement string, args ...any) error {
	rows, err := tx.tx.QueryContext(ctx, tx.Placeholders(statement), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Int gives the one number that a question asks for; 0 when there is no row.
func (tx Tx) Int(ctx context.Context, statement string, args ...any) (int64, error) {
	var n sql.NullInt64
	err := tx.tx.QueryRowContext(ctx, tx.Placeholders(statement), args...).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n.Int64, err
}

// IDs gives the numbers in the one column of a question, in no order.
func (tx Tx) IDs(ctx context.Context, statement string, args ...any) ([]int64, error) {
	var ids []int64
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var text sql.RawBytes // nil when there is none
		if err := scan(&text); err != nil {
			return err
		}
		ids = make([]int64, 0, bytes.Count(text, []byte(","))+1)
		for number := range bytes.SplitSeq(text, []byte(",")) {
			if len(number) == 0 {
				continue
			}
			id, err := strconv.ParseInt(string(number), 10, 64)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	}, "WITH list (id) AS ("+statement+") SELECT "+tx.Joined("id")+" FROM list", args...)
	return ids, err
}

// Table names where rows go. Both parts are the program's own words, never input.
type Table struct{ Name, Columns string }

// Insert adds rows, many in a statement. The chunks are powers of two, so that there are
// few different statements for a driver to keep.
func (tx Tx) Insert(ctx context.Context, into Table, rows [][]any) error {
	for chunk := 256; chunk > 0; chunk /= 2 {
		for ; len(rows) >= chunk; rows = rows[chunk:] {
			width := len(rows[0])
			row := "(" + strings.Repeat(",?", width)[1:] + ")"
			statement := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", into.Name, into.Columns, strings.Repeat(","+row, chunk)[1:])
			args := make([]any, 0, chunk*width)
			for _, r := range rows[:chunk] {
				args = append(args, r...)
			}
			if _, err := tx.Exec(ctx, statement, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Take reserves n numbers of the sequence and gives the first. A number is never given
// twice, so what is known by one may be remembered.
func (tx Tx) Take(ctx context.Context, sequence string, n int) (int64, error) {
	next, err := tx.Int(ctx, "SELECT next FROM counters WHERE name = ?", sequence)
	if err != nil {
		return 0, err
	}
	if next == 0 {
		_, err = tx.Exec(ctx, "INSERT INTO counters (name, next) VALUES (?, ?)", sequence, 1+n)
		return 1, err
	}
	_, err = tx.Exec(ctx, "UPDATE counters SET next = ? WHERE name = ?", next+int64(n), sequence)
	return next, err
}
