package lab

import (
	"time"

	"golang.org/x/sys/unix"
)

// ProcessTime is for how long this process has had CPUs: others who want them change nothing.
func ProcessTime(tb TB) time.Duration {
	tb.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		tb.Fatalf("ask for the time of the CPU: %v", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
