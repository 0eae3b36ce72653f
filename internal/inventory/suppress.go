package inventory

import (
	"context"
	"strings"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Suppression says where a finding does not count (OpenVEX v0.2.0). From is set by
// Suppress.
type Suppression struct {
	Advisory string // by any of its names
	Image    string // digest; "" is every image
	Package  string // package URL, of the package or its source package; without a version every version; "" is every package
	artifact.Suppression
}

// Suppress sets what the file or attestation named from says to exactly these statements;
// none withdraws all it said. What was withdrawn still counts for questions about the past.
func (inv *Inventory) Suppress(ctx context.Context, from string, statements []Suppression) error {
	rows := map[key][]any{}
	for _, s := range statements {
		image, err := digestBytes(s.Image)
		if err != nil {
			return fault.New(fault.Usage, "suppress a finding", s.Advisory, err)
		}
		purl, err := plainPURL(s.Package)
		if err != nil {
			return fault.New(fault.Usage, "suppress a finding", s.Advisory, err)
		}
		r := newRow(clean(s.Advisory), image, purl, clean(s.Status), clean(s.Justification), clean(s.Statement), clean(s.Author), clean(from))
		rows[r.key] = r.values
	}
	return inv.db.Write(ctx, func(tx store.Tx) error {
		now := seconds(inv.now())
		var over []int64
		err := tx.Each(ctx, func(scan func(...any) error) error {
			var id int64
			var sum []byte
			err := scan(&id, &sum)
			if k := key(sum); rows[k] != nil {
				delete(rows, k)
				return err
			}
			over = append(over, id)
			return err
		}, "SELECT id, key FROM suppressions WHERE told_by = ? AND ended = ?", clean(from), int64(forever))
		if err != nil {
			return err
		}
		condition, arg := tx.Ints("id", over)
		if len(over)+len(rows) == 0 {
			return nil
		}
		news, err := tx.Take(ctx, newsCounter, 1)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE suppressions SET ended = ?, news = ? WHERE "+condition, now, news, arg); err != nil {
			return err
		}
		next, err := tx.Take(ctx, "suppressions", len(rows))
		if err != nil {
			return err
		}
		var fresh [][]any
		for k, values := range rows {
			fresh = append(fresh, append(append([]any{next, k[:]}, values...), now, int64(forever), news))
			next++
		}
		return tx.Insert(ctx, store.Table{
			Name:    "suppressions",
			Columns: "id, key, advisory, image, package, status, justification, statement, author, told_by, began, ended, news",
		}, fresh)
	})
}

// plainPURL gives a package URL without qualifiers and subpath, in canonical form.
func plainPURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	purl, err := packageurl.FromString(text)
	purl.Qualifiers, purl.Subpath = nil, ""
	return clean(purl.ToString()), err
}

// silence is a suppression that is in force, of an advisory that the index knows.
type silence struct {
	advisory int64
	image    string // digest bytes
	pkg      string // plain package URL
	said     artifact.Suppression
}

// silences gives those in force at the moment.
func silences(ctx context.Context, tx store.Tx, at int64) ([]silence, error) {
	var all []silence
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var s silence
		var image []byte
		err := scan(&s.advisory, &image, &s.pkg, &s.said.Status, &s.said.Justification, &s.said.Statement, &s.said.Author, &s.said.From)
		s.image = string(image)
		all = append(all, s)
		return err
	}, `SELECT n.advisory, s.image, s.package, s.status, s.justification, s.statement, s.author, s.told_by
		FROM suppressions s JOIN advisory_names n ON n.name = s.advisory WHERE s.began <= ? AND s.ended > ? ORDER BY s.id`, at, at)
	return all, err
}

// covers tells whether the suppression is about the package.
func (s silence) covers(p artifact.Package) bool {
	if s.pkg == "" {
		return true
	}
	source := artifact.Package{Type: p.Type, Namespace: p.Namespace, Name: p.Source, Version: p.SourceVersion}
	if source.Version == "" {
		source.Version = p.Version
	}
	for _, named := range []artifact.Package{p, source} {
		if named.Name == "" {
			continue
		}
		purl, _, _ := strings.Cut(named.PURL(), "?")
		named.Version, named.Distro = "", ""
		if s.pkg == purl || s.pkg == named.PURL() {
			return true
		}
	}
	return false
}
