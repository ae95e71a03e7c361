package control

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// The requests that bring a list have it as their body, which nobody has to quote, and the rest
// as parameters.

func (r *BanRequest) listPath() string {
	query := url.Values{"name": {r.Name}, "jail": {r.Jail}, "reason": {r.Reason}}
	query.Set("seconds", strconv.FormatInt(r.Seconds, 10))
	query.Set("force", strconv.FormatBool(r.Force))
	for _, addr := range r.Spare {
		query.Add("spare", addr.String())
	}
	return "/v1/bans/list?" + query.Encode()
}

func (r *UnbanRequest) listPath() string {
	return "/v1/bans/list?" + url.Values{"name": {r.Name}}.Encode()
}

// listBody is list and, behind it, so that its lines keep their numbers, what else is named.
func listBody(list io.Reader, prefixes []netip.Prefix, addresses []netip.Addr) io.Reader {
	if len(prefixes)+len(addresses) == 0 {
		return list
	}
	more := []byte{'\n'}
	for _, prefix := range prefixes {
		more = append(prefix.AppendTo(more), '\n')
	}
	for _, addr := range addresses {
		more = append(addr.AppendTo(more), '\n')
	}
	return io.MultiReader(list, bytes.NewReader(more))
}

// banList is the request that has these parameters beside its list.
func banList(query url.Values, list io.Reader) (r BanRequest, err error) {
	r.List, r.Name = list, "list"
	for key, values := range query {
		value := values[len(values)-1]
		switch key {
		case "name":
			r.Name = value
		case "jail":
			r.Jail = value
		case "reason":
			r.Reason = value
		case "seconds":
			r.Seconds, err = strconv.ParseInt(value, 10, 64)
		case "force":
			r.Force, err = strconv.ParseBool(value)
		case "spare":
			r.Spare, err = parseAddrs(values)
		default:
			err = fmt.Errorf("there is no such parameter")
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", key, err)
		}
	}
	return r, nil
}

// unbanList is the same to end bans.
func unbanList(query url.Values, list io.Reader) (UnbanRequest, error) {
	r := UnbanRequest{List: list, Name: "list"}
	for key, values := range query {
		if key != "name" {
			return r, fmt.Errorf("%s: there is no such parameter", key)
		}
		r.Name = values[len(values)-1]
	}
	return r, nil
}

func parseAddrs(texts []string) ([]netip.Addr, error) {
	addrs := make([]netip.Addr, len(texts))
	for i, text := range texts {
		var err error
		if addrs[i], err = netip.ParseAddr(text); err != nil {
			return nil, err
		}
	}
	return addrs, nil
}

// changeList does what a request with a list asks for. So many are read at one time as reading
// has room for; the others wait. An answer is sent when the body has been read to its end: who
// still writes would not hear it.
func changeList[Request, Reply any](reading chan struct{}, read func(url.Values, io.Reader) (Request, error), do func(context.Context, Request) (Reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := bodyOf(w, r, ListBytes)
		query, err := url.ParseQuery(r.URL.RawQuery)
		request, mistake := read(query, body)
		if err == nil {
			err = mistake
		}
		if err != nil {
			drain(body)
			answer(w, http.StatusBadRequest, &Error{Kind: Usage, Text: "read the request: " + err.Error()})
			return
		}
		select {
		case reading <- struct{}{}:
			defer func() { <-reading }()
		case <-r.Context().Done():
			return
		}
		reply, err := do(r.Context(), request)
		drain(body)
		conclude(w, reply, err)
	}
}

// drain reads what is left of body.
func drain(body io.Reader) { io.Copy(io.Discard, body) } //nolint:errcheck // who sends too much hears of that
