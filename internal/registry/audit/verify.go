package audit

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
)

// VerifyOptions say what a log is held against.
type VerifyOptions struct {
	// Keys are those that may sign checkpoints. None: signatures are not looked at.
	Keys []crypto.PublicKey
	// Archived takes a log whose first segments were taken away: it then stands on the
	// checkpoint with which its first segment begins.
	Archived bool
	// Contains is a checkpoint that was kept elsewhere, which the log must hold. Nil: none.
	Contains *Checkpoint
}

// Report is what Verify found.
type Report struct {
	Holds    bool   `json:"holds"`           // the chain, and its signatures where Signed
	Wrong    *Wrong `json:"wrong,omitempty"` // the first line that is
	Segments int    `json:"segments"`
	Records  uint64 `json:"records"` // lines that hold, checkpoints included
	First    uint64 `json:"first"`   // sequence of the first
	Last     uint64 `json:"last"`
	Signed   bool   `json:"signed"`         // whether signatures were looked at
	Open     uint64 `json:"open"`           // records after the newest checkpoint, which it does not cover
	Torn     int64  `json:"torn,omitempty"` // bytes that a killed writer left at the end
}

// Wrong is where a log does not hold.
type Wrong struct {
	Segment  string `json:"segment,omitempty"`
	Line     int    `json:"line,omitempty"` // from 1
	Sequence uint64 `json:"seq,omitempty"`  // that the line should have
	Why      string `json:"why"`
}

func (w *Wrong) Error() string {
	if w.Segment == "" {
		return w.Why
	}
	return fmt.Sprintf("%s:%d: %s", w.Segment, w.Line, w.Why)
}

// Verify reads a log, which may be written to meanwhile, and says whether it holds. Errors
// are *fault.Error, and mean that it could not be read.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	parts, head, err := snapshot(dir)
	if err != nil {
		return Report{}, err
	}
	v := &verification{ctx: ctx, o: o, head: head, previous: noPrevious}
	v.report.Signed = len(o.Keys) > 0
	err = v.run(dir, parts)
	var wrong *Wrong
	switch {
	case errors.As(err, &wrong):
		v.report.Wrong = wrong
	case err != nil:
		return v.report, noLog(dir, err)
	}
	v.report.Holds = wrong == nil
	return v.report, nil
}

// verification is one run along a log.
type verification struct {
	ctx  context.Context
	o    VerifyOptions
	head []byte

	segment    string
	line       int
	next       uint64
	previous   string
	sawHead    bool
	sawKept    bool
	signatures uint64
	report     Report
}

func (v *verification) wrong(why string) error {
	return &Wrong{Segment: v.segment, Line: v.line, Sequence: v.next, Why: why}
}

func (v *verification) run(dir string, parts []part) error {
	for i, p := range parts {
		v.segment, v.line = p.name, 0
		first, _ := segmentFirst(p.name)
		if i == 0 {
			v.next = 1
			if v.o.Archived {
				v.next, v.previous = first, ""
			}
		}
		if first != v.next {
			v.line = 1
			return v.wrong(fmt.Sprintf("the segment begins at %d: what comes before it is missing", first))
		}
		torn, err := p.eachLine(dir, v.check)
		switch {
		case errors.Is(err, errLong):
			v.line++
			return v.wrong(err.Error())
		case err != nil:
			return err
		case torn > 0 && i < len(parts)-1:
			v.line++
			return v.wrong(errTorn.Error())
		}
		v.report.Torn = torn
		v.report.Segments++
	}
	return v.end()
}

// end looks for what the log should hold, but does not.
func (v *verification) end() error {
	v.segment, v.line = "", 0
	switch {
	case len(v.head) > 0 && !v.sawHead:
		return v.wrong(errTruncated.Error())
	case v.o.Contains != nil && !v.sawKept:
		return v.wrong(fmt.Sprintf("it does not hold the checkpoint at %d that was kept elsewhere: it was set back or written anew", v.o.Contains.Sequence))
	case len(v.o.Keys) > 0 && (len(v.head) == 0 || v.signatures == 0):
		return v.wrong("it has no signed checkpoint: it was written anew, or never signed")
	}
	return nil
}

// check takes the next line.
func (v *verification) check(line []byte) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	v.line++
	e, err := parse(line)
	if err != nil {
		return v.wrong(err.Error())
	}
	if v.previous == "" { // the first of a log whose beginning is in an archive
		v.previous = e.Previous
	}
	switch {
	case e.Sequence != v.next:
		return v.wrong(fmt.Sprintf("it is record %d where %d is due: lines were removed, put in or moved", e.Sequence, v.next))
	case e.Previous != v.previous:
		return v.wrong("it does not follow from the line before: that one or this was changed")
	case v.line == 1 && e.Checkpoint == nil:
		return v.wrong("a segment begins with a checkpoint, and this is none")
	}
	v.report.Open++
	if e.Checkpoint != nil {
		if err := v.point(e); err != nil {
			return err
		}
	}
	if bytes.Equal(line, v.head) {
		v.sawHead = true
	}
	if v.report.First == 0 {
		v.report.First = e.Sequence
	}
	v.report.Last = e.Sequence
	v.report.Records++
	v.next, v.previous = e.Sequence+1, hashOf(line)
	return nil
}

func (v *verification) point(e *Entry) error {
	v.report.Open = 0
	c := e.checkpoint()
	if kept := v.o.Contains; kept != nil && kept.Sequence == c.Sequence && kept.Previous == c.Previous {
		v.sawKept = true
	}
	if len(v.o.Keys) == 0 {
		return nil
	}
	for _, key := range v.o.Keys {
		verifier, err := signature.LoadDefaultVerifier(key)
		if err == nil && verifier.VerifySignature(bytes.NewReader(c.Signature), bytes.NewReader(c.Message())) == nil {
			v.signatures++
			return nil
		}
	}
	return v.wrong("no trusted key signed this checkpoint: it, or what comes before it, was written anew")
}
