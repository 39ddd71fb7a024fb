# SPDX-License-Identifier: Apache-2.0
SWIFT   ?= swift
PREFIX  ?= /usr/local
DESTDIR ?=

# Symbols are 14 MB of 30: a stripped binary is what gets installed.
RELEASE_FLAGS := -c release --static-swift-stdlib --product nbd-secure -Xlinker -s
RELEASE       := .build/release/nbd-secure

.PHONY: all demo test fuzz test-sanitized bench install clean format lint

all:
	$(SWIFT) build $(RELEASE_FLAGS)

# The main job, seen with one's own eyes: installs what it needs, builds, attaches, verifies.
demo:
	scripts/install-deps
	$(SWIFT) build $(RELEASE_FLAGS)
	scripts/demo $(RELEASE)

test:
	scripts/test

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

install: all
	install -D -m 0755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/nbd-secure
	install -D -m 0644 docs/cli.md $(DESTDIR)$(PREFIX)/share/doc/nbd-secure/cli.md
	install -D -m 0644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/nbd-secure/LICENSE

clean:
	$(SWIFT) package clean

format:
	$(SWIFT) format -i -r Package.swift Sources Tests

lint:
	$(SWIFT) format lint --strict -r Package.swift Sources Tests
