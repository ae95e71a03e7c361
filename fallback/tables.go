package fallback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-iptables/iptables"
)

// A Kind is which of the kernel's two packet filters iptables talks to.
type Kind string

// The kinds of iptables, by the ends of their programs' names.
const (
	NFT    Kind = "nft"
	Legacy Kind = "legacy"
)

const (
	filterTable = "filter"

	// How long to wait for whoever holds the lock of iptables, in seconds: to change the tables
	// or to begin with them, and to look at them, which can be done later as well.
	lockWait = 10
	lookWait = 2

	// batchAtMost bounds a batch of rules: some 100,000 of them.
	batchAtMost = time.Minute
)

// tables is iptables or ip6tables of one kind.
type tables struct {
	*iptables.IPTables
	path string // of the program; that of its batches has -restore behind it
	kind Kind
	v6   bool
	wait int // for the lock, in seconds, to look
}

func openTables(kind Kind, v6 bool) (*tables, error) {
	path, err := programOf(kind, v6)
	if err != nil {
		return nil, err
	}
	proto := iptables.ProtocolIPv4
	if v6 {
		proto = iptables.ProtocolIPv6
	}
	ipt, err := iptables.New(iptables.Path(path), iptables.IPFamily(proto), iptables.Timeout(lockWait))
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	return &tables{ipt, path, kind, v6, lockWait}, nil
}

// programOf finds the program for kind: by its full name, else the plain one, where that is of it.
func programOf(kind Kind, v6 bool) (string, error) {
	plain := "iptables"
	if v6 {
		plain = "ip6tables"
	}
	if path, err := exec.LookPath(plain + "-" + string(kind)); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(plain)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", plain, err)
	}
	of, err := kindOf(path)
	if err != nil {
		return "", err
	}
	if of != kind {
		return "", fmt.Errorf("find %s-%s: there is only %s, which is %s", plain, kind, path, of)
	}
	return path, nil
}

// kindOf asks the program at path: v1.8.9 (nf_tables); before 1.8 there was one kind.
func kindOf(path string) (Kind, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if bytes.Contains(out, []byte("nf_tables")) {
		return NFT, nil
	}
	return Legacy, nil
}

// KindInUse finds the kind that this host's firewall is made with: the one that has rules
// of others; where both have or neither has, what iptables is by itself.
func KindInUse() (Kind, error) {
	inUse := make(map[Kind]bool)
	var have []Kind
	for _, kind := range []Kind{NFT, Legacy} {
		t, err := openTables(kind, false)
		if err != nil {
			continue
		}
		have = append(have, kind)
		inUse[kind] = t.hasRules()
	}
	switch {
	case len(have) == 0:
		return "", errors.New("find iptables: it is not installed")
	case len(have) == 1:
		return have[0], nil
	case inUse[NFT] != inUse[Legacy]:
		if inUse[NFT] {
			return NFT, nil
		}
		return Legacy, nil
	}
	path, err := exec.LookPath("iptables")
	if err != nil {
		return NFT, nil //nolint:nilerr // only the programs with full names are there
	}
	return kindOf(path)
}

// hasRules reports whether there are rules that are not ours.
func (t *tables) hasRules() bool {
	chains, err := t.list(false)
	if err != nil {
		return false
	}
	for name, rules := range chains {
		if ours(name) {
			continue
		}
		if slices.ContainsFunc(rules, func(rule string) bool { return rule != "-A "+name+" "+jump }) {
			return true
		}
	}
	return false
}

// untouched reports whether nobody has used the legacy filter table yet. To ask it for its
// rules would make it.
func (t *tables) untouched() bool {
	if t.kind != Legacy {
		return false
	}
	path := "/proc/thread-self/net/ip_tables_names"
	if t.v6 {
		path = "/proc/thread-self/net/ip6_tables_names"
	}
	names, err := os.ReadFile(path)
	return err != nil || !slices.Contains(strings.Fields(string(names)), filterTable)
}

// restore does a batch of commands, all of them or none.
func (t *tables) restore(commands string) error {
	ctx, cancel := context.WithTimeout(context.Background(), batchAtMost)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.path+"-restore", "--noflush", "--counters", "--wait", fmt.Sprint(lockWait))
	cmd.Stdin = strings.NewReader("*" + filterTable + "\n" + commands + "COMMIT\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", cmd.Args[0], err, reason(out))
	}
	return nil
}

// reason is the first line of out that says something.
func reason(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "# Warning") {
			return line
		}
	}
	return "it says nothing"
}

// A listing is the rules of each chain as iptables prints them: -A CHAIN and so on.
type listing map[string][]string

// list reads the whole table in one go. With counted, each rule has -c PACKETS BYTES in it.
func (t *tables) list(counted bool) (listing, error) {
	if t.untouched() {
		return listing{}, nil
	}
	args := []string{"-t", filterTable, "-w", fmt.Sprint(t.wait), "-S"}
	if counted {
		args = append(args, "-v")
	}
	cmd := exec.Command(t.path, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", t.path, err, reason(complaint.Bytes()))
	}
	found := make(listing)
	for line := range strings.Lines(out.String()) {
		command, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, _, _ := strings.Cut(rest, " ")
		if found[name] == nil {
			found[name] = []string{}
		}
		if command == "-A" {
			found[name] = append(found[name], command+" "+rest)
		}
	}
	return found, nil
}
