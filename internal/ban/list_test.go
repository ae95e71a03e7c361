package ban

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// written is l as text, an address without a length.
func written(l *List) (texts []string) {
	for i := range l.Len() {
		prefix, address := l.At(i)
		if address {
			texts = append(texts, prefix.Addr().String())
		} else {
			texts = append(texts, prefix.String())
		}
	}
	return texts
}

func TestListIsReadAsItIsWritten(t *testing.T) {
	var got List
	mistakes, err := got.Read("list", strings.NewReader("\n192.0.2.7  # at night\r\n# nobody\n\t198.51.100.77/24\n::ffff:192.0.2.8\n2001:db8::7"), 4)
	want := []string{"192.0.2.7", "198.51.100.0/24", "192.0.2.8", "2001:db8::7"}
	if mistakes.Err() != nil || err != nil || !slices.Equal(written(&got), want) {
		t.Errorf("got %v, %v, %v; want %v", written(&got), mistakes, err, want)
	}
}

func TestListMayBeginWithAByteOrderMark(t *testing.T) {
	const mark = "\ufeff"
	var got List
	mistakes, err := got.Read("list", strings.NewReader(mark+"192.0.2.7\n"+mark+"192.0.2.8\n"), 4)
	want := "list:2: \"\\ufeff192.0.2.8\" is neither an address nor a prefix"
	if err != nil || !slices.Equal(written(&got), []string{"192.0.2.7"}) || mistakes.Err() == nil || mistakes.Err().Error() != want {
		t.Errorf("got %v, %v, %v; want %s", written(&got), mistakes.Err(), err, want)
	}
}

func TestListNamesItsMistakes(t *testing.T) {
	long := strings.Repeat("1", 2000)
	for _, test := range []struct{ name, text, want string }{
		{"two", "192.0.2.7\nlocalhost\n192.0.2.0/33 # wide\n", "list:2: \"localhost\" is neither an address nor a prefix\nlist:3: \"192.0.2.0/33\" is neither an address nor a prefix"},
		{"binary", "\x1b[2J\xff\n", `list:1: "\x1b[2J\xff" is neither an address nor a prefix`},
		{"a long line", long, `list:1: "` + long[:60] + `..." is neither an address nor a prefix`},
		{"a zone", "fe80::1%eth0", `list:1: "fe80::1%eth0" has a zone, which no packet carries`},
		{"many", strings.Repeat("x\n", 1000), numbered(1, 10) + "and 990 more"},
	} {
		var got List
		mistakes, err := got.Read("list", strings.NewReader(test.text), 3)
		if err != nil || mistakes.Err() == nil || mistakes.Err().Error() != test.want {
			t.Errorf("%s: got %v, %v\nwant %s", test.name, mistakes.Err(), err, test.want)
		}
	}
}

func numbered(from, to int) string {
	text := new(strings.Builder)
	for n := from; n <= to; n++ {
		fmt.Fprintf(text, "list:%d: \"x\" is neither an address nor a prefix\n", n)
	}
	return text.String()
}

func TestListThatIsNotReadToItsEnd(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a line without end", "192.0.2.7\n" + strings.Repeat("1", 1<<20), "line 2: bufio.Scanner: token too long"},
		{"more than anybody bans", "::\n# nobody\n::\n::\n::\n", "line 5: more than 3 entries at a time"},
	} {
		var got List
		if _, err := got.Read("list", strings.NewReader(test.text), 3); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

// A list longer than a block is what was added, in order.
func TestLongList(t *testing.T) {
	var got List
	addr := netip.MustParseAddr("10.0.0.0")
	for range 3*listBlock + 7 {
		if err := got.Add(addr.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		addr = addr.Next()
	}
	addr = netip.MustParseAddr("10.0.0.0")
	for i := range got.Len() {
		if prefix, address := got.At(i); prefix != Single(addr) || !address {
			t.Fatalf("entry %d is %v", i, prefix)
		}
		got.Replace(i, Single(addr))
		addr = addr.Next()
	}
	last := netip.PrefixFrom(addr, 32)
	for s := range got.All {
		last = s.Prefix()
	}
	if prefix, address := got.At(got.Len() - 1); address || prefix != last || last.Addr().Next() != addr {
		t.Errorf("the last is %v, and %v once replaced", prefix, last)
	}
}

func TestListLeavesTheFirstOfWhatComesTwice(t *testing.T) {
	var got List
	for _, text := range []string{"192.0.2.7", "198.51.100.0/24", "192.0.2.7", "192.0.2.7/32", "2001:db8::7", "198.51.100.77/24"} {
		if err := got.Add([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	got.Once()
	if want := []string{"192.0.2.7", "198.51.100.0/24", "192.0.2.7/32", "2001:db8::7"}; !slices.Equal(written(&got), want) {
		t.Errorf("got %v, want %v", written(&got), want)
	}
}

// A list of several blocks is each of its prefixes once when it is arranged, and goes on from there.
func TestLongListIsArranged(t *testing.T) {
	const many = 2*listBlock + 7
	var got List
	for range 3 {
		addr := netip.MustParseAddr("10.0.0.0")
		for range many {
			got.AddPrefix(Single(addr))
			addr = addr.Next()
		}
	}
	NewAccount().Arrange(&got)
	got.AddPrefix(netip.MustParsePrefix("192.0.2.0/24"))
	seen := make(map[netip.Prefix]int)
	for i := range got.Len() {
		prefix, _ := got.At(i)
		seen[prefix]++
	}
	if got.Len() != many+1 || len(seen) != many+1 {
		t.Errorf("%d entries, %d of them different, want %d", got.Len(), len(seen), many+1)
	}
}

// FuzzAdd has what lists take be what netip takes.
func FuzzAdd(f *testing.F) {
	for _, text := range []string{"192.0.2.7", "0.0.0.0", "255.255.255.255", "256.1.1.1", "01.2.3.4", "1.2.3", "1.2.3.4.5", "1..2.3", ".1.2.3", "1.2.3.", "192.0.2.0/24", "::ffff:192.0.2.7", "2001:db8::/32", "fe80::1%eth0", "::ffff:1.2.3.4/95", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l List
		err := l.Add([]byte(text))
		want, wrong := ParsePrefix(text)
		if (err == nil) != (wrong == nil) {
			if len(text) > 60 && err != nil { // such an IPv6 address has more zeros than it may
				return
			}
			t.Fatalf("%q: %v, ParsePrefix %v", text, err, wrong)
		}
		if err != nil {
			return
		}
		if got, address := l.At(0); got != want || address == strings.Contains(text, "/") {
			t.Fatalf("%q: got %v, %v, want %v", text, got, address, want)
		}
	})
}
