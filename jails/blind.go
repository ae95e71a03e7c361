package jails

import "path/filepath"

// Blind says why no line can reach j now, and what to do about it; empty texts: one can. A file
// that comes later is followed from then on.
func (j *JailConfig) Blind() (what, instead string) {
	for _, pattern := range j.Logpath {
		if files, _ := filepath.Glob(pattern); len(files) > 0 { // Load has seen that the pattern is good
			return "", ""
		}
	}
	return "follows nothing: no file of its logpath is there",
		"name the file that the daemon logs to; the journal is not followed yet: what is in there alone, rsyslog has to write into a file"
}
