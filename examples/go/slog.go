//go:build go1.21

package relora

import (
	"context"
	"log/slog"
)

// Slog hands the lines of a context to a structured logger.
func Slog(logger *slog.Logger) Logger {
	levels := map[int32]slog.Level{
		LogError: slog.LevelError, LogWarn: slog.LevelWarn, LogInfo: slog.LevelInfo, LogDebug: slog.LevelDebug,
	}
	return func(level int32, line string) {
		logger.Log(context.Background(), levels[level], line, "from", "librelora")
	}
}
