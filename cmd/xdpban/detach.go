package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"xdpban/fallback"
	"xdpban/internal/control"
	"xdpban/internal/lock"
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
			err = detach(config)
			if errors.Is(err, lock.ErrHeld) {
				return &failure{75, errors.New("the daemon is running and would put everything back"), "systemctl stop xdpban, then detach"}
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "nothing of xdpban is left in the kernel; every ban has ended")
			return nil
		},
	}
}

// detach takes out what no daemon tends, by whichever of the three it would have it.
func detach(config *jails.Config) error {
	socket, err := control.Lock(config.Socket + ".lock")
	if err != nil {
		return err
	}
	defer socket.Close()
	pins, err := loader.Hold(config.Pin)
	if err != nil {
		return err
	}
	defer pins.Close()
	chain, err := fallback.Hold()
	if err != nil {
		return err
	}
	defer chain.Close()
	return errors.Join(loader.Remove(config.Pin), fallback.Remove())
}
