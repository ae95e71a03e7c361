package filter

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// alone is what each filter says of line; Missed is left out.
func alone(readers []*Reader, line string) []string {
	var all []string
	for i, r := range readers {
		if got := r.Read([]byte(line), noon); got.Outcome != Missed {
			all = append(all, fmt.Sprint(i, got))
		}
	}
	return all
}

func TestReadersTogetherSeeWhatTheySeeAlone(t *testing.T) {
	filters := shipped(t)
	for _, regexes := range [][]string{
		{`^bad (?!word).* from <HOST>$`, `from <HOST>$`},
		{`^<PREFIX>Failed password for .* from <HOST>`},
		{`^(?P<a>\w+) (?P=a) <HOST>$`},
	} {
		f, err := Inline("inline", regexes)
		if err != nil {
			t.Fatal(err)
		}
		filters = append(filters, f)
	}
	filters = append(filters, build(t, `
prefregex: '^<PREFIX>(?:Failed|Invalid) <F-CONTENT>.*</F-CONTENT>$'
failregex: [{ name: a, trust: verified, regex: 'from <HOST>' }]
`), build(t, `
dialect: fail2ban
failregex: ['Failed \S+ for .* from <HOST>']
`))
	readers, others := make([]*Reader, len(filters)), make([]*Reader, len(filters))
	for i, f := range filters {
		readers[i], others[i] = f.NewReader(time.UTC), f.NewReader(time.UTC)
	}
	together := Join(others)
	if together.machine == nil || !slices.Contains(together.joined, true) {
		t.Fatal("nobody has joined")
	}
	lines := []string{"", "bad day from 192.0.2.7", "bad word from 192.0.2.7", "Nov  9 18:47:21 h x: nothing", "a a 192.0.2.7"}
	for _, f := range filters {
		for _, sample := range f.samples() {
			lines = append(lines, sample.V.Line)
		}
	}
	for _, line := range lines {
		var got []string
		together.Read([]byte(line), noon, func(i int, result Result) {
			if result.Outcome != Missed {
				got = append(got, fmt.Sprint(i, result))
			}
		})
		if want := alone(readers, line); !slices.Equal(got, want) {
			t.Errorf("%q:\ngot  %v\nwant %v", line, got, want)
		}
	}
}

func TestOneReaderAloneJoinsNobody(t *testing.T) {
	f := load(t, "../../configs/filters/sshd.yaml", Normal)
	if together := Join([]*Reader{f.NewReader(time.UTC)}); together.machine != nil {
		t.Error("one reader looks twice")
	}
	if together := Join(nil); together.machine != nil {
		t.Error("nobody looks")
	}
	reader := f.NewReader(time.UTC)
	if n := testing.AllocsPerRun(3, func() { Join([]*Reader{reader}) }); n > 100 {
		t.Errorf("that takes %v allocations, as if an automaton were made", n)
	}
}

// A thousand logs of the same jails share one automaton.
func TestJointsAreMadeOnce(t *testing.T) {
	var joints Joints
	var readers []*Reader
	for _, name := range []string{"sshd", "asterisk"} {
		readers = append(readers, load(t, "../../configs/filters/"+name+".yaml", Normal).NewReader(time.UTC))
	}
	first := joints.Join(readers)
	if n := testing.AllocsPerRun(3, func() { joints.Join(readers) }); n > 100 {
		t.Errorf("the second log takes %v allocations, as if an automaton were made", n)
	}
	for range fewSets {
		joints.set([]string{fmt.Sprint(len(joints.sets))})
	}
	again := joints.Join(readers)
	if first.machine == nil || again.machine == nil || len(joints.sets) > fewSets {
		t.Errorf("%v and %v, of %d", first.machine, again.machine, len(joints.sets))
	}
	for range 2 {
		if joints.set([]string{"("}) != nil {
			t.Error("what is no regex has an automaton")
		}
	}
}

func TestLineThatAllMissCostsNoAllocation(t *testing.T) {
	var readers []*Reader
	for _, name := range []string{"sshd", "asterisk", "kamailio"} {
		readers = append(readers, load(t, "../../configs/filters/"+name+".yaml", Normal).NewReader(time.UTC))
	}
	together, lines := Join(readers), mixture("sshd", 0)
	seen := 0
	look := func() {
		for _, line := range lines {
			together.Read(line, noon, func(int, Result) { seen++ })
		}
	}
	if allocs := testing.AllocsPerRun(3, look); together.machine == nil || allocs != 0 || seen != 0 {
		t.Errorf("%v allocations, %d looks", allocs, seen)
	}
}

// BenchmarkTogether reads lines that miss with several filters, together and each alone.
func BenchmarkTogether(b *testing.B) {
	lines := mixture("sshd", 0)
	var readers []*Reader
	for _, f := range shipped(b) {
		r := f.NewReader(time.UTC)
		if _, joins := r.gate(); joins && len(readers) < 4 {
			readers = append(readers, r)
		}
	}
	together := Join(readers)
	joint, single := time.Hour, time.Hour
	for b.Loop() {
		joint = min(joint, cpuTime(func() {
			for _, line := range lines {
				together.Read(line, noon, func(int, Result) {})
			}
		}))
		single = min(single, cpuTime(func() {
			for _, line := range lines {
				for _, r := range readers {
					r.Read(line, noon)
				}
			}
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(readers)), "filters")
	b.ReportMetric(joint.Seconds()*1e9/float64(len(lines)), "ns/line")
	b.ReportMetric(single.Seconds()/joint.Seconds(), "x-rate-alone")
}
