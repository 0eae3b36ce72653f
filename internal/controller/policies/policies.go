// Package policies takes the ImagePolicies and PolicyExceptions of a cluster and gives the folder
// of policies of a home. What is wrong never gets there, so that the last that was right stays in
// force, and the folder as a whole always compiles.
package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
)

// Folder is the folder of policies of a home. It is safe for concurrent use.
type Folder struct {
	home homefile.Folder

	mu    sync.Mutex
	sound string // digest of the texts that last compiled together
}

// New gives the folder at a path, which need not exist.
func New(dir string) *Folder { return &Folder{home: homefile.Folder{Dir: dir}} }

// Put has the folder say what the resource says. An error leaves it as it was: one that is
// homefile.ErrSet speaks of another document than this.
func (f *Folder) Put(kind, name string, spec any) (changed bool, err error) {
	text, err := homefile.Text(kind, name, spec)
	if err != nil {
		return false, err
	}
	alone, err := policy.Read("", text)
	if err == nil {
		_, err = alone.Compile(policy.Options{})
	}
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.together(f.home.Path(kind, name), text); err != nil {
		return false, err
	}
	return f.home.Put(kind, name, text)
}

// Remove takes the resource's file away. Those that stay compile as they did: none names another.
func (f *Folder) Remove(kind, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.home.Remove(kind, name)
}

// together compiles the folder as it would be with the text at the path.
func (f *Folder) together(path string, text []byte) error {
	texts, err := f.read()
	if err != nil {
		return err
	}
	texts[path] = text
	digest := digestOf(texts)
	if digest == f.sound {
		return nil
	}
	all := &policy.Documents{}
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		d, err := policy.Read(filepath.Base(file), texts[file])
		if err != nil {
			return homefile.OfSet("put policies together", err)
		}
		all.Add(d)
	}
	if _, err := all.Compile(policy.Options{}); err != nil {
		return homefile.OfSet("put policies together", err)
	}
	f.sound = digest
	return nil
}

// read gives the texts of the folder by their path.
func (f *Folder) read() (map[string][]byte, error) {
	texts := map[string][]byte{}
	entries, err := os.ReadDir(f.home.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "read policies", f.home.Dir, err)
	}
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		path := filepath.Join(f.home.Dir, entry.Name())
		if texts[path], err = os.ReadFile(path); err != nil {
			return nil, fault.New(fault.Failed, "read policies", path, err)
		}
	}
	return texts, nil
}

func digestOf(texts map[string][]byte) string {
	sum := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		fmt.Fprintf(sum, "%s %d\n%s", path, len(texts[path]), texts[path])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Kept gives what the folder says of a resource: the version that was last put. Nil is nothing.
func (f *Folder) Kept(kind, name string) *policy.Documents {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := f.home.Get(kind, name)
	if err != nil {
		return nil
	}
	d, err := policy.Read("", text)
	if err != nil {
		return nil
	}
	return d
}

// Message says why Put failed, and whether an earlier version goes on to decide.
func (f *Folder) Message(kind, name string, err error) string {
	if f.Kept(kind, name) != nil {
		return "the version before this one stays in force: " + status.Message(err)
	}
	return status.Message(err)
}

// Next gives when to look again after Put. What is wrong with the others may be a file, which
// sends no event.
func Next(err error, interval time.Duration) (ctrl.Result, error) {
	if errors.Is(err, homefile.ErrSet) || errors.Is(err, homefile.ErrTaken) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	return status.Next(err, interval)
}

const again = time.Minute
