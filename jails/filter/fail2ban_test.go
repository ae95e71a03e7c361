package filter

import (
	"container/list"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"xdpban/internal/lab"
)

// outcomes are what a filter in the dialect Fail2ban makes of lines: "-" for nothing, "note" for
// lines that tell no failure (yet), else who it was, with the number of lines and what was captured.
func outcomes(t *testing.T, spec string, lines ...string) []string {
	t.Helper()
	return outcomesOf(t, build(t, "dialect: fail2ban\n"+spec).NewReader(time.UTC), lines)
}

// outcomesOf is outcomes by r.
func outcomesOf(t *testing.T, r *Reader, lines []string) []string {
	t.Helper()
	var got []string
	for _, line := range lines {
		result := r.Read([]byte(line), noon)
		if result.TimedOut > 0 {
			t.Errorf("%q takes too long", line)
		}
		switch result.Outcome {
		case Missed:
			got = append(got, "-")
		case Noted:
			got = append(got, "note")
		case Ignored:
			got = append(got, "ignored")
		default:
			got = append(got, describe(r, result))
		}
	}
	return got
}

func describe(r *Reader, result Result) string {
	groups := r.Groups()
	for _, of := range []string{"ip4", "ip6", "dns", "mlfid"} {
		delete(groups, of)
	}
	text := fmt.Sprintf("%s x%d", result.ID(), result.Attempts)
	if !result.Addr.IsValid() {
		text = "(" + result.ID() + ") x" + fmt.Sprint(result.Attempts)
	}
	if len(groups) > 0 {
		text += strings.TrimPrefix(fmt.Sprint(groups), "map")
	}
	return text
}

