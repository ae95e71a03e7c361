// Package daemon owns enforcement: one loop on which alone bans and interfaces change.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/internal/lock"
	"xdpban/jails"
	"xdpban/loader"
)

// sweepEvery is how often bans are looked through for those that have ended.
const sweepEvery = time.Second

// surveyEvery is how often the host is looked at though it gave no news: those can be lost.
const surveyEvery = 30 * time.Second

// batch is how many bans reach the kernel together, if so many wait: some 2 ms, for which
// whatever else the loop has to do waits.
const batch = 1024

// Options are what a daemon needs beside its configuration.
type Options struct {
	Version string
	Config  string                        // what status calls the configuration
	Load    func() (*jails.Config, error) // reads the configuration again, for a reload
	Log     *Log
}

// A Daemon finds attackers in logs and keeps them out.
type Daemon struct {
	Options
	log    *slog.Logger
	server *control.Server
	pins   *os.File // the directory of pins, held; nil: there is none
	since  time.Time

	found     chan jails.Found // from the goroutines of the logs
	calls     chan func()      // from those of the API
	changed   chan struct{}    // from the kernel: the host looks different
	rewritten chan struct{}    // from the kernel: somebody changed its packet filter
	again     chan struct{}    // from the loop itself: the sweep has not done
	reloading sync.Mutex       // one reload after the other
	comparing sync.Mutex       // one comparison after the other
	lists     sync.Mutex       // one long list of an operator after the other
	swollen   atomic.Bool      // a long list has been here: it leaves memory that nobody needs

	// What follows belongs to the loop.
	config   *jails.Config
	jails    *jails.Jails
	enforcer enforcer
	bans     *ban.Account             // in force; the enforcer keeps it
	list     *plan                    // the long list of an operator that is being done; nil: none
	refused  map[netip.Prefix]ban.Ban // found, and not taken by the kernel
	givenUp  uint64                   // refused, and too many to try again
	over     end                      // what the sweep has found so far
	allowed  *ban.Set
	attached map[string]attachment
	faults   faults
	banned   map[string]uint64 // by jail, since the start
	spared   map[string]spared // the same
	missing  uint64
	repairs  repairs
}

// spared are failures of sources that are never banned.
type spared struct {
	failures uint64
	by       map[netip.Prefix]bool // entries of the allow list that have been told of
}

