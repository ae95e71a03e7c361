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
		room: "./cmd/xdpban", bench: "Line", count: 1, title: "the same without the start, as a daemon has it: what a line more costs, fail2ban-regex against ours",
		rows: []row{
			{"fail2ban's rules, sshd, 50 % attacks", "log=sshd/attacks=50%/peer=fail2ban", "same-rules-x-rate", shown("x")},
			{"fail2ban's rules, sshd, 5 %", "log=sshd/attacks=5%/peer=fail2ban", "same-rules-x-rate", shown("x")},
			{"fail2ban's rules, asterisk, 50 %", "log=asterisk/attacks=50%/peer=fail2ban", "same-rules-x-rate", shown("x")},
			{"fail2ban's rules, asterisk, 5 %", "log=asterisk/attacks=5%/peer=fail2ban", "same-rules-x-rate", shown("x")},
			{"our rules, sshd, 50 %", "log=sshd/attacks=50%/peer=fail2ban", "xdpban-x-rate", shown("x")},
			{"our rules, sshd, 5 %", "log=sshd/attacks=5%/peer=fail2ban", "xdpban-x-rate", shown("x")},
			{"our rules, asterisk, 50 %", "log=asterisk/attacks=50%/peer=fail2ban", "xdpban-x-rate", shown("x")},
			{"our rules, asterisk, 5 %", "log=asterisk/attacks=5%/peer=fail2ban", "xdpban-x-rate", shown("x")},
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
		room: "./jails/filter", bench: "Lines", count: 3, time: "200ms", title: "a filter alone, CPU time a line; the floor is a search for one word",
		rows: []row{
			{"allocations a line that no rule matches, sshd", "sshd/0%", "allocs/line", atMost(0, "allocations")},
			{"allocations a line that no rule matches, asterisk", "asterisk/0%", "allocs/line", atMost(0, "allocations")},
			{"sshd, 5 % attacks, against the floor", "sshd/5%", "x-floor-time", shown("x")},
			{"sshd, 50 %", "sshd/50%", "x-floor-time", shown("x")},
			{"asterisk, 5 %", "asterisk/5%", "x-floor-time", shown("x")},
			{"asterisk, 50 %", "asterisk/50%", "x-floor-time", shown("x")},
		},
	},
	{
		room: "./jails/source", bench: "Lines", count: 3, title: "following a log",
		rows: []row{
			{"lines a second against nxadm/tail", "", "x-nxadm-rate", shown("x")},
			{"time against a bare read loop", "", "x-floor-time", shown("x")},
		},
	},
	{
		room: "./jails/source", bench: "Rotation", count: 3, title: "50,000 lines a second, renamed three times a second",
		rows: []row{
			{"lines lost, doubled or torn", "", "wrong", atMost(0, "lines")},
			{"the same by nxadm/tail", "", "nxadm-wrong", shown("lines")},
		},
	},
	{
		room: "./internal/daemon", bench: "Latency", count: 3, title: "from before the write(2) of the line that decides, idle log, 2,000 attempts each",
		rows: []row{
			{"to the address in the kernel's map, p50", "", "map-p50-ms", shown("ms")},
			{"to the address in the kernel's map, p99", "", "map-p99-ms", atMost(1, "ms")},
			{"to the first packet dropped, p50", "", "drop-p50-ms", shown("ms")},
			{"to the first packet dropped, p99", "", "drop-p99-ms", atMost(1, "ms")},
		},
	},
	{
		room: "./internal/daemon", bench: "Fail2ban", count: 1, title: "the same for fail2ban's server, to its action, 30 attempts each",
		rows: []row{
			{"pyinotify, p50", "backend=pyinotify", "ban-p50-ms", shown("ms")},
			{"pyinotify, longest", "backend=pyinotify", "ban-p100-ms", shown("ms")},
			{"polling, p50", "backend=polling", "ban-p50-ms", shown("ms")},
			{"polling, longest", "backend=polling", "ban-p100-ms", shown("ms")},
		},
	},
	{
		room: "./internal/daemon", bench: "Flood", count: 1, title: "a minute of 50 MB of lines a second on the same log, thousands of attempts meanwhile",
		rows: []row{
			{"written", "", "MB/s", shown("MB/s")},
			{"to the address in the kernel's map, p50", "", "map-p50-ms", shown("ms")},
			{"to the address in the kernel's map, p99", "", "map-p99-ms", shown("ms")},
			{"to the first packet dropped, p50", "", "drop-p50-ms", shown("ms")},
			{"to the first packet dropped, p99", "", "drop-p99-ms", shown("ms")},
			{"the longest of all, to the first packet dropped", "", "drop-p100-ms", atMost(1000, "ms")},
			{"lag at most, as status tells it each second", "", "lag-MiB", shown("MiB")},
			{"the daemon's resident memory at most", "", "resident-MiB", shown("MiB")},
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
			{"drop, IPv4, random sources", "drop/random/pace=close", "ours/xdp-filter", atMost(0.85, "x")},
			{"drop, IPv4, random sources, packets apart", "drop/random/pace=apart", "ours/xdp-filter", shown("x")},
			{"for comparison: bare XDP_PASS", "pass/v4", "bare/xdp-filter", shown("x")},
			{"for comparison: bare XDP_DROP", "drop/v4", "bare/xdp-filter", shown("x")},
		},
	},
	{
		room: "./loader", bench: "RandomSources", count: 3, title: "drop, random sources, against a look-up in a bare hash of the same size",
		rows: []row{
			{"1,024 bans, packets apart", "bans=1024/pace=apart", "v4/hash", shown("x")},
			{"65,536 bans, packets apart", "bans=65536/pace=apart", "v4/hash", shown("x")},
			{"1,048,576 bans, packets apart", "bans=1048576/pace=apart", "v4/hash", atMost(1.1, "x")},
			{"1,048,576 bans, so close that the CPU waits for the memory of two at once", "bans=1048576/pace=close", "v4/hash", shown("x")},
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
	{
		room: "./loader", bench: "Ban", count: 3, title: "making a ban: time of others against ours",
		rows: []row{
			{"iptables -A behind 10,000 rules, against a single ban", "single/against=iptables", "theirs/ours", atLeast(3000, "x")},
			{"iptables-legacy -A behind 10,000 rules, against a single ban", "single/against=iptables-legacy", "theirs/ours", shown("x")},
			{"100,000 by ipset restore, against 100,000 at once", "bulk/against=ipset", "theirs/ours", atLeast(10, "x")},
			{"100,000 by nft -f, against 100,000 at once", "bulk/against=nft", "theirs/ours", shown("x")},
		},
	},
	{
		room: "./fallback", bench: "ManyBans", count: 3, title: "the chain: time of a packet with many bans, against one",
		rows: []row{
			{"sets, 100,000 bans", "ipset/bans=100000/of", "many/one", atMost(1.5, "x")},
			{"rules and xt_recent, 1,000 bans", "recent/bans=1000/of", "many/one", shown("x")},
		},
	},
	{
		room: "./internal/daemon", bench: "Million", count: 1, title: "a million bans from a list, by xdpban ban --file",
		rows: []row{
			{"until the command is done", "", "s", atMost(2, "s")},
			{"CPU time of the command and the daemon", "", "cpu-s", shown("s")},
			{"meanwhile, from a line to the kernel's map, longest", "", "map-p100-ms", atMost(1000, "ms")},
			{"the daemon's memory a ban", "", "B/ban", shown("B")},
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
