package home

import (
	"errors"
	"io/fs"
	"os"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/starter"
)

// PolicySource names policies. The zero value is those of the home.
type PolicySource struct {
	Files    []string // files and folders
	Profiles []string // of the starter set
}

// ErrNoPolicies says that the home has no policies, which not everybody minds.
var ErrNoPolicies = errors.New("there are no policies")

// Documents reads the policies and exceptions that the source names.
func (h *Home) Documents(from PolicySource) (*policy.Documents, error) {
	if len(from.Files)+len(from.Profiles) == 0 {
		return h.ownDocuments()
	}
	all, err := policy.Load(from.Files...)
	if err != nil {
		return nil, err
	}
	for _, name := range from.Profiles {
		text, err := starter.Policies(name)
		if err != nil {
			return nil, err
		}
		profile, err := policy.Read("profile "+name, text)
		if err != nil {
			return nil, err
		}
		all.Add(profile)
	}
	return all, nil
}

func (h *Home) ownDocuments() (*policy.Documents, error) {
	folder := h.PolicyFolder()
	_, err := os.Stat(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "read policies", folder, err)
	}
	all := &policy.Documents{}
	if err == nil {
		if all, err = policy.Load(folder); err != nil {
			return nil, err
		}
	}
	if len(all.Policies) == 0 {
		return nil, fault.New(fault.Usage, "read policies", folder, ErrNoPolicies).
			WithHint("take up a profile with `plimsoll policy add " + starter.Profiles()[0].Name + "`, or name one with --profile")
	}
	return all, nil
}

// Policies gives the policies that the source names, ready to decide; ErrNoPolicies where those of
// the home are wanted and it has none.
func (h *Home) Policies(from PolicySource) (*policy.Set, error) {
	all, err := h.Documents(from)
	if err != nil {
		return nil, err
	}
	return all.Compile(policy.Options{})
}