// New takes the socket, loads the kernel program, attaches it and adopts the bans that an
// earlier daemon left in force. Errors: lock.ErrHeld, os.ErrPermission, ErrNowhere.
func New(config *jails.Config, options Options) (*Daemon, error) {
	d := &Daemon{
		Options:   options,
		log:       options.Log.Logger,
		since:     time.Now(),
		found:     make(chan jails.Found, batch),
		calls:     make(chan func()),
		changed:   make(chan struct{}, 1),
		rewritten: make(chan struct{}, 1),
		again:     make(chan struct{}, 1),
		config:    config,
		allowed:   new(ban.Set),
		attached:  make(map[string]attachment),
		banned:    make(map[string]uint64),
		spared:    make(map[string]spared),
	}
	d.faults.log = d.log
	server, err := control.Listen(config.Socket)
	if err != nil {
		return nil, err
	}
	d.server = server
	if err := d.enforce(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// enforce brings into force what there is before the first line of log.
func (d *Daemon) enforce() (err error) {
	if err := d.hold(); err != nil {
		return err
	}
	if d.enforcer, err = openEnforcer(d.config, d.log); err != nil {
		return err
	}
	if err := d.hold(); err != nil { // where the directory is new
		return err
	}
	d.bans = d.enforcer.Account()
	if n := d.bans.Len(); n > 0 {
		d.log.Info("adopted bans", "count", n)
	}
	if err := d.adopt(); err != nil {
		return err
	}
	if d.jails, err = jails.New(d.config, d.hear, d.log); err != nil {
		return err
	}
	d.survey() // may end bans, which the jails hear of
	return d.nowhere()
}

// hold takes what is pinned: a daemon with another socket may tend it, and two would undo each
// other's work.
func (d *Daemon) hold() (err error) {
	if d.pins != nil || d.config.Enforce == jails.Observe {
		return nil
	}
	d.pins, err = loader.Hold(d.config.Pin)
	if errors.Is(err, lock.ErrHeld) {
		return err
	}
	return nil // who opens it next says what else is wrong with it
}

// hear takes a finding to the loop. It waits while the loop is behind, and the log with it.
func (d *Daemon) hear(f jails.Found) { d.found <- f }

// Run follows the logs and answers the socket until ctx ends. Bans stay in force after it.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	var running sync.WaitGroup
	failed := make(chan error, 2)
	running.Go(func() { watchHost(ctx, d.changed) })
	running.Go(func() { watchFilter(ctx, d.rewritten) })
	running.Go(func() { failed <- d.jails.Run(ctx) })
	running.Go(func() { failed <- d.server.Serve(ctx, service{d}, d.log) })
	running.Go(func() { d.reconcileInTime(ctx) })

	d.log.Info("started", "version", d.Version, "config", d.Config, "enforce", d.config.Enforce.String(), "bans", d.bans.Len())
	err := d.loop(ctx, failed)
	stop()
	d.drain(&running)
	d.log.Info("stopped; bans stay in force", "bans", d.bans.Len())
	return err
}

func (d *Daemon) loop(ctx context.Context, failed <-chan error) error {
	sweep, survey := time.NewTicker(sweepEvery), time.NewTicker(surveyEvery)
	defer sweep.Stop()
	defer survey.Stop()
	for {
		select { // what the logs found waits for one other thing at most
		case f := <-d.found:
			d.banFound(f)
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case f := <-d.found:
			d.banFound(f)
		case call := <-d.calls:
			call()
		case <-d.changed:
			d.survey()
		case <-survey.C:
			d.survey()
		case <-d.rewritten:
			d.mend(true)
		case <-d.again:
			d.sweep()
		case <-sweep.C:
			d.sweep()
			d.mend(false)
		}
	}
}

// drain takes what is still on its way, so that nobody waits for the loop, and bans it.
func (d *Daemon) drain(running *sync.WaitGroup) {
	gone := make(chan struct{})
	go func() {
		running.Wait()
		close(gone)
	}()
	for {
		select {
		case f := <-d.found:
			d.banFound(f)
		case call := <-d.calls:
			call()
		case <-gone:
			return
		}
	}
}

// close gives back the socket and the handles on the kernel, where everything stays in force.
func (d *Daemon) close() {
	if d.enforcer != nil {
		if err := d.enforcer.Close(); err != nil {
			d.log.Warn("close the enforcement", "error", err)
		}
	}
	if d.pins != nil {
		d.pins.Close()
	}
	d.server.Close()
}

// Reload reads the configuration again and runs it. On an error everything stays as it was.
func (d *Daemon) Reload(ctx context.Context) (control.ReloadReply, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	config, err := d.Load()
	if err != nil {
		return control.ReloadReply{}, unchanged(err)
	}
	return ask(ctx, d, func() (control.ReloadReply, error) { return d.reload(config) })
}

func (d *Daemon) reload(config *jails.Config) (control.ReloadReply, error) {
	if key := fixed(d.config, config); key != "" {
		return control.ReloadReply{}, &control.Error{Kind: control.BadSetup,
			Text: fmt.Sprintf("%s changed, which takes a restart; the running configuration stays", key),
			Hint: "restart the daemon: bans stay in force meanwhile"}
	}
	if err := d.openLog(config); err != nil {
		return control.ReloadReply{}, unchanged(err)
	}
	if err := d.jails.Reload(config); err != nil {
		return control.ReloadReply{}, unchanged(errors.Join(err, d.openLog(d.config)))
	}
	d.config = config
	d.detachUnselected()
	d.faults.keepInterfaces(config.Interfaces)
	d.survey()
	reply := control.ReloadReply{Config: d.Config, Jails: []string{}}
	for _, j := range config.Jails {
		if j.Enabled {
			reply.Jails = append(reply.Jails, j.Name)
		}
	}
	d.log.Info("reloaded", "config", d.Config, "jails", len(reply.Jails))
	return reply, nil
}

// unchanged is why a reload was refused.
func unchanged(err error) error {
	return &control.Error{Kind: control.BadSetup, Text: err.Error(), Hint: "the running configuration stays"}
}

// openLog opens the log that next names. Where it is the same as before and cannot be had,
// as syslog in a container, it stays where it is.
func (d *Daemon) openLog(next *jails.Config) error {
	err := d.Log.Open(next.Logtarget, next.Loglevel)
	if err == nil || next.Logtarget != d.config.Logtarget {
		return err
	}
	d.Log.level.Set(next.Loglevel)
	d.log.Warn("the log stays where it is", "error", err)
	return nil
}

// fixed names a key that may not change while the daemon runs and does, or nothing.
func fixed(old, next *jails.Config) string {
	switch {
	case old.Socket != next.Socket:
		return "socket"
	case old.Pin != next.Pin:
		return "pin"
	case old.Enforce != next.Enforce:
		return "enforce"
	case old.Forward != next.Forward:
		return "forward"
	case old.LogBack != next.LogBack:
		return "logback"
	case old.IPv6Prefix != next.IPv6Prefix:
		return "ipv6_prefix"
	case old.MaxBans != next.MaxBans:
		return "maxbans"
	case old.MaxPrefixes != next.MaxPrefixes:
		return "maxprefixes"
	case old.MaxAllowed != next.MaxAllowed:
		return "maxallowed"
	case old.MaxLine != next.MaxLine:
		return "maxline"
	case old.MaxLag != next.MaxLag:
		return "maxlag"
	}
	return ""
}

// ask has the loop do something and waits for what comes of it.
func ask[Reply any](ctx context.Context, d *Daemon, do func() (Reply, error)) (Reply, error) {
	type outcome struct {
		reply Reply
		err   error
	}
	done := make(chan outcome, 1)
	call := func() {
		reply, err := do()
		done <- outcome{reply, err}
	}
	if err := ctx.Err(); err != nil {
		return *new(Reply), err
	}
	select {
	case d.calls <- call:
	case <-ctx.Done():
		return *new(Reply), ctx.Err()
	}
	o := <-done
	return o.reply, o.err
}

// turn has the loop do something.
func (d *Daemon) turn(ctx context.Context, do func() error) error {
	_, err := ask(ctx, d, func() (struct{}, error) { return struct{}{}, do() })
	return err
}
