package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxWindow is how much of what it has unpacked an unpacker may keep, and so about what it
// takes of memory: what xz -9 and zstd --long ask for, and twice that.
const maxWindow = 128 << 20

// A packing is a way of packing logs, known by the bytes that it begins with.
type packing struct {
	name   string
	magic  string
	unpack func(*bufio.Reader) (io.Reader, error)
}

var packings = []packing{
	{"gzip", "\x1f\x8b\x08", func(r *bufio.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"xz", "\xfd7zXZ\x00", newXZ},
	{"zstd", "\x28\xb5\x2f\xfd", newZstd},
}

// unpacked is log as it was before logrotate, or anybody, packed it: with gzip, xz or zstd. A log
// that is not packed is read as it is. What is there of a broken one is read before the error comes.
func unpacked(log io.ReadCloser) (io.ReadCloser, error) {
	if file, ok := log.(*os.File); ok && !isPacked(file) {
		return log, nil // as a file, of which the size is known
	}
	in := bufio.NewReaderSize(log, 64<<10)
	for _, packing := range packings {
		if begin, _ := in.Peek(len(packing.magic)); string(begin) != packing.magic {
			continue
		}
		from, err := packing.unpack(in)
		if err != nil {
			log.Close()
			return nil, packing.explain(err)
		}
		return &unpacker{packing, from, log}, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{in, log}, nil
}

// isPacked reports whether file begins as packed ones do, or cannot be looked at without
// reading it: a pipe.
func isPacked(file *os.File) bool {
	begin := make([]byte, 8)
	n, err := file.ReadAt(begin, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	for _, packing := range packings {
		if bytes.HasPrefix(begin[:n], []byte(packing.magic)) {
			return true
		}
	}
	return false
}

// An unpacker reads a packed log.
type unpacker struct {
	packing packing
	from    io.Reader
	packed  io.Closer
}

func (u *unpacker) Read(to []byte) (int, error) {
	n, err := u.from.Read(to)
	if err != nil && !errors.Is(err, io.EOF) {
		err = u.packing.explain(err)
	}
	return n, err
}

func (u *unpacker) Close() error {
	if decoder, ok := u.from.(*zstd.Decoder); ok {
		decoder.Close()
	}
	return u.packed.Close()
}

// explain says what is wrong with a packed log.
func (p packing) explain(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("unpack %s: the end is missing", p.name)
	}
	return fmt.Errorf("unpack %s: %w", p.name, err)
}

func newZstd(r *bufio.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

func newXZ(r *bufio.Reader) (io.Reader, error) {
	if window := windowOfXZ(r); window > maxWindow {
		return nil, fmt.Errorf("it takes %s of memory, more than %s", size(window), size(maxWindow))
	}
	return xz.NewReader(r)
}

// windowOfXZ is what the first block of an xz file says about its dictionary, in bytes; 0: nothing. See
// section 3.1 and 5.3.1 of The .xz File Format, version 1.2.1.
func windowOfXZ(r *bufio.Reader) uint64 {
	const streamHeader = 12
	begin, _ := r.Peek(streamHeader + 64)
	if len(begin) < streamHeader+2 {
		return 0
	}
	flags, rest := begin[streamHeader+1], begin[streamHeader+2:]
	for _, sized := range []byte{0x40, 0x80} {
		if flags&sized != 0 {
			rest = skipVarint(rest)
		}
	}
	const lzma2 = 0x21
	if len(rest) < 3 || rest[0] != lzma2 || rest[1] != 1 || rest[2] > 40 {
		return 0
	}
	return (2 | uint64(rest[2]&1)) << (rest[2]/2 + 11)
}

// skipVarint is text behind a number of which each byte but the last has its high bit set.
func skipVarint(text []byte) []byte {
	for i, b := range text {
		if b < 0x80 {
			return text[i+1:]
		}
	}
	return nil
}
