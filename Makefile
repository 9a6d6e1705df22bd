# interlock: what can be made. `make help` lists it.

CARGO ?= cargo
VERSION ?= 257
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help build demo test bench rpm install lint shell host-packages

help:
	@echo 'build    release binaries'
	@echo 'install  into DESTDIR, below the usual directories'
	@echo 'rpm      target/rpm/*.rpm'
	@echo 'test     format, lints, unit tests, and the cases on real systemd (as root)'
	@echo 'lint     format and lints alone'
	@echo 'demo     real dnf without and with interlock, a dnf that waits for itself, a deployment (as root, four minutes)'
	@echo 'bench    what it costs, beside its peers (as root)'
	@echo 'shell    a shell in a booted container with interlock (as root; VERSION=252 or 257)'

build:
	$(CARGO) build --release --locked -p interlock-generator -p interlock-supervisor

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# What building the RPM and booting containers need, installed by name if it is missing.
host-packages:
	@tests/host-packages.sh

test: host-packages
	@CARGO='$(CARGO)' tests/run.sh

demo: host-packages
	$(CARGO) run --quiet --locked -p interlock-tests --bin demo

bench: host-packages
	$(CARGO) run --quiet --locked -p interlock-tests --bin bench

shell: host-packages
	@$(CARGO) run --quiet --locked -p interlock-tests --bin shell -- $(VERSION)

# install, rpm
include packaging/package.mk
