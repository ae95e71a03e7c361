package main

import (
	"context"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"xdpban/internal/daemon"
	"xdpban/jails"
)

func runVerb(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		Short:   "the daemon, in the foreground",
		Long:    "Follows the logs, bans what the jails find and answers the socket, until SIGTERM. Bans stay in force after it.\nSIGHUP reloads the configuration and opens the log anew.",
		Example: "  xdpban run -c /etc/xdpban/xdpban.yaml",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			hangups := make(chan os.Signal, 1) // from here on: one that comes early must not end the daemon
			signal.Notify(hangups, unix.SIGHUP)
			defer signal.Stop(hangups)
			signal.Ignore(unix.SIGPIPE) // whoever has our log in a pipe may leave
			path := p.configPath()
			load := func() (*jails.Config, error) {
				config, err := jails.Load(path)
				if err == nil && p.socket != "" {
					config.Socket = p.socket
				}
				return config, err
			}
			config, err := load()
			if err != nil {
				return err
			}
			log := daemon.NewLog()
			openLog(log, config)
			defer log.Close()
			d, err := daemon.New(config, daemon.Options{Version: version, Config: configName(path), Load: load, Log: log})
			if err != nil {
				return err
			}
			return serve(c.Context(), d, log, hangups)
		},
	}
}

// openLog opens the log that config names. Where that cannot be had, as syslog in a
// container, the daemon is worth more than its log: it goes to stderr.
func openLog(log *daemon.Log, config *jails.Config) {
	if err := log.Open(config.Logtarget, config.Loglevel); err != nil {
		log.Warn("logging to stderr instead", "error", err)
		log.Open("STDERR", config.Loglevel) //nolint:errcheck // stderr is open
	}
}

// serve runs d until SIGTERM or SIGINT, and reloads it at each of hangups.
func serve(ctx context.Context, d *daemon.Daemon, log *daemon.Log, hangups <-chan os.Signal) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()

	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-hangups:
			reload(ctx, d, log)
		}
	}
}

// reload says what is wrong a line each: a configuration may have many mistakes.
func reload(ctx context.Context, d *daemon.Daemon, log *daemon.Log) {
	_, err := d.Reload(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	for mistake := range strings.Lines(err.Error()) {
		log.Error("reload refused; the running configuration stays", "error", strings.TrimSpace(mistake))
	}
}
