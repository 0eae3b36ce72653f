package inventorytest

import (
	"database/sql"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

var writeSchema = flag.Bool("write-schema", false, "write the dump of the newest schema to testdata, when it is released")

// Released opens the dump of each schema that was released, testdata/schema-N.sql, with the
// program as it is, and asks what was asked of it then. The newest schema has a dump, too.
func Released(t *testing.T, empty func(testing.TB) string) {
	migrations, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(migrations) == 0 {
		t.Fatal("no migrations", err)
	}
	for version := 1; version <= len(migrations); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			dump := filepath.Join("testdata", fmt.Sprintf("schema-%d.sql", version))
			if _, err := os.Stat(dump); err != nil && version == len(migrations) && *writeSchema {
				write(t, dump, migrations, empty(t))
			}
			text, err := os.ReadFile(dump)
			if err != nil {
				t.Fatalf("%v: write it with -args -write-schema, and never change it afterwards", err)
			}
			address := empty(t)
			if !strings.HasPrefix(address, "sqlite:") {
				Exec(t, address, "CREATE SCHEMA plimsoll")
			}
			for _, statement := range strings.SplitAfter(string(text), ";\n") {
				if strings.TrimSpace(statement) != "" {
					Exec(t, address, statement)
				}
			}
			inv := open(t, address, newClock())
			for _, q := range questions {
				if diff := cmp.Diff(q.want, named(t, inv, q.ask)); diff != "" {
					t.Errorf("%s: %s", q.ask, diff)
				}
			}
			if version < 2 { // there were none
				account(t, inv)
			}
			first := inventory.Manifest{Repository: shop, Digest: sum("shop-1")}
			testJoined(t, one(t, inv, first))
			if v, known, err := inv.Verdict(t.Context(), first); !known || err != nil || v.At(artifact.GateRegistry) != artifact.ActionDeny {
				t.Errorf("the verdict is %v, %t, %v", v, known, err)
			}
			put(t, inv, Fleet()...)
			if changed := rematch(t, inv, inventory.Which{}, Advisories()); changed.New+changed.Gone > 0 {
				t.Errorf("what was known is new: %+v", changed)
			}
		})
	}
}

// account gives the fleet facts and a verdict.
func account(t *testing.T, inv *inventory.Inventory) {
	t.Helper()
	putFacts(t, inv, factsOf(shop, "shop-1"))
	setVerdicts(t, inv, verdictOf(shop, "shop-1", artifact.ActionDeny))
}

// write dumps a fleet in the newest schema.
func write(t *testing.T, dump string, migrations []string, address string) {
	t.Helper()
	account(t, fleet(t, address, newClock()))
	var b strings.Builder
	for _, migration := range migrations {
		text, err := os.ReadFile(migration)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	b.WriteString("CREATE TABLE schema_version (version BIGINT NOT NULL);\n")
	blob := "X'%s'"
	if !strings.HasPrefix(address, "sqlite:") {
		blob = `'\x%s'`
	}
	db := database(t, address)
	defer db.Close()
	for _, line := range slices.Sorted(strings.Lines(b.String())) {
		name, found := strings.CutPrefix(line, "CREATE TABLE ")
		if name, _, _ = strings.Cut(name, " "); found {
			dumpTable(t, db, &b, name, blob)
		}
	}
	if err := os.MkdirAll(filepath.Dir(dump), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dump, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func dumpTable(t *testing.T, db *sql.DB, b *strings.Builder, name, blob string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		literals := make([]string, len(values))
		for i, value := range values {
			switch value := value.(type) {
			case []byte:
				literals[i] = fmt.Sprintf(blob, hex.EncodeToString(value))
			case string:
				literals[i] = "'" + strings.ReplaceAll(value, "'", "''") + "'"
			default:
				literals[i] = fmt.Sprint(value)
			}
		}
		fmt.Fprintf(b, "INSERT INTO %s (%s) VALUES (%s);\n", name, strings.Join(columns, ", "), strings.Join(literals, ", "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
