package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// explain adds to a refused privilege which one is missing.
func explain(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	if missing := missingCapabilities(); missing != "" {
		return fmt.Errorf("%w: this process lacks %s", err, missing)
	}
	if errors.Is(err, unix.EACCES) && !may(unix.CAP_PERFMON) && !may(unix.CAP_SYS_ADMIN) {
		// They take a number on the stack for a pointer that is being corrupted.
		return fmt.Errorf("%w: this process lacks CAP_PERFMON, without which kernels before 6.8 refuse the program", err)
	}
	return err
}

// may reports whether the calling thread has a capability, or that cannot be found out.
func may(capability int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&head, &sets[0]) != nil {
		return true
	}
	return sets[capability/32].Effective&(1<<(capability%32)) != 0
}

// missingCapabilities lists what the calling thread lacks of what the kernel asks for.
func missingCapabilities() string {
	if may(unix.CAP_SYS_ADMIN) && may(unix.CAP_NET_ADMIN) {
		return ""
	}
	var missing []string
	if !may(unix.CAP_BPF) {
		missing = append(missing, "CAP_BPF")
	}
	if !may(unix.CAP_NET_ADMIN) {
		missing = append(missing, "CAP_NET_ADMIN")
	}
	return strings.Join(missing, " and ")
}
