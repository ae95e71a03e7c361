package filter

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// What daemons write around text of the client's, which %s stands for; the peer is 192.0.2.7.
var quoting = map[string][]string{
	"sshd": {
		"Failed password for invalid user %s from 192.0.2.7 port 4242 ssh2",
		"Failed none for invalid user %s from 192.0.2.7 port 4242 ssh2",
		"Failed keyboard-interactive/pam for invalid user %s from 192.0.2.7 port 4242 ssh2",
		"Failed publickey for invalid user %s from 192.0.2.7 port 4242 ssh2: RSA SHA256:YWJj",
		"Failed publickey for bob from 192.0.2.7 port 4242 ssh2: RSA-CERT SHA256:YWJj ID %s (serial 7) CA RSA SHA256:ZGVm",
		"Failed publickey for invalid user %[1]s from 192.0.2.7 port 4242 ssh2: RSA-CERT SHA256:YWJj ID %[1]s (serial 7) CA RSA SHA256:ZGVm",
		"Failed hostbased for invalid user %[1]s from 192.0.2.7 port 4242 ssh2: RSA SHA256:YWJj, client user \"%[1]s\", client host \"%[1]s\"",
		"Accepted password for %s from 192.0.2.7 port 4242 ssh2",
		"Postponed keyboard-interactive for invalid user %s from 192.0.2.7 port 4242 ssh2 [preauth]",
		"maximum authentication attempts exceeded for invalid user %s from 192.0.2.7 port 4242 ssh2 [preauth]",
		"Invalid user %s from 192.0.2.7 port 4242",
		"Illegal user %s from 192.0.2.7",
		"input_userauth_request: invalid user %s [preauth]",
		"error: PAM: Authentication failure for illegal user %s from 192.0.2.7",
		"error: PAM: User not known to the underlying authentication module for illegal user %s from 192.0.2.7",
		"User %s from 192.0.2.7 not allowed because not listed in AllowUsers",
		"User %s from 192.0.2.7 not allowed because listed in DenyUsers",
		"User %s from 192.0.2.7 not allowed because none of user's groups are listed in AllowGroups",
		"User %[1]s not allowed because shell %[1]s does not exist",
		"Connection closed by invalid user %s 192.0.2.7 port 4242 [preauth]",
		"Disconnecting invalid user %s 192.0.2.7 port 4242: Too many authentication failures [preauth]",
		"Received disconnect from 192.0.2.7 port 4242:11: %s [preauth]",
		"Bad protocol version identification '%s' from 192.0.2.7 port 4242",
		"error: kex_exchange_identification: client sent invalid protocol identifier \"%s\"",
		"Unable to negotiate with 192.0.2.7 port 4242: no matching key exchange method found. Their offer: %s [preauth]",
		"authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=%s",
		"authentication failure; logname= uid=0 euid=0 tty=ssh ruser=%[1]s rhost=192.0.2.7  user=%[1]s",
		"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=%s",
		"refused connect from %s (192.0.2.7)",
		"refused connect from %s@client.example.org (192.0.2.7)",
		"Address 192.0.2.7 maps to %s, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!",
		"reverse mapping checking getaddrinfo for %s [192.0.2.7] failed - POSSIBLE BREAK-IN ATTEMPT!",
		"userauth_hostbased mismatch: client sends %s, but we resolve 192.0.2.7 to client.example.org",
		"subsystem request for %s by user bob",
	},
	"asterisk": {
		"NOTICE[12]: chan_sip.c:24331 in handle_request_register: Registration from '%s' failed for '192.0.2.7:5061' - No matching peer found",
		"NOTICE[12][C-0000002a]: chan_sip.c:24331 in handle_request_register: Registration from '%s' failed for '192.0.2.7:5061' - Wrong password",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_register: Registration from '%s' failed for '[2001:db8::7]:5061' - Username/auth name mismatch",
		"NOTICE[12] chan_sip.c: Registration from '%s' failed for '192.0.2.7' - Device does not match ACL",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_register: Registration from '%s' failed for '192.0.2.7:5061' - Not a local domain",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_register: Registration from '%s' failed for '192.0.2.7:5061' - Peer is not supposed to register",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_invite: Sending fake auth rejection for device %s",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_invite: Failed to authenticate device %s for INVITE, code = -1",
		"NOTICE[12]: chan_sip.c:24331 in check_auth: Bad authentication received from '%s'",
		"NOTICE[12]: chan_sip.c:24331 in check_auth: Correct auth, but based on stale nonce received from '%s'",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_invite: Call from '%[1]s' (192.0.2.7:5060) to extension '%[1]s' rejected because extension not found in context 'default'.",
		"NOTICE[12]: chan_sip.c:24331 in handle_request_subscribe: Received SIP subscribe for peer without mailbox: %s",
		"NOTICE[12]: chan_sip.c:24331 in handle_response_register: Outbound Registration: Expiry for %[1]s is 10 sec (Scheduling reregistration in 5 s) %[1]s",
		"NOTICE[12]: manager.c:2312 in authenticate: 192.0.2.7 failed to authenticate as '%s'",
		"NOTICE[12]: manager.c:2312 in authenticate: 192.0.2.7 tried to authenticate with nonexistent user '%s'",
		"NOTICE[12]: chan_iax2.c:8012 in register_verify: No registration for peer '%s' (from 192.0.2.7)",
		"NOTICE[12]: chan_iax2.c:8012 in register_verify: Host 192.0.2.7 failed MD5 authentication for '%[1]s' (0123 != %[1]s)",
		"NOTICE[12]: chan_iax2.c:8012 in socket_process: Rejected connect attempt from 192.0.2.7, request '%[1]s@%[1]s' does not exist",
		"WARNING[12]: chan_sip.c:24331 in parse_uri: %s",
		"NOTICE[12][C-0000002a]: Ext. %[1]s:1 in @ default: %[1]s",
	},
	"kamailio": {
		"WARNING: {1 %s x} pike [pike_funcs.c:135]: pike_check_ipaddr(): PIKE - BLOCKing ip 192.0.2.7, node=0x7f3c44987eb8",
		"WARNING: {1 1 INVITE %s} pike [pike_funcs.c:135]: pike_check_ipaddr(): PIKE - BLOCKing ip 192.0.2.7, node=0x7f3c44987eb8",
		"ALERT: {1 1 %[1]s x} <script>: ALERT: pike blocking %[1]s from %[1]s (IP:192.0.2.7:5060)",
		"ALERT: {1 1 INVITE %[1]s} <script>: ALERT: pike blocking INVITE from sip:%[1]s@x (IP:192.0.2.7:5060)",
		"ALERT: <script>: ALERT: pike blocking %[1]s from %[1]s (IP:192.0.2.7:5060)",
		"ALERT: {1 1 INVITE %[1]s} <script>: ALERT: agent %[1]s",
		"INFO: {1 %[1]s %[1]s} <script>: agent %[1]s of 192.0.2.7",
		"ERROR: {1 1 INVITE %[1]s} <core> [core/parser/msg_parser.c:337]: parse_headers(): bad header field [%[1]s]",
		"ERROR: {1 1 INVITE x} <core> [core/parser/parse_fline.c:271]: parse_first_line(): bad message: %s",
		"ERROR: <core> [core/parser/parse_fline.c:271]: parse_first_line(): bad message: %s",
		"WARNING: {1 1 INVITE %[1]s} pike [pike_funcs.c:315]: refresh_node(): PIKE - UNBLOCKing node %[1]s",
	},
}

