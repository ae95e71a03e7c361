package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/internal/yamldoc"
	"xdpban/jails"
	"xdpban/jails/fail2ban"
)

// A staging writes a configuration aside, checks it there, and moves it to its place: all of
// it or nothing.
type staging struct {
	to    string // a directory, there or not
	files []fail2ban.File
	force bool // what is there may be replaced

	aside string // a directory beside to
	moved []string
}

func (s *staging) run() (err error) {
	if err := s.mayWrite(); err != nil {
		return err
	}
	if s.aside, err = os.MkdirTemp(filepath.Dir(s.to), ".xdpban-import-"); err != nil {
		return fmt.Errorf("write to %s: %w", s.to, reason(err))
	}
	defer os.RemoveAll(s.aside) //nolint:errcheck // there is nobody to tell, and nothing in it that matters
	if err := s.write(); err != nil {
		return fmt.Errorf("write to %s: %w", s.to, reason(err))
	}
	if err := s.check(); err != nil {
		return err
	}
	for _, file := range s.files {
		if err := s.move(file.Name); err != nil {
			s.undo()
			return fmt.Errorf("write %s: %w", filepath.Join(s.to, file.Name), reason(err))
		}
	}
	return nil
}

// mayWrite refuses to write over what is there, unless that is wanted.
func (s *staging) mayWrite() error {
	var there []string
	for _, file := range s.files {
		if _, err := os.Lstat(filepath.Join(s.to, file.Name)); err == nil {
			there = append(there, file.Name)
		}
	}
	if len(there) == 0 || s.force {
		return nil
	}
	more := ""
	if len(there) > 3 {
		there, more = there[:3], fmt.Sprintf(" and %d more", len(there)-3)
	}
	return &failure{1, fmt.Errorf("write to %s: there is %s%s already", s.to, strings.Join(there, ", "), more), "name another directory, or write over them with --force"}
}

// The directories of what is new and of what it replaces.
func (s *staging) fresh() string { return filepath.Join(s.aside, "new") }
func (s *staging) old() string   { return filepath.Join(s.aside, "old") }

func (s *staging) write() error {
	for _, file := range s.files {
		path := filepath.Join(s.fresh(), file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// check reads what was written as the daemon will, its samples apart.
func (s *staging) check() error {
	_, err := jails.Load(filepath.Join(s.fresh(), fail2ban.MainFile))
	var errs yamldoc.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			e.File = strings.Replace(e.File, s.fresh(), s.to, 1)
		}
	}
	return err
}

// move puts a file into its place, and aside what was there.
func (s *staging) move(name string) error {
	path := filepath.Join(s.to, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	kept := filepath.Join(s.old(), name)
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return err
	}
	if err := os.Rename(path, kept); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.moved = append(s.moved, name)
	return os.Rename(filepath.Join(s.fresh(), name), path)
}

// undo takes back what was moved. Directories that are empty then stay.
func (s *staging) undo() {
	for _, name := range slices.Backward(s.moved) {
		path := filepath.Join(s.to, name)
		if err := os.Rename(filepath.Join(s.old(), name), path); err != nil {
			os.Remove(path) //nolint:errcheck // it was not there before
		}
	}
}
