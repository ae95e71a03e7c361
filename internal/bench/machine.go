package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine says on what the figures were measured, and against which versions.
func machine(packages []string) string {
	text := fmt.Sprintf("%s, %d CPUs (load %s at the start), Linux %s, %s", processor(), runtime.NumCPU(), load(), kernel(), runtime.Version())
	var versions []string
	for _, p := range packages {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}", p).Output()
		if err != nil {
			out = []byte(p + " missing")
		}
		versions = append(versions, string(out))
	}
	if len(versions) > 0 {
		text += "; " + strings.Join(versions, ", ")
	}
	return text
}

func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	for in := bufio.NewScanner(file); in.Scan(); {
		if key, value, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// load is how many programs wanted a CPU in the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	last, _, _ := strings.Cut(string(text), " ")
	return last
}

func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "?"
	}
	return unix.ByteSliceToString(name.Release[:])
}