func TestLinesAreSeenAsFail2banSeesThem(t *testing.T) {
	for name, c := range map[string]struct {
		spec  string
		lines []string
		want  []string
	}{
		"the date is cut out, what stands before it stays": {
			`failregex: '^\[\] bad <HOST>$'`,
			[]string{"[2026-11-09 10:00:00] bad 192.0.2.7", "[] bad 192.0.2.7", "2026-11-09 10:00:00 [] bad 192.0.2.7"},
			[]string{"192.0.2.7 x1", "192.0.2.7 x1", "-"},
		},
		"a date anywhere": {
			`failregex: '^<HOST> - bad \[\] GET$'`,
			[]string{"192.0.2.7 - bad [09/Nov/2026:10:00:00 +0000] GET"},
			[]string{"192.0.2.7 x1"},
		},
		"a datepattern": {
			"failregex: '^ ?bad <HOST>$'\ndatepattern: '^on %Y-%m-%d at %H:%M:%S:'",
			[]string{"on 2026-11-09 at 10:00:00: bad 192.0.2.7", "2026-11-09 10:00:00 bad 192.0.2.7"},
			[]string{"192.0.2.7 x1", "-"},
		},
		"the first rule that matches": {
			`failregex: ['^bad (?P<first>\S+) <HOST>', '^bad x (?P<second><HOST>)']`,
			[]string{"bad x 192.0.2.7", "bad x y"},
			[]string{"192.0.2.7 x1[first:x]", "(y) x1[first:x]"},
		},
		"names and identities": {
			`failregex: ['^bad <HOST>$', '^id <F-ID>\S+</F-ID>$', '^both <F-ID>\S+</F-ID> <ADDR>$', '^net <SUBNET>$', '^name <DNS>$', '^port <IP4>:<F-PORT/>$']`,
			[]string{"bad a.example.org", "bad [2001:DB8::7]", "bad ::ffff:192.0.2.7", "bad 192.0.2.777", "id a@b", "id 192.0.2.7", "both a 192.0.2.7", "both 192.0.2.7 192.0.2.7",
				"net 192.0.2.7/24", "net 2001:db8::1/32", "net 192.0.2.7", "name a.b", "name 192.0.2.7", "port 192.0.2.7:sip"},
			[]string{"(a.example.org) x1", "2001:db8::7 x1", "192.0.2.7 x1", "(192.0.2.777) x1", "(a@b) x1[fid:a@b]", "192.0.2.7 x1[fid:192.0.2.7]", "(a) x1[fid:a]", "192.0.2.7 x1[fid:192.0.2.7]",
				"(192.0.2.0/24) x1[cidr:24]", "(2001:db8::/32) x1[cidr:32]", "192.0.2.7 x1", "(a.b) x1", "192.0.2.7 x1", "192.0.2.7 x1[fport:sip]"},
		},
		"one group stands in for another": {
			`failregex: '^bad <F-USER>\w*</F-USER> (?:alias <F-ALT_USER>\w+</F-ALT_USER> )?<HOST>$'`,
			[]string{"bad ann alias bob 192.0.2.7", "bad  alias bob 192.0.2.7", "bad ann 192.0.2.7"},
			[]string{"192.0.2.7 x1[alt_user:bob user:ann]", "192.0.2.7 x1[alt_user:bob user:bob]", "192.0.2.7 x1[user:ann]"},
		},
		"groups make tuples, which are no addresses": {
			`failregex: ['^id <F-ID>\S+</F-ID>(?: as <F-TUPLE_ID>\S*</F-TUPLE_ID>)?$', '^two <ADDR> <F-TUPLE_ID_2>\S+</F-TUPLE_ID_2> <F-TUPLE_ID_1>\S+</F-TUPLE_ID_1>$',
  '^bad <ADDR> (?:<F-USER>\S+</F-USER>|<F-ALT_USER>\S+</F-ALT_USER> alias) <F-TUPLE_USER>\S+</F-TUPLE_USER>$']`,
			[]string{"id 192.0.2.7 as bob", "id 192.0.2.7 as ", "id 192.0.2.7", "two 192.0.2.7 b a", "bad 192.0.2.7 ann admins", "bad 192.0.2.7 ann alias admins", `id it's as "a`, `id '"\ as x`},
			[]string{"(('192.0.2.7', 'bob')) x1[fid:('192.0.2.7', 'bob') tuple_id:bob]", "(('192.0.2.7', '')) x1[fid:('192.0.2.7', '') tuple_id:]", "(('192.0.2.7', None)) x1[fid:('192.0.2.7', None)]",
				"((None, 'a', 'b')) x1[fid:(None, 'a', 'b') tuple_id_1:a tuple_id_2:b]", "192.0.2.7 x1[tuple_user:admins user:('ann', 'admins')]",
				"192.0.2.7 x1[alt_user:ann tuple_user:admins user:('ann', 'admins')]", `(("it's", '"a')) x1[fid:("it's", '"a') tuple_id:"a]`, `(('\'"\\', 'x')) x1[fid:('\'"\\', 'x') tuple_id:x]`},
		},
		"what is no failure": {
			`failregex: ['^<F-NOFAIL>publickey</F-NOFAIL> <HOST>$', '^\w+ <HOST>$']`,
			[]string{"publickey 192.0.2.7", "password 192.0.2.7"},
			[]string{"note", "192.0.2.7 x1"},
		},
		"a rule that may name an address leaves that of prefregex": {
			"prefregex: '^app(?: <ADDR>)?: <F-CONTENT>.+</F-CONTENT>$'\nfailregex: ['^bad(?: of <ADDR>)?$']",
			[]string{"app 192.0.2.7: bad", "app: bad of 192.0.2.7", "app 192.0.2.7: bad of 192.0.2.8", "app: bad"},
			[]string{"192.0.2.7 x1", "192.0.2.7 x1", "192.0.2.8 x1", "-"},
		},
		"prefregex leaves its content": {
			"prefregex: '^(?P<by>\\w+): <F-CONTENT>.+</F-CONTENT>$'\nfailregex: '^bad <HOST>$'",
			[]string{"app: bad 192.0.2.7", "bad 192.0.2.7", "app: very bad 192.0.2.7"},
			[]string{"192.0.2.7 x1[by:app]", "-", "-"},
		},
		"prefregex without content, and the address in it": {
			"prefregex: '^<HOST>: '\nfailregex: ['bad <F-USER>\\w+</F-USER>$']",
			[]string{"192.0.2.7: bad bob", "x bad bob"},
			[]string{"192.0.2.7 x1[user:bob]", "-"},
		},
		"few ignoreregexes see the whole line, and come first": {
			"prefregex: '^app: <F-CONTENT>.+</F-CONTENT>$'\nfailregex: ['^a <HOST>$', '^b <HOST>$', '^c <HOST>$', '^d <HOST>$']\nignoreregex: 'app: a'",
			[]string{"app: a 192.0.2.7", "app: a", "app: b 192.0.2.7"},
			[]string{"ignored", "ignored", "192.0.2.7 x1"},
		},
		"many see what the rules see": {
			"prefregex: '^app: <F-CONTENT>.+</F-CONTENT>$'\nfailregex: ['^a <HOST>$']\nignoreregex: ['app: a', '^a 192.0.2.8']",
			[]string{"app: a 192.0.2.7", "app: a 192.0.2.8"},
			[]string{"192.0.2.7 x1", "ignored"},
		},
	} {
		if got := outcomes(t, c.spec, c.lines...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
}

func TestALineWithoutDateHasTheLastOne(t *testing.T) {
	f := build(t, "dialect: fail2ban\nfailregex: '^ ?bad <HOST>$'\n")
	r := f.NewReader(time.UTC)
	for _, c := range []struct {
		line  string
		time  time.Time
		dated bool
	}{
		{"bad 192.0.2.7", noon, false},
		{"2026-11-09 11:59:30 bad 192.0.2.7", noon.Add(-30 * time.Second), true},
		{"bad 192.0.2.7", noon.Add(-30 * time.Second), false},
		{"2026-11-09 11:00:00 bad 192.0.2.7", noon.Add(-time.Hour), true},
		{"bad 192.0.2.7", noon, false}, // an hour is too long
	} {
		got := r.Read([]byte(c.line), noon)
		if got.Outcome != Matched || !got.Time.Equal(c.time) || got.Dated != c.dated {
			t.Errorf("%q: %+v, want %v, %t", c.line, got, c.time, c.dated)
		}
	}
}

func TestRulesSeeSeveralLines(t *testing.T) {
	for name, c := range map[string]struct {
		spec  string
		lines []string
		want  []string
	}{
		"two in a row": {
			"maxlines: 2\nfailregex: '^from <HOST>$\\n^bad$'",
			[]string{"from 192.0.2.7", "bad", "bad", "from 192.0.2.8", "x", "bad"},
			[]string{"-", "192.0.2.7 x2", "-", "-", "-", "-"},
		},
		"with others between them": {
			"maxlines: 5\nfailregex: '^(?P<id>\\d+) from <HOST>$<SKIPLINES>^(?P=id) bad$'",
			[]string{"1 from 192.0.2.7", "2 from 192.0.2.8", "3 x", "1 bad", "2 bad", "2 bad"},
			[]string{"-", "-", "-", "192.0.2.7 x2[id:1]", "192.0.2.8 x2[id:2]", "-"},
		},
		"no more than maxlines": {
			"maxlines: 2\nfailregex: '^from <HOST>$<SKIPLINES>^bad$'",
			[]string{"from 192.0.2.7", "x", "bad"},
			[]string{"-", "-", "-"},
		},
		"what matched is used up": {
			"maxlines: 3\nfailregex: '^from <HOST>$<SKIPLINES>^bad$'",
			[]string{"from 192.0.2.7", "bad", "bad"},
			[]string{"-", "192.0.2.7 x2", "-"},
		},
		"what is ignored is used up": {
			"maxlines: 3\nfailregex: '^from <HOST>$<SKIPLINES>^bad$'\nignoreregex: 'from 192.0.2.7'",
			[]string{"from 192.0.2.7", "bad", "bad", "from 192.0.2.8", "bad"},
			[]string{"-", "ignored", "-", "-", "192.0.2.8 x2"},
		},
		"prefregex leaves its content of the lines before": {
			"maxlines: 3\nprefregex: '^app: <F-CONTENT>.+</F-CONTENT>$'\nfailregex: '^bad <HOST>$'",
			[]string{"app: bad 192.0.2.7", "x", "app: bad 192.0.2.8"},
			[]string{"192.0.2.7 x1", "-", "-"},
		},
	} {
		if got := outcomes(t, c.spec, c.lines...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
}

func TestABufferIsBounded(t *testing.T) {
	b := buffer{most: 100}
	for i := range 1000 {
		b.add([]byte(strings.Repeat("x", i%5*20_000)))
		size := 0
		for _, line := range b.lines {
			size += len(line)
		}
		if len(b.lines) > 100 || size > mostBuffered {
			t.Fatalf("%d lines of %d bytes", len(b.lines), size)
		}
	}
	b.add([]byte(strings.Repeat("x", 2*mostBuffered)))
	if len(b.lines) != 1 {
		t.Errorf("%d lines, want the last one alone", len(b.lines))
	}
}

// A session is what lines with one <F-MLFID> say.
const sessionSpec = `prefregex: '^<F-MLFID>app\[\d+\]: </F-MLFID><F-CONTENT>.+</F-CONTENT>$'
failregex:
  - '^bad password for <F-USER>\w+</F-USER>(?: from <HOST>)?$'
  - '^<F-NOFAIL>hello</F-NOFAIL> from <HOST>$'
  - '^<F-MLFGAINED>welcome</F-MLFGAINED> <F-USER>\w+</F-USER>$'
  - '^<F-MLFFORGET>bye</F-MLFFORGET>(?: from <HOST>)?$'
  - '^<F-MLFFORGET><F-NOFAIL>closed</F-NOFAIL></F-MLFFORGET>$'
`

func TestLinesOfASessionMakeOneFailure(t *testing.T) {
	for name, c := range map[string]struct{ lines, want []string }{
		"the address comes first": {
			[]string{"app[1]: hello from 192.0.2.7", "app[1]: bad password for ann", "app[1]: bad password for ann"},
			[]string{"note", "192.0.2.7 x2[user:ann users:[ann]]", "192.0.2.7 x1[user:ann users:[ann]]"},
		},
		"the address comes last": {
			[]string{"app[1]: bad password for ann", "app[1]: bad password for ann", "app[1]: bye from 192.0.2.7", "app[1]: bye from 192.0.2.7"},
			[]string{"note", "note", "192.0.2.7 x3[user:ann users:[ann]]", "192.0.2.7 x1"},
		},
		"sessions are kept apart": {
			[]string{"app[1]: hello from 192.0.2.7", "app[2]: hello from 192.0.2.8", "app[1]: bad password for ann", "app[2]: bad password for bob"},
			[]string{"note", "note", "192.0.2.7 x2[user:ann users:[ann]]", "192.0.2.8 x2[user:bob users:[bob]]"},
		},
		"whoever gets in has not failed": {
			[]string{"app[1]: bad password for ann", "app[1]: welcome ann", "app[1]: hello from 192.0.2.7"},
			[]string{"note", "note", "note"},
		},
		"as somebody else he has": {
			[]string{"app[1]: hello from 192.0.2.7", "app[1]: bad password for ann", "app[1]: welcome bob"},
			[]string{"note", "192.0.2.7 x2[user:ann users:[ann]]", "192.0.2.7 x1[user:bob users:[ann bob]]"},
		},
		"what is forgotten comes not back": {
			[]string{"app[1]: hello from 192.0.2.7", "app[1]: closed", "app[1]: bad password for ann"},
			[]string{"note", "note", "note"},
		},
	} {
		if got := outcomes(t, sessionSpec, c.lines...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	f := build(t, "dialect: fail2ban\n"+sessionSpec)
	r := f.NewReader(time.UTC)
	r.Read([]byte("app[1]: hello from 192.0.2.7"), noon)
	if got := r.Read([]byte("app[1]: bad password for ann"), noon.Add(sessionLasts)); got.Outcome != Noted {
		t.Errorf("a session of long ago says who it was: %+v", got)
	}
}

// Neither a line that tells no failure nor a session that begins or ends with it costs an allocation.
func TestNotedLinesCostNoAllocation(t *testing.T) {
	r := build(t, "dialect: fail2ban\n"+sessionSpec).NewReader(time.UTC)
	var lines [][]byte
	for i := range 2 * mostSessions {
		for _, text := range []string{"hello from 192.0.2.7", "welcome ann", "what is no rule's", "closed"}[:2+i%3] {
			lines = append(lines, fmt.Appendf(nil, "app[%d]: %s", i, text))
		}
	}
	matched := 0
	read := func() {
		var result Result
		for _, line := range lines {
			if r.ReadInto(&result, line, noon); result.Outcome == Matched {
				matched++
			}
		}
	}
	read()
	if allocs := testing.AllocsPerRun(1, read); allocs != 0 || matched != 0 {
		t.Errorf("%d lines: %v allocations, %d matches", len(lines), allocs, matched)
	}
}

// However many sessions a client opens, and whatever he writes, they take no more than so much memory.
func TestSessionsAreBounded(t *testing.T) {
	var s sessions
	for i := range 5000 {
		user := strings.Repeat("u", i%7*3000) + fmt.Sprint(i)
		for j := range 3 {
			found := s.fresh()
			found.texts.set("user", fmt.Append(nil, user, j))
			s.merge(fmt.Append(nil, i%1500), found, 1, noon)
		}
		held := 0
		for element := range elements(&s.order) {
			if one := element.Value.(*session); one.size > 0 {
				held += one.size
			} else if one.failure != nil && one.failure.size() > mostKept {
				t.Fatalf("a session that is over holds %d bytes", one.failure.size())
			}
		}
		if s.order.Len() > mostSessions || len(s.index) > s.order.Len() || s.bytes != held || s.bytes > mostSessionBytes {
			t.Fatalf("%d sessions, %d in order, of %d bytes, %d by count", len(s.index), s.order.Len(), s.bytes, held)
		}
	}
	for s.oldest != nil {
		s.end(s.oldest)
	}
	if s.bytes != 0 || len(s.index) != 0 {
		t.Errorf("%d bytes and %d sessions are left of nothing", s.bytes, len(s.index))
	}
}

func elements(l *list.List) iter.Seq[*list.Element] {
	return func(yield func(*list.Element) bool) {
		for e := l.Front(); e != nil && yield(e); e = e.Next() {
		}
	}
}

// A regex that the backtracking engine cannot finish is told of, whatever else matches.
func TestWhatTakesTooLongIsTold(t *testing.T) {
	f := build(t, `dialect: fail2ban
failregex: ['^(a+)+\1b <HOST>$', '^a+cb <HOST>$']
`)
	hostile := []byte(strings.Repeat("a", 60) + "cb 192.0.2.7")
	r := f.NewReader(time.UTC)
	began := lab.ProcessTime(t)
	got := r.Read(hostile, noon)
	if got.Outcome != Matched || got.Rule != 1 || got.TimedOut != 1 || !reflect.DeepEqual(r.TimedOut(), []int{0}) {
		t.Errorf("%+v, late are %v", got, r.TimedOut())
	}
	if took := lab.ProcessTime(t) - began; took > 5*time.Second {
		t.Errorf("takes %v", took)
	}
	if got := r.Read([]byte("aaaab 192.0.2.7"), noon); got.Outcome != Matched || got.Rule != 0 || got.TimedOut != 0 {
		t.Errorf("a line that is none of its problems: %+v", got)
	}
}

func TestSamplesThatTakeTooLongFail(t *testing.T) {
	f := build(t, `failregex: [{ name: slow, trust: verified, regex: '^(?=a)(?P<x>a+)+(?P=x)b <HOST>$' }]
samples: [{ line: '`+strings.Repeat("a", 60)+`cb 192.0.2.7', host: none }]
`)
	failed := f.Check()
	if len(failed) != 1 || failed[0].Msg != "rule slow takes too long" {
		t.Errorf("%+v", failed)
	}
}

func TestBacktrackingRulesOfOurOwnDialect(t *testing.T) {
	for _, c := range []struct{ regex, line, want string }{
		{`^<PREFIX>bad (?!bot)<F-USER>\w+</F-USER> from <HOST>$`, "h app[1]: bad bob from 192.0.2.7", "192.0.2.7"},
		{`^<PREFIX>bad (?!bot)<F-USER>\w+</F-USER> from <HOST>$`, "h app[1]: bad bot from 192.0.2.7", "none"},
		{`^<PREFIX>bad (?P<q>['"])\w+(?P=q) from <HOST>$`, `bad "bob" from 192.0.2.7`, "192.0.2.7"},
		{`^<PREFIX>bad (?P<q>['"])\w+(?P=q) from <HOST>$`, `bad "bob' from 192.0.2.7`, "none"},
		{`^<PREFIX>bad \w+(?<!bot) from <HOST>$`, "bad bob from 2001:db8::7", "2001:db8::7"},
		{`^<PREFIX>bad (?!bot)\w+ from <HOST>$`, "bad ünï from 192.0.2.7", "none"}, // \w is ASCII, as without look-around
	} {
		if got := found(t, c.regex, c.line); got != c.want {
			t.Errorf("%s in %q: got %s, want %s", c.regex, c.line, got, c.want)
		}
	}
}

// FuzzFail2ban reads any lines with rules that keep what they find.
func FuzzFail2ban(f *testing.F) {
	f.Add("app[1]: hello from 192.0.2.7\napp[1]: bad password for ann\napp[1]: welcome ann\napp[1]: closed")
	f.Add("2026-11-09 10:00:00 1 from 192.0.2.7\nx\n1 bad\n\xff\n")
	sessions := build(f, "dialect: fail2ban\n"+sessionSpec)
	several := build(f, "dialect: fail2ban\nmaxlines: 4\nfailregex: ['^(?P<id>\\d+) from <HOST>$<SKIPLINES>^(?P=id) bad$', '<ADDR>.*\\n.*bad']\nignoreregex: worse\n")
	f.Fuzz(func(t *testing.T, log string) {
		if len(log) > 2000 {
			return
		}
		for _, filter := range []*Filter{sessions, several} {
			r := filter.NewReader(time.UTC)
			for line := range strings.SplitSeq(log, "\n") {
				got := r.Read([]byte(line), noon)
				if got.Outcome == Matched && got.Addr.IsValid() && !stands(got.Addr, []byte(log)) {
					t.Errorf("%q: %v is not in the log", log, got.Addr)
				}
				if got.Outcome == Matched && (got.ID() == "" || got.Attempts < 0 || got.Time.IsZero()) {
					t.Errorf("%q: %+v", log, got)
				}
				r.Groups()
			}
		}
	})
}
