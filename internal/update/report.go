package update

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// ReportType is the payload type of a report's envelope (DSSE v1.0.2).
const ReportType = "application/vnd.plimsoll.patch.report.v1+json"

// Report is the proof of a campaign: of each image what its tag named before and names after,
// which findings are gone and which are left.
type Report struct {
	Patch   string               `json:"patch"`
	Run     int64                `json:"run"`
	Plan    string               `json:"plan"` // digest
	Target  v1alpha1.PatchTarget `json:"target"`
	Told    string               `json:"told,omitempty"` // what changed, of an automatic one
	Outcome v1alpha1.PatchPhase  `json:"outcome"`
	Why     string               `json:"why,omitempty"`
	Planned time.Time            `json:"planned"`
	Started time.Time            `json:"started,omitzero"`
	Ended   time.Time            `json:"ended"`
	Counts  Counts               `json:"counts"`
	Images  []ReportedImage      `json:"images"` // in running order
}

// ReportedImage is what became of one image.
type ReportedImage struct {
	Reference string          `json:"reference"`
	Team      string          `json:"team,omitempty"`
	Wave      string          `json:"wave"`
	Remedy    artifact.Remedy `json:"remedy"`
	Overrides []Override      `json:"overrides,omitempty"`
	State     campaigns.State `json:"state"`
	Before    string          `json:"before"` // digest
	After     string          `json:"after,omitempty"`
	Gone      []string        `json:"gone,omitempty"`  // "ADVISORY package version"
	Left      []string        `json:"left,omitempty"`  // with why, where that is known
	Tests     []string        `json:"tests,omitempty"` // that it has passed
	Started   time.Time       `json:"started,omitzero"`
	Ended     time.Time       `json:"ended,omitzero"`
	Error     string          `json:"error,omitempty"`
}

// report writes the reports of campaigns that have ended. Another process may do the same: it
// says the same.
func (e *Engine) report(ctx context.Context) error {
	ended, err := e.store.Unreported(ctx)
	if err != nil {
		return err
	}
	for _, c := range ended {
		report, err := e.reportOn(ctx, c)
		if err != nil {
			return err
		}
		payload, err := json.Marshal(report) // fields in their order, maps by key: the same each time
		if err != nil {
			return err
		}
		envelope, err := e.seal(ctx, payload)
		if err != nil {
			return err
		}
		digest := sha256.Sum256(payload)
		if err := e.store.Keep(ctx, c.ID, "sha256:"+hex.EncodeToString(digest[:]), envelope); err != nil {
			return err
		}
	}
	return nil
}

// envelope is a DSSE envelope.
type envelope struct {
	PayloadType string            `json:"payloadType"`
	Payload     string            `json:"payload"` // base64
	Signatures  []json.RawMessage `json:"signatures"`
}

// seal puts a payload into an envelope.
func (e *Engine) seal(ctx context.Context, payload []byte) ([]byte, error) {
	if e.o.Signer != nil {
		return e.o.Signer.Sign(ctx, ReportType, payload)
	}
	return json.Marshal(envelope{ReportType, base64.StdEncoding.EncodeToString(payload), []json.RawMessage{}})
}

// Report gives the signed report of the newest campaign of a patch: its envelope, and what it
// says. Whoever wants to be sure verifies the envelope.
func (e *Engine) Report(ctx context.Context, name string) (Report, []byte, error) {
	var report Report
	c, err := e.store.Latest(ctx, name)
	if err != nil {
		return report, nil, err
	}
	digest, sealed, err := e.store.Report(ctx, c.ID)
	if err != nil {
		return report, nil, err
	}
	if digest == "" {
		return report, nil, fault.Newf(fault.NotFound, "read the report", name, "its campaign has not ended").WithHint("`plimsoll patch status " + name + "` shows how far it is")
	}
	payload, err := opened(sealed)
	if sum := sha256.Sum256(payload); err == nil && digest != "sha256:"+hex.EncodeToString(sum[:]) {
		err = fmt.Errorf("it is not the one that was kept")
	}
	if err == nil {
		err = json.Unmarshal(payload, &report)
	}
	if err != nil {
		return report, nil, fault.New(fault.Failed, "read the report", name, err)
	}
	return report, sealed, nil
}

