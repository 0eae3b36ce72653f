// Package homefile takes resources of a cluster and gives the files of a home that say the same,
// where all that reads the home finds them. What somebody else put there is left alone.
package homefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// Folder is a folder of the home.
type Folder struct{ Dir string }

var (
	// ErrTaken says that a file or an entry of the name is another's.
	ErrTaken = errors.New("the control plane did not write it")

	// ErrSet says that a resource is sound, but not together with the others of the home.
	ErrSet = errors.New("with the others of the home it cannot be used")
)

// OfSet gives an error of another file of the home, for which a resource cannot be used.
func OfSet(what string, err error) error {
	return fault.New(fault.KindOf(err), what, "", fmt.Errorf("%w: %w", ErrSet, err)).WithHint("mend or remove the one that it names")
}

// objectName matches the names that the API takes (RFC 1123 subdomains): none of them is a path.
var objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// maxName keeps the names of files below the 255 bytes that file systems take.
const maxName = 150

// Path gives that of the resource's file.
func (f Folder) Path(kind, name string) string {
	if len(name) > maxName {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxName] + "-" + hex.EncodeToString(sum[:8])
	}
	return filepath.Join(f.Dir, strings.ToLower(kind)+"-"+name+".yaml")
}

// header is the first line of each file of ours.
func header(kind, name string) string {
	return fmt.Sprintf("# From %s/%s in the cluster. Change it there: this file is written anew.\n", kind, name)
}

// Resource is one that a file of the folder is from.
type Resource struct{ Kind, Name string }

// from matches the first line of a file of ours.
var from = regexp.MustCompile(`^# From ([A-Za-z]+)/([a-z0-9.-]+) in the cluster\.`)

// Resources gives those that have a file in the folder, which need not exist.
func (f Folder) Resources() ([]Resource, error) {
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read folder", f.Dir, err)
	}
	var all []Resource
	for _, entry := range entries {
		path := filepath.Join(f.Dir, entry.Name())
		if filepath.Ext(path) != ".yaml" || !entry.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fault.New(fault.Failed, "read file", path, err)
		}
		if m := from.FindSubmatch(text); m != nil && f.Path(string(m[1]), string(m[2])) == path {
			all = append(all, Resource{string(m[1]), string(m[2])})
		}
	}
	return all, nil
}

// Text gives a resource's file: what it declares, without what the cluster adds.
func Text(kind, name string, spec any) ([]byte, error) {
	if !objectName.MatchString(name) {
		return nil, fault.Newf(fault.Usage, "write "+kind, name, "it has no name that the API takes")
	}
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.APIVersion, "kind": kind, "metadata": map[string]string{"name": name}, "spec": spec,
	})
	if err != nil || !saysSame(text, kind, spec) { // YAML knows fewer characters than JSON
		return nil, fault.Newf(fault.Usage, "write "+kind, name, "it holds characters or numbers that do not come back from a file as they are").
			WithHint("look for control characters, and for numbers beyond 2^53")
	}
	return append([]byte(header(kind, name)), text...), nil
}

// saysSame says whether who reads the text finds the spec in it. YAML folds some line ends of
// Unicode, which a policy must not lose silently.
func saysSame(text []byte, kind string, spec any) bool {
	var read struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              any `json:"spec"`
	}
	if _, err := manifest.Decode(text, kind, &read); err != nil {
		return false
	}
	want, err1 := json.Marshal(spec)
	got, err2 := json.Marshal(read.Spec)
	var a, b any
	return errors.Join(err1, err2, json.Unmarshal(want, &a), json.Unmarshal(got, &b)) == nil && reflect.DeepEqual(a, b)
}

// Put writes the text of a resource's file, if it is not there already. A file of another's is an
// error that is ErrTaken.
func (f Folder) Put(kind, name string, text []byte) (changed bool, err error) {
	path := f.Path(kind, name)
	old, err := f.Get(kind, name)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	case err == nil && bytes.Equal(old, text):
		return false, nil
	}
	if err := aside.WriteDurable(path, text); err != nil {
		return false, fault.New(fault.Failed, "write "+kind, path, err)
	}
	return true, nil
}

// Remove removes a resource's file. None, or another's, is no error.
func (f Folder) Remove(kind, name string) error {
	_, err := f.Get(kind, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrTaken) {
		return nil
	}
	if err == nil {
		err = os.Remove(f.Path(kind, name))
	}
	if err != nil {
		return fault.New(fault.Failed, "remove "+kind, f.Path(kind, name), err)
	}
	return nil
}

// Get gives the text of a resource's file. None is fs.ErrNotExist, another's is ErrTaken.
func (f Folder) Get(kind, name string) ([]byte, error) {
	path := f.Path(kind, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(text, []byte(header(kind, name))) {
		return nil, fault.New(fault.Denied, "write "+kind, path, ErrTaken).
			WithHint("move the file away, or give the resource another name")
	}
	return text, nil
}

// Written gives when a resource's file was last changed.
func (f Folder) Written(kind, name string) (time.Time, error) {
	info, err := os.Stat(f.Path(kind, name))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
