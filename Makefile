# Builds midge and installs it below $(prefix), by hand or for a package.
#
#   make                            builds all programs and the collectd plugin
#   make install                    the broker, midge-top, configuration, service, manuals
#   make install-check              check_nats
#   make install-collectd           the collectd plugin nats.so
#   make install-puppet MODULES=…   the Puppet module with everything that it copies to hosts
#   make deb                        Debian packages, in target/debian
#   make tarball                    the same files as "make install install-check" in an archive with
#                                   a script, in target; for hosts with this one's glibc or a newer
#
# BUILT=target/debug installs another build. An edited /etc/midge/midge.conf is left alone.

prefix ?= /usr/local
sysconfdir ?= /etc
bindir ?= $(prefix)/bin
sbindir ?= $(prefix)/sbin
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc
bashdir ?= $(prefix)/share/bash-completion/completions
zshdir ?= $(prefix)/share/zsh/site-functions
fishdir ?= $(prefix)/share/fish/vendor_completions.d
unitdir ?= $(prefix)/lib/systemd/system
examples = $(docdir)/midge/examples
# These two belong to other programs, which look nowhere else.
plugindir ?= /usr/lib/nagios/plugins
collectddir ?= /usr/lib/collectd

CARGO ?= cargo
BUILT ?= target/release
D = $(DESTDIR)

# $(call completions,PROGRAM)
completions = install -D -m 644 conf/completions/bash/$(1) $(D)$(bashdir)/$(1) && \
	install -D -m 644 conf/completions/zsh/_$(1) $(D)$(zshdir)/_$(1) && \
	install -D -m 644 conf/completions/fish/$(1).fish $(D)$(fishdir)/$(1).fish
# $(call manual,PAGE,SECTION)
manual = install -D -m 644 conf/man/$(1).$(2) $(D)$(mandir)/man$(2)/$(1).$(2)
# $(call service,SOURCE,MODE,FILE): a file that names the program's path.
service = install -D -m $(2) $(1) $(3) && sed -i 's|/usr/sbin/midge|$(sbindir)/midge|g' $(3)

build:
	$(CARGO) build --release --workspace --locked

install: $(BUILT)/midge $(BUILT)/midge-top
	install -D $(BUILT)/midge $(D)$(sbindir)/midge
	install -D $(BUILT)/midge-top $(D)$(bindir)/midge-top
	test -e $(D)$(sysconfdir)/midge/midge.conf || \
		install -D -m 644 conf/midge.conf $(D)$(sysconfdir)/midge/midge.conf
	$(call service,conf/systemd/midge.service,644,$(D)$(unitdir)/midge.service)
	$(call service,conf/sysvinit/midge,755,$(D)$(sysconfdir)/init.d/midge)
	$(call service,conf/logrotate/midge,644,$(D)$(sysconfdir)/logrotate.d/midge)
	$(call manual,midge,8)
	$(call manual,midge.conf,5)
	$(call manual,midge-top,1)
	$(call completions,midge)
	$(call completions,midge-top)
	install -D -m 644 -t $(D)$(docdir)/midge README.md CHANGELOG.md
	install -D -m 644 -t $(D)$(docdir)/midge/docs docs/*.md
	install -D -m 644 -t $(D)$(examples) conf/cluster.conf conf/systemd/midge.socket \
		conf/grafana/midge.json conf/prometheus/midge-alerts.yml
	install -D -m 644 conf/fail2ban/filter.d/midge.conf $(D)$(examples)/fail2ban/filter.d/midge.conf
	install -D -m 644 conf/fail2ban/jail.d/midge.conf $(D)$(examples)/fail2ban/jail.d/midge.conf

install-check: $(BUILT)/check_nats
	install -D $(BUILT)/check_nats $(D)$(plugindir)/check_nats
	mkdir -p $(D)$(bindir)
	ln -sf $(plugindir)/check_nats $(D)$(bindir)/check_nats
	$(call manual,check_nats,1)
	$(call completions,check_nats)
	install -D -m 644 -t $(D)$(docdir)/check-nats/examples conf/nagios/*.cfg
	install -D -m 644 conf/icinga2/nats.conf $(D)$(docdir)/check-nats/examples/icinga2.conf

install-collectd: $(BUILT)/libnats.so
	install -D -m 644 $(BUILT)/libnats.so $(D)$(collectddir)/nats.so
	test -e $(D)$(sysconfdir)/collectd/collectd.conf.d/nats.conf || \
		install -D -m 644 conf/collectd/local.conf $(D)$(sysconfdir)/collectd/collectd.conf.d/nats.conf
	$(call manual,collectd-nats,5)
	install -D -m 644 conf/collectd/nats.conf $(D)$(docdir)/collectd-plugin-midge/examples/nats.conf
	install -D conf/collectd/nats-graph $(D)$(docdir)/collectd-plugin-midge/examples/nats-graph

# Puppet's own servers have /etc/puppetlabs/code, Debian's have /etc/puppet/code.
MODULES ?= /etc/puppetlabs/code/environments/production/modules
install-puppet: $(BUILT)/midge $(BUILT)/midge-top $(BUILT)/check_nats $(BUILT)/libnats.so
	mkdir -p $(D)$(MODULES)/nats
	cp -r conf/puppet/nats/. $(D)$(MODULES)/nats
	install -t $(D)$(MODULES)/nats/files $(BUILT)/midge $(BUILT)/midge-top $(BUILT)/check_nats
	install -m 644 $(BUILT)/libnats.so $(D)$(MODULES)/nats/files/nats.so
	install -D -m 644 -t $(D)$(MODULES)/nats/files/man conf/man/*
	install -D -m 644 -t $(D)$(MODULES)/nats/files/completions conf/completions/bash/*

deb: build
	mkdir -p target/debian
	PACKAGES=target/debian debian/rules clean binary

# Not linked statically: without glibc's own modules on the host, names would not be resolved as
# /etc/nsswitch.conf says.
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
ARCHIVE = midge-$(VERSION)-linux-$(shell uname -m)
TARBALLS ?= target
tarball:
	rm -rf target/tarball
	$(MAKE) install install-check DESTDIR=$(CURDIR)/target/tarball/$(ARCHIVE)/files
	install conf/install.sh target/tarball/$(ARCHIVE)
	tar -C target/tarball --owner=0 --group=0 --numeric-owner -czf $(TARBALLS)/$(ARCHIVE).tar.gz $(ARCHIVE)
	rm -rf target/tarball

$(BUILT)/%:
	@echo "there is no $@: build it first (make, as an ordinary user)" >&2; exit 1

.PHONY: build install install-check install-collectd install-puppet deb tarball
