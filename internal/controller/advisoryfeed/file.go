package advisoryfeed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

// file is the home's feeds.yaml. Which of its entries are the cluster's stands beside it: the
// others are somebody else's, and are left as they are.
type file struct {
	path string

	mu sync.Mutex
}

// ownedPath is where the names of our entries stand.
func (f *file) ownedPath() string { return f.path + ".cluster" }

// put has the file list the feed.
func (f *file) put(want feed.Feed) error {
	if err := want.Check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all, owned, err := f.read()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(other feed.Feed) bool { return other.Name == want.Name })
	isOurs := slices.Contains(owned, want.Name)
	switch {
	case at >= 0 && isOurs && reflect.DeepEqual(all[at], want):
		return nil
	case at >= 0 && !isOurs && !reflect.DeepEqual(all[at], want):
		return fault.New(fault.Denied, "write feed", want.Name, fmt.Errorf("the home has another feed of that name: %w", homefile.ErrTaken)).
			WithHint("remove it with `plimsoll feed remove`, or give the resource another name")
	case at >= 0:
		all[at] = want
	default:
		all = append(all, want)
	}
	if !isOurs { // first: an entry that nobody owns would never go
		if err := f.own(append(owned, want.Name)); err != nil {
			return err
		}
	}
	return feed.Save(f.path, all)
}

// remove takes the entry of that name out, if it is ours.
func (f *file) remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, owned, err := f.read()
	if err != nil || !slices.Contains(owned, name) {
		return err
	}
	named := func(other feed.Feed) bool { return other.Name == name }
	if slices.ContainsFunc(all, named) {
		if err := feed.Save(f.path, slices.DeleteFunc(all, named)); err != nil {
			return err
		}
	}
	return f.own(slices.DeleteFunc(owned, func(other string) bool { return other == name }))
}

// read gives all feeds, and the names of ours.
func (f *file) read() (all []feed.Feed, owned []string, err error) {
	all, found, err := feed.Load(f.path)
	if err != nil {
		return nil, nil, err
	}
	if !found {
		all = feed.Default() // what a home has that names none goes on to be there
	}
	text, err := os.ReadFile(f.ownedPath())
	if err == nil {
		err = json.Unmarshal(text, &owned)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.Failed, "read which feeds are the cluster's", f.ownedPath(), err)
	}
	return all, owned, nil
}

func (f *file) own(names []string) error {
	slices.Sort(names)
	text, err := json.Marshal(names)
	if err == nil {
		err = aside.WriteDurable(f.ownedPath(), append(text, '\n'))
	}
	if err != nil {
		return fault.New(fault.Failed, "write which feeds are the cluster's", f.ownedPath(), err)
	}
	return nil
}

// feedOf gives the feed that a resource declares.
func feedOf(r *v1alpha1.AdvisoryFeed) feed.Feed {
	return feed.Feed{
		Name: r.Name, Kind: feed.Kind(r.Spec.Kind), URL: r.Spec.URL,
		Ecosystems: r.Spec.Ecosystems, Suites: r.Spec.Suites, Mirrors: r.Spec.Mirrors,
	}
}
