package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"xdpban/jails/source"
)

// eachLine calls yield with every line of log, numbered from 1, without its end. Instead of
// one that the daemon would drop for its length comes nil. line is valid during the call.
func eachLine(log io.Reader, yield func(n int, line []byte) error) error {
	in := bufio.NewReaderSize(log, 4*source.MaxLine)
	for n := 1; ; n++ {
		var err error
		if n, err = buffered(in, n, yield); err != nil {
			return err
		}
		line, whole, err := nextLine(in)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read the log: %w", reason(err))
		}
		if !whole {
			line = nil
		}
		if err := yield(n, chop(line)); err != nil {
			return err
		}
	}
}

// buffered calls yield with the lines that in holds whole, numbered from n, and returns the number of the next.
func buffered(in *bufio.Reader, n int, yield func(n int, line []byte) error) (int, error) {
	block, _ := in.Peek(in.Buffered()) // which is there
	rest := block
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		if err := yield(n, chop(rest[:end])); err != nil {
			return n, err
		}
		rest = rest[end+1:]
		n++
	}
	_, err := in.Discard(len(block) - len(rest))
	return n, err
}

// nextLine reads a line with its end, which the last one may lack. whole is false if it is
// longer than the buffer. The error is io.EOF where no byte is left.
func nextLine(in *bufio.Reader) (line []byte, whole bool, err error) {
	whole = true
	read := 0
	for {
		line, err = in.ReadSlice('\n')
		read += len(line)
		if err == nil {
			return line, whole, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
		whole = false
	}
	if errors.Is(err, io.EOF) && read > 0 {
		err = nil
	}
	return line, whole, err
}

// chop takes the line end off. It is nil for a line that the daemon would drop for its length.
func chop(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) > source.MaxLine {
		return nil
	}
	return line
}