// Headers of the lines above, which TAG stands for.
var headers = []string{
	"Nov  9 18:47:21 h TAG[1]: ",
	"<38>Nov  9 18:47:21 h TAG: ",
	"2026-11-09T18:47:21.5+01:00 h TAG[1]: ",
	"<38>1 2026-11-09T18:47:21Z h TAG 1 - - ",
	"[Nov  9 18:47:21] ",
	"",
}

// victim is who must never come out.
const victim = "203.0.113.9"

// forgeries are what a client might write: all samples of all filters, whole and from each of their
// words on, about victim, wrapped in what may make a parser lose its place.
func forgeries(t testing.TB) []string {
	t.Helper()
	about := strings.NewReplacer("192.0.2.7.example.org", victim, "192.0.2.7", victim, "::ffff:"+victim, victim,
		"2001:db8:0:0:0:0:0:7", victim, "2001:db8::7", victim, "198.51.100.23", victim)
	seen := make(map[string]bool)
	var texts []string
	add := func(text string) {
		if !seen[text] && len(text) < 400 {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	for _, f := range shipped(t) {
		for _, sample := range f.samples {
			line := about.Replace(sample.V.Line)
			for at := 0; at >= 0; {
				add(line[at:])
				next := strings.IndexAny(line[at+1:], " '{}()[]<:")
				if next < 0 {
					break
				}
				at += 1 + next
			}
		}
	}
	return texts
}

// wrappings are put around forgeries.
var wrappings = []string{
	"%s", "x%s", "x %s", "x' %s", "x\" %s", "x} %s", "x) %s", "x] %s", "x> %s", "\r%s", "\t%s\t", "\x1b[2K\r%s", "\\n%s", "#012%s",
	"\u0085%s", "\u2028%s", "\xff%s\xfe", "message repeated 3 times: [ %s]", " %s ", "%[1]s %[1]s", "\x00%s",
	"Nov  9 18:47:21 h sshd[1]: %s", "[2026-11-09 18:47:21] %s", "2026-11-09T18:47:21Z h kamailio[1]: %s",
}

// Every text in every place under every header makes tens of millions of lines. One in stride
// is tried; it shares no factor with their numbers, so that each of these comes up.
const stride = 211

func TestNoTextOfTheClientNamesAnother(t *testing.T) {
	texts := forgeries(t)
	for _, f := range shipped(t) {
		if len(quoting[f.Name]) == 0 {
			t.Errorf("%s: nobody says where its clients write", f.Name)
			continue
		}
		r := f.NewReader(time.UTC)
		all := len(quoting[f.Name]) * len(wrappings) * len(texts) * len(headers)
		step := stride
		if raced {
			step *= 20
		}
		for i := 0; i < all; i += step {
			line := forge(f.Name, texts, i)
			if got, ok := banned(f, r, line); ok && got != peer4 && got != peer6 {
				t.Fatalf("%v comes out of\n%q", got, line)
			}
		}
	}
}

// A line that was cut where the client wants shows that the texts are good enough to be believed.
func TestForgeriesWorkWhereALineIsCut(t *testing.T) {
	for _, f := range shipped(t) {
		r := f.NewReader(time.UTC)
		cut := map[string]string{
			"sshd":     "Failed password for invalid user %s",
			"asterisk": "NOTICE[12]: chan_sip.c:24331 in handle_request_register: Registration from '%s",
			"kamailio": "ALERT: {1 1 INVITE %s",
		}[f.Name]
		found := 0
		for _, text := range forgeries(t) {
			if got, ok := banned(f, r, fmt.Sprintf(cut, "x"+text)); ok && got == netip.MustParseAddr(victim) {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%s: no forgery works on a line that is cut", f.Name)
		}
	}
}

var peer4, peer6 = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")

// forge is one of all lines that can be made of texts.
func forge(daemon string, texts []string, i int) string {
	next := func(n int) int {
		at := i % n
		i /= n
		return at
	}
	header := strings.ReplaceAll(headers[next(len(headers))], "TAG", daemon)
	text := texts[next(len(texts))]
	wrapped := fmt.Sprintf(wrappings[next(len(wrappings))], text)
	return header + fmt.Sprintf(quoting[daemon][next(len(quoting[daemon]))], wrapped)
}

// banned is whom f has banned for line without being told to believe what clients write.
func banned(f *Filter, r *Reader, line string) (netip.Addr, bool) {
	got := r.Read([]byte(line), noon)
	ok := got.Outcome == Matched && got.Addr.IsValid() && f.rules[got.Rule].Trust != Untrusted
	return got.Addr, ok
}
