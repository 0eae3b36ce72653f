package registry

import (
	"io"
	"log/slog"

	"github.com/sirupsen/logrus"
)

// bridge hands the distribution project's errors to slog. Its log lines carry whole
// request URIs, so only the error itself is taken over.
type bridge struct{ log *slog.Logger }

// bridgeLogs silences the log the distribution project writes to standard error. That
// log is one per process, so the registry opened last gets what is left of it.
func bridgeLogs(log *slog.Logger) {
	std := logrus.StandardLogger()
	std.SetOutput(io.Discard)
	std.SetLevel(logrus.ErrorLevel)
	std.ReplaceHooks(logrus.LevelHooks{logrus.ErrorLevel: []logrus.Hook{bridge{log}}})
}

// Levels implements logrus.Hook.
func (b bridge) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

// Fire implements logrus.Hook.
func (b bridge) Fire(e *logrus.Entry) error {
	attrs := []any{}
	for _, key := range []string{"err.code", "err.detail", "vars.name"} {
		if v, ok := e.Data[key]; ok {
			attrs = append(attrs, key, v)
		}
	}
	b.log.Debug("registry storage reports", append(attrs, "report", e.Message)...)
	return nil
}
