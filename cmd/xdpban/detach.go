package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"xdpban/fallback"
	"xdpban/internal/control"
	"xdpban/jails"
	"xdpban/loader"
)

func detachVerb(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "detach",
		Short:   "take everything out of the kernel: programs, maps and every ban",
		Long:    "Takes the kernel program off every interface and removes the pinned maps with every ban in them,\nand the chain OFFENDINGIPS of iptables with its sets.\nThe daemon must not be running.",
		Example: "  systemctl stop xdpban && xdpban detach",
		Args:    arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			config, err := jails.Load(p.configPath())
			if err != nil {
				return err
			}
			if p.socket != "" {
				config.Socket = p.socket
			}
			running := &failure{75, errors.New("the daemon is running and would put everything back"), "systemctl stop xdpban, then detach"}
			lock, err := control.Lock(config.Socket + ".lock")
			if errors.Is(err, control.ErrRunning) {
				return running
			}
			if err != nil {
				return err
			}
			defer lock.Close()
			pins, err := loader.Hold(config.Pin) // a daemon with another socket has it
			if errors.Is(err, loader.ErrHeld) {
				return running
			}
			if err != nil {
				return err
			}
			defer pins.Close()
			chain, err := fallback.Hold() // the same, with other pins
			if errors.Is(err, fallback.ErrHeld) {
				return running
			}
			if err != nil {
				return err
			}
			defer chain.Close()
			if err := errors.Join(loader.Remove(config.Pin), fallback.Remove()); err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "nothing of xdpban is left in the kernel; every ban has ended")
			return nil
		},
	}
}
