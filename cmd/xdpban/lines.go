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
		line, whole, err := nextLine(in)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read the log: %w", reason(err))
		}
		if line = chop(line); !whole || len(line) > source.MaxLine {
			line = nil
		}
		if err := yield(n, line); err != nil {
			return err
		}
	}
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

// chop takes the line end off.
func chop(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
