# SPDX-License-Identifier: Apache-2.0
SWIFT   ?= swift
PREFIX  ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
MANDIR  ?= $(PREFIX)/share/man
DOCDIR  ?= $(PREFIX)/share/doc/nbd-secure
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d

# Symbols are 14 MB of 30: a stripped binary is what gets installed.
RELEASE_FLAGS := -c release --static-swift-stdlib --product nbd-secure -Xlinker -s
RELEASE       := .build/release/nbd-secure

.PHONY: all demo test soak test-full fuzz test-sanitized bench docs deb install install-files clean format
.PHONY: lint

all:
	$(SWIFT) build $(RELEASE_FLAGS)

# The main job, seen with one's own eyes: installs what it needs, builds, attaches, verifies.
demo:
	scripts/install-deps
	$(SWIFT) build $(RELEASE_FLAGS)
	scripts/demo $(RELEASE)

test:
	scripts/test

# The long form of the resilience tests, with their figures: an hour and more. PART=restarts plays the
# scenarios alone that begin so, PART='killed 50 --data-path' that one. SOAK times the relay's model.
SOAK ?= 25
PART ?=
soak:
	scripts/install-deps
	NBD_SECURE_SOAK=$(SOAK) NBD_SECURE_SOAK_PART='$(PART)' $(SWIFT) test --disable-xctest \
	  --filter $(if $(PART),ResilienceTests,'ResilienceTests|RelayModelTests')

# Against its peers, under one load: ten to fifteen minutes. See docs/PERFORMANCE.md.
bench: all
	bench/run

# Each fuzzer for FUZZ_SECONDS, from the seeds and from what earlier runs have learnt.
FUZZ_SECONDS ?= 3600
fuzz:
	Tests/Fuzzing/run $(FUZZ_SECONDS)

# The tests once more under each sanitizer; about ten minutes.
test-sanitized:
	scripts/test-sanitized

# Everything that must hold before a release: `make test`, and the package in a clean Debian system,
# booted under systemd. As root; about ten minutes.
test-full:
	scripts/test
	scripts/test-package

# The library's documentation, for Xcode or a web server, in .build/docs.
docs:
	$(SWIFT) build
	scripts/build-docs

# A Debian package in .build/deb.
deb: all
	scripts/build-deb

install: all install-files

# The units and the udev rule name the program by its path.
install-files:
	install -D -m 0755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/nbd-secure
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(UDEVDIR)
	for f in packaging/systemd/*; do sed 's#/usr/bin/#$(PREFIX)/bin/#' "$$f" \
	  >"$(DESTDIR)$(UNITDIR)/$${f##*/}" || exit; done
	sed 's#/usr/bin/#$(PREFIX)/bin/#' packaging/udev/60-nbd-secure.rules \
	  >$(DESTDIR)$(UDEVDIR)/60-nbd-secure.rules
	install -D -m 0644 -t $(DESTDIR)$(MANDIR)/man8 docs/man/*.8
	install -D -m 0644 -t $(DESTDIR)$(MANDIR)/man5 docs/man/*.5
	install -d $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	$(RELEASE) --generate-completion-script bash | sed '1{/^#!/d}' >$(DESTDIR)$(BASHDIR)/nbd-secure
	$(RELEASE) --generate-completion-script zsh >$(DESTDIR)$(ZSHDIR)/_nbd-secure
	$(RELEASE) --generate-completion-script fish >$(DESTDIR)$(FISHDIR)/nbd-secure.fish
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR) LICENSE docs/*.md
	sed -i 's#](../examples/#](examples/#g' $(DESTDIR)$(DOCDIR)/*.md
	for d in policy attachments systemd; do \
	  install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/examples/$$d examples/$$d/* || exit; done

clean:
	$(SWIFT) package clean

format:
	$(SWIFT) format -i -r Package.swift Sources Tests examples

lint:
	$(SWIFT) format lint --strict -r Package.swift Sources Tests examples
