package ban

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestListIsReadAsItIsWritten(t *testing.T) {
	var got List
	mistakes, err := got.Read("list", strings.NewReader("\n192.0.2.7  # at night\r\n# nobody\n\t198.51.100.77/24\n::ffff:192.0.2.8\n2001:db8::7"))
	want := List{
		Prefixes:  []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("2001:db8::7")},
	}
	if len(mistakes) != 0 || err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, %v; want %v", got, mistakes, err, want)
	}
	var again List
	if mistakes, err := again.Read("again", strings.NewReader(got.String())); len(mistakes) != 0 || err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("read again: %v, %v, %v", again, mistakes, err)
	}
}

func TestListNamesItsMistakes(t *testing.T) {
	var got List
	mistakes, err := got.Read("list", strings.NewReader("192.0.2.7\nlocalhost\n192.0.2.0/33\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "list:2: \"localhost\" is neither an address nor a prefix\nlist:3: \"192.0.2.0/33\" is neither an address nor a prefix"
	if text := errors.Join(mistakes...).Error(); text != want {
		t.Errorf("got %s\nwant %s", text, want)
	}
}
