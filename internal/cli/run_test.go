package cli

import (
	"context"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// TestHowARunEnds: a program that is interrupted has not failed; all else that goes wrong
// has.
func TestHowARunEnds(t *testing.T) {
	ref, err := oci.Parse("app:1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		result executor.Result
		err    error
		want   int
	}{
		{name: "by itself", result: executor.Result{Reason: executor.Exited}},
		{name: "interrupted", err: fault.New(fault.Canceled, "run step", "/bin/app", context.Canceled)},
		{name: "with a status", result: executor.Result{Reason: executor.Exited, ExitCode: 3}, want: 1},
		{name: "killed", result: executor.Result{Reason: executor.OutOfMemory}, want: 1},
		{name: "not startable", err: fault.Newf(fault.NotFound, "run step", "/bin/app", "no such program"), want: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := 0
			if err := ended(ref, tt.result, tt.err); err != nil {
				got = fault.ExitCode(err)
			}
			if got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}