// opened gives the payload of an envelope. Signatures are not looked at.
func opened(sealed []byte) ([]byte, error) {
	var env envelope
	if err := json.Unmarshal(sealed, &env); err != nil {
		return nil, err
	}
	if env.PayloadType != ReportType {
		return nil, fmt.Errorf("it is a %q", env.PayloadType)
	}
	return base64.StdEncoding.DecodeString(env.Payload)
}

// reportOn says what became of a campaign.
func (e *Engine) reportOn(ctx context.Context, c campaigns.Campaign) (Report, error) {
	status, err := e.statusOf(ctx, c)
	if err != nil {
		return Report{}, err
	}
	left, err := e.left(ctx, c.Spec)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Patch: c.Patch, Run: c.Run, Plan: c.Plan, Target: c.Spec.Target, Told: c.Told, Outcome: c.Phase, Why: c.Why,
		Planned: c.Created, Started: c.Started, Ended: c.Ended, Counts: status.Counts, Images: []ReportedImage{},
	}
	for after := int64(0); ; {
		items, err := e.store.Items(ctx, c.ID, campaigns.Filter{Wave: -1, After: after})
		if err != nil {
			return r, err
		}
		for _, item := range items {
			r.Images = append(r.Images, reported(item, c.Waves, left[item.Reference]))
			after = item.Number
		}
		if len(items) == 0 {
			return r, nil
		}
	}
}

func reported(item Item, waves []string, left []Cause) ReportedImage {
	r := ReportedImage{
		Reference: item.Reference, Team: item.Team, Wave: waves[item.Wave], Remedy: item.Remedy, Overrides: item.Overrides,
		State: item.State, Before: item.Before, After: item.After, Tests: item.Tested, Started: item.Started, Ended: item.Ended, Error: item.Error,
	}
	if r.Before == "" {
		r.Before = item.From
	}
	if item.State != campaigns.Done {
		r.After = ""
	}
	stays := map[[2]string]string{}
	for _, c := range item.Leaves {
		stays[[2]string{c.Advisory, c.Package}] = c.Why
	}
	for _, c := range left {
		line := c.Advisory + " " + c.Package + " " + c.Version
		if why := stays[[2]string{c.Advisory, c.Package}]; why != "" {
			line += ": " + why
		}
		r.Left = append(r.Left, line)
	}
	for _, c := range slices.Concat(item.Fixes, item.Leaves) {
		if !slices.ContainsFunc(left, func(l Cause) bool { return l.Advisory == c.Advisory && l.Package == c.Package }) {
			r.Gone = append(r.Gone, c.Advisory+" "+c.Package+" "+c.Version)
		}
	}
	slices.Sort(r.Gone)
	slices.Sort(r.Left)
	r.Gone, r.Left = slices.Compact(r.Gone), slices.Compact(r.Left)
	return r
}

// left gives what the images of a target have now of what it means, by reference.
func (e *Engine) left(ctx context.Context, spec v1alpha1.PatchSpec) (map[string][]Cause, error) {
	p, err := newPlanner(spec, e.o.Plan)
	if err != nil {
		return nil, err
	}
	all := map[string][]Cause{}
	groups := map[int][]Cause{}
	err = e.inv.Exposed(ctx, p.exposure(), func(image inventory.ExposedImage) error {
		causes, known := groups[image.Group]
		if !known {
			for _, hit := range image.Hits {
				causes = append(causes, causeOf(hit.Weakness))
			}
			groups[image.Group] = causes
		}
		all[image.Name] = append(all[image.Name], causes...)
		return nil
	})
	return all, err
}
