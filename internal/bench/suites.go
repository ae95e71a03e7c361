package main

import "path"

// A suite is a Go benchmark and what its figures mean. Rows are read off its metrics.
type suite struct {
	room  string // the package that it stands in
	bench string // its name behind Benchmark
	count int    // runs, of which each gives a figure
	time  string // of a run, as -benchtime takes it; "": what is measured is measured once
	title string
	rows  []row
}

// A row is one line of the table: a metric of a sub-benchmark.
type row struct {
	what   string
	name   string // of the sub-benchmark, below the suite's; "": the suite's own
	metric string
	goal   goal
}

// benchmark is the name of the benchmark that r is read off.
func (s suite) benchmark(r row) string { return path.Join(s.bench, r.name) }

// suites are all figures, in the order in which they are measured and printed. x is a
// ratio of two figures that were measured in turns.
var suites = []suite{
	{
		room: "./cmd/xdpban", bench: "Log", count: 3, title: "log path, whole process, 100,000 lines: lines a CPU second against fail2ban-regex; CPU time against others",
		rows: []row{
			{"fail2ban's rules, sshd, 50 % attacks, against fail2ban-regex", "log=sshd/attacks=50%/peer=fail2ban", "same-rules-x-rate", atLeast(200, "x")},
			{"fail2ban's rules, sshd, 5 %", "log=sshd/attacks=5%/peer=fail2ban", "same-rules-x-rate", atLeast(400, "x")},
			{"fail2ban's rules, asterisk, 50 %", "log=asterisk/attacks=50%/peer=fail2ban", "same-rules-x-rate", atLeast(100, "x")},
			{"fail2ban's rules, asterisk, 5 %", "log=asterisk/attacks=5%/peer=fail2ban", "same-rules-x-rate", atLeast(400, "x")},
			{"our rules, sshd, 50 %", "log=sshd/attacks=50%/peer=fail2ban", "xdpban-x-rate", atLeast(200, "x")},
			{"our rules, sshd, 5 %", "log=sshd/attacks=5%/peer=fail2ban", "xdpban-x-rate", atLeast(400, "x")},
			{"our rules, asterisk, 50 %", "log=asterisk/attacks=50%/peer=fail2ban", "xdpban-x-rate", atLeast(100, "x")},
			{"our rules, asterisk, 5 %", "log=asterisk/attacks=5%/peer=fail2ban", "xdpban-x-rate", atLeast(400, "x")},
			{"against sshguard's parser, sshd, 50 %", "log=sshd/attacks=50%/peer=sshguard", "xdpban-x-rate", shown("x")},
			{"against sshguard's parser, sshd, 5 %", "log=sshd/attacks=5%/peer=sshguard", "xdpban-x-rate", shown("x")},
			{"CPU time against grep -cF, sshd, 50 %", "log=sshd/attacks=50%/peer=grep", "xdpban-x-cpu", atMost(3, "x")},
			{"CPU time against grep -cF, sshd, 5 %", "log=sshd/attacks=5%/peer=grep", "xdpban-x-cpu", atMost(1, "x")},
			{"CPU time against grep -cF, asterisk, 50 %", "log=asterisk/attacks=50%/peer=grep", "xdpban-x-cpu", atMost(3, "x")},
			{"CPU time against grep -cF, asterisk, 5 %", "log=asterisk/attacks=5%/peer=grep", "xdpban-x-cpu", atMost(1, "x")},
		},
	},
	{
		room: "./cmd/xdpban", bench: "LongLog", count: 3, title: "the same, 1,000,000 lines",
		rows: []row{
			{"against sshguard's parser, sshd, 50 %", "log=sshd/attacks=50%/peer=sshguard", "xdpban-x-rate", shown("x")},
			{"against sshguard's parser, sshd, 5 %", "log=sshd/attacks=5%/peer=sshguard", "xdpban-x-rate", shown("x")},
			{"CPU time against grep -cF, sshd, 50 %", "log=sshd/attacks=50%/peer=grep", "xdpban-x-cpu", atMost(3, "x")},
			{"CPU time against grep -cF, sshd, 5 %", "log=sshd/attacks=5%/peer=grep", "xdpban-x-cpu", atMost(1, "x")},
			{"CPU time against grep -cF, asterisk, 50 %", "log=asterisk/attacks=50%/peer=grep", "xdpban-x-cpu", atMost(3, "x")},
			{"CPU time against grep -cF, asterisk, 5 %", "log=asterisk/attacks=5%/peer=grep", "xdpban-x-cpu", atMost(1, "x")},
		},
	},
	{
		room: "./cmd/xdpban", bench: "Memory", count: 1, title: "resident memory while reading a log",
		rows: []row{
			{"sshd, 50 % attacks, 1,000,000 lines", "lines=1000k/log=sshd/attacks=50%", "MiB", atMost(30, "MiB")},
			{"sshd, 5 %, 5,000,000 lines", "lines=5000k/log=sshd/attacks=5%", "MiB", atMost(30, "MiB")},
			{"sshd, 50 %, 5,000,000 lines", "lines=5000k/log=sshd/attacks=50%", "MiB", atMost(30, "MiB")},
			{"asterisk, 50 %, 5,000,000 lines", "lines=5000k/log=asterisk/attacks=50%", "MiB", atMost(30, "MiB")},
		},
	},
	{
		room: "./loader", bench: "XDPFilter", count: 5, title: "kernel program by BPF_PROG_TEST_RUN, 1,000 bans: time a packet against xdp-filter, which has no end of bans and no refresh",
		rows: []row{
			{"pass, IPv4", "pass/v4", "ours/xdp-filter", atMost(0.75, "x")},
			{"pass, IPv6", "pass/v6", "ours/xdp-filter", atMost(0.75, "x")},
			{"pass, VLAN", "pass/vlan", "ours/xdp-filter", atMost(0.75, "x")},
			{"drop, IPv4, one source", "drop/v4", "ours/xdp-filter", atMost(0.85, "x")},
			{"drop, IPv6, one source", "drop/v6", "ours/xdp-filter", atMost(0.85, "x")},
			{"drop, VLAN, one source", "drop/vlan", "ours/xdp-filter", atMost(0.85, "x")},
			{"drop, IPv4, random sources", "drop/random", "ours/xdp-filter", atMost(0.85, "x")},
			{"for comparison: bare XDP_PASS", "pass/v4", "bare/xdp-filter", shown("x")},
			{"for comparison: bare XDP_DROP", "drop/v4", "bare/xdp-filter", shown("x")},
		},
	},
	{
		room: "./loader", bench: "RandomSources", count: 3, title: "drop, random sources, against a look-up in a bare hash of the same size",
		rows: []row{
			{"1,024 bans", "bans=1024/of", "v4/hash", shown("x")},
			{"65,536 bans", "bans=65536/of", "v4/hash", shown("x")},
			{"1,048,576 bans", "bans=1048576/of", "v4/hash", atMost(1.1, "x")},
		},
	},
	{
		room: "./loader", bench: "OneSourceOnAllCPUs", count: 5, title: "one source that floods all CPUs, time a packet on each",
		rows: []row{
			{"against the same on one CPU", "", "all/one", atMost(1.15, "x")},
			{"against all CPUs with a source for each", "", "all/apart", shown("x")},
		},
	},
	{
		room: "./loader", bench: "Sizes", count: 1, title: "time a packet against bare XDP_DROP, by size",
		rows: append(
			append(sized("no prefixes, ", "prefixes=0", "1", "1024", "100000", "1048576"),
				row{"no prefixes, 1,024 bans: pass, IPv6", "prefixes=0/bans=1024/of", "pass-v6/bare", shown("x")},
				row{"no prefixes, 1,024 bans: pass, VLAN", "prefixes=0/bans=1024/of", "pass-vlan/bare", shown("x")},
				row{"no prefixes, 1,024 bans: drop, IPv6", "prefixes=0/bans=1024/of", "drop-v6/bare", shown("x")},
				row{"no prefixes, 1,024 bans: drop, VLAN", "prefixes=0/bans=1024/of", "drop-vlan/bare", shown("x")},
				row{"no prefixes, 1,024 bans: banned, and allowed", "prefixes=0/bans=1024/of", "allowed/bare", shown("x")},
			), append(sized("100,000 prefixes banned and as many allowed, ", "prefixes=100000", "1", "1024", "100000", "1048576"),
				row{"100,000 prefixes banned and as many allowed, 1,024 bans: banned, and allowed", "prefixes=100000/bans=1024/of", "allowed/bare", shown("x")},
			)...),
	},
	{
		room: "./loader", bench: "LiveFrames", count: 3, title: "live frames over veth, 1,000 bans, random sources: total time of a drop, ours against others",
		rows: []row{
			{"against bare XDP_DROP", "against=bare", "ours/theirs", atMost(1.2, "x")},
			{"against xdp-filter", "against=xdp-filter", "ours/theirs", shown("x")},
			{"against ourselves in generic mode", "against=generic", "ours/theirs", shown("x")},
			{"against a tc program that only drops", "against=tc-bpf", "ours/theirs", shown("x")},
			{"against tc flower", "against=tc-flower", "ours/theirs", shown("x")},
			{"against an nft set", "against=nft-set", "ours/theirs", atMost(0.25, "x")},
			{"against ipset", "against=ipset", "ours/theirs", atMost(0.25, "x")},
			{"against xt_recent, 64 sources", "against=recent", "ours/theirs", atMost(0.25, "x")},
			{"against 1 iptables rule", "against=iptables-1", "ours/theirs", shown("x")},
			{"against 100 iptables rules", "against=iptables-100", "ours/theirs", shown("x")},
			{"against 1,000 iptables rules", "against=iptables-1000", "ours/theirs", atMost(0.1, "x")},
			{"against 10,000 iptables rules", "against=iptables-10000", "ours/theirs", shown("x")},
		},
	},
}

// sized are the rows of BenchmarkSizes for so many bans, all with the same prefixes.
func sized(what, name string, bans ...string) []row {
	var rows []row
	for _, n := range bans {
		name := name + "/bans=" + n + "/of"
		rows = append(rows,
			row{what + n + " bans: pass", name, "pass-v4/bare", shown("x")},
			row{what + n + " bans: drop, one source", name, "drop-v4/bare", shown("x")},
			row{what + n + " bans: drop, random sources", name, "drop-random/bare", shown("x")},
		)
	}
	return rows
}
