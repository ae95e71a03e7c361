# xdpban: make help

PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export CGO_ENABLED ?= 0

PACKAGES_TEST = fail2ban openssh-server openssh-client sshpass kamailio sip-tester gcc libc6-dev iptables ipset conntrack nftables ufw
PACKAGES_BENCH = fail2ban python3-pyinotify sshguard grep time xdp-tools ipset nftables iptables iproute2 ethtool
PACKAGES_DEMO = kamailio sip-tester
PACKAGES_KERNELS = qemu-system-x86 busybox-static cpio conntrack iptables ipset nftables bc bison flex gcc libc6-dev libelf-dev make xz-utils
PACKAGES_LINT = clang-14 clang llvm clang-format libbpf-dev linux-libc-dev

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/xdpban, static; needs Go alone
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/xdpban ./cmd/xdpban

.PHONY: generate
generate: ## the kernel objects from bpf/; needs clang 14
	go generate ./loader

.PHONY: demo
demo: build ## the whole story on real traffic, in namespaces of its own; needs root
	@.ci/install $(PACKAGES_DEMO) || echo 'going on without them'
	bin/xdpban demo

.PHONY: test
test: ## everything, kernel tests included; needs root
	.ci/install $(PACKAGES_TEST)
	go mod download # tests run where there is no network
	REQUIRE_KERNEL=1 XDPBAN_MAKE_TEST=1 go test -count=1 -timeout 20m ./...
	CGO_ENABLED=1 REQUIRE_KERNEL=1 go test -count=1 -timeout 20m -race ./internal/control ./internal/daemon ./jails ./jails/source

.PHONY: test-kernels
test-kernels: ## the story of every rung on older kernels, in QEMU; KERNELS=bookworm: that one; an hour where there is no KVM; needs root
	.ci/install $(PACKAGES_KERNELS)
	.ci/kernels $(KERNELS)

.PHONY: fuzz
fuzz: ## every fuzz target, one after the other; FUZZTIME=4m each
	.ci/fuzz $(FUZZTIME)

.PHONY: soak
soak: ## one daemon and all that may happen to it, for an hour; SOAK=24h: a day; needs root
	.ci/install $(PACKAGES_TEST)
	go mod download
	REQUIRE_KERNEL=1 go test -count=1 -timeout 0 -v -run TestEverythingAtOnce ./internal/daemon -soak $(or $(SOAK),1h)

.PHONY: lint
lint: ## format, vet, staticcheck, known vulnerabilities, kernel objects, arrows between rooms
	.ci/install $(PACKAGES_LINT)
	@unformatted=$$(gofmt -l bpf cmd configs fallback internal jails loader); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	clang-format --dry-run --Werror bpf/*.c bpf/*.h
	go vet ./...
	go tool staticcheck ./...
	.ci/vulnerabilities
	.ci/generated
	go mod download # the test lists packages where there is no network
	go test -count=1 -run 'TestRooms' ./cmd/xdpban

.PHONY: bench
bench: ## our figures beside our peers', in one table; BENCH=-quick: fewer runs; needs root
	@for package in $(PACKAGES_BENCH); do .ci/install $$package || echo "going on without $$package"; done
	go run ./internal/bench -peers '$(PACKAGES_BENCH)' $(BENCH)

.PHONY: bench-go
bench-go: ## the Go benchmarks of all rooms, as they are; needs root
	REQUIRE_KERNEL=1 go test -run '^$$' -bench . -benchtime 1s ./fallback ./loader ./jails/... ./internal/daemon

.PHONY: install
install: build ## the program, its configuration and its service
	install -D -m 755 bin/xdpban $(DESTDIR)$(PREFIX)/sbin/xdpban
	install -d -m 755 $(DESTDIR)/etc/xdpban/filters $(DESTDIR)/etc/xdpban/jails.d
	for file in xdpban.yaml $$(cd configs && echo jails.d/*.yaml); do \
		test -e $(DESTDIR)/etc/xdpban/$$file || install -m 644 configs/$$file $(DESTDIR)/etc/xdpban/$$file || exit 1; \
	done
	test -n '$(DESTDIR)' || getent group xdpban > /dev/null || groupadd --system xdpban
	install -d -m 755 $(DESTDIR)/etc/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|g' configs/xdpban.service > $(DESTDIR)/etc/systemd/system/xdpban.service
	@echo 'Installed. See what it would do: xdpban check; then start it: systemctl enable --now xdpban'

.PHONY: uninstall
uninstall: ## all of that but the configuration; ends every ban
	-test -n '$(DESTDIR)' || systemctl disable --now xdpban
	-test -n '$(DESTDIR)' || $(PREFIX)/sbin/xdpban detach
	rm -f $(DESTDIR)$(PREFIX)/sbin/xdpban $(DESTDIR)/etc/systemd/system/xdpban.service

.PHONY: clean
clean: ## what make build made
	rm -rf bin
