# interlock: what can be made. `make help` lists it.

CARGO ?= cargo
VERSION ?= 257
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help build demo test model mutants fuzz deny bench soak rpm install lint shell host-packages

help:
	@echo 'build    release binaries'
	@echo 'install  into DESTDIR, below the usual directories'
	@echo 'rpm      target/rpm/*.rpm'
	@echo 'test     format, lints, unit tests, and the cases on real systemd (as root)'
	@echo 'model    the arbiter and the deployments in every order of events (SETUP=NAME: one setup alone)'
	@echo 'mutants  whether the model finds faults that are put in'
	@echo 'lint     format and lints alone'
	@echo 'deny     licences, versions and sources of the dependencies (builds cargo-deny once)'
	@echo 'demo     real dnf without and with interlock, a dnf that waits for itself, a deployment (as root, four minutes)'
	@echo 'fuzz     libFuzzer over all targets (DURATION=10m, TARGET=NAME for one; needs cargo-fuzz)'
	@echo 'bench    what it costs, beside its peers (as root)'
	@echo 'soak     chaos on booted systemd (as root; DURATION=2h, VERSION=252 or 257, SEED=)'
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

model:
	$(CARGO) run --quiet --locked --profile model -p interlock-model -- $(SETUP)

mutants:
	@CARGO='$(CARGO)' tests/model/mutants.sh

demo: host-packages
	$(CARGO) run --quiet --locked -p interlock-tests --bin demo

# Licences, duplicate versions and sources of what is depended on, by deny.toml. cargo-deny takes minutes to be built,
# so it is no part of the tests; kept in the target directory.
deny:
	@test -x $(target)/tools/bin/cargo-deny || { echo 'installing cargo-deny into $(target)/tools'; \
		$(CARGO) install --quiet --locked --root $(target)/tools cargo-deny; }
	PATH="$(abspath $(target))/tools/bin:$$PATH" $(CARGO) deny --offline check --allow unnecessary-skip licenses bans sources

fuzz:
	@tests/fuzz/fuzz.sh $(or $(DURATION),10m) $(TARGET)

bench: host-packages
	$(CARGO) run --quiet --locked -p interlock-tests --bin bench

soak: host-packages
	$(CARGO) run --quiet --locked -p interlock-tests --bin chaos -- '$(or $(DURATION),1h)' '$(if $(filter command line environment,$(origin VERSION)),$(VERSION),all)' '$(SEED)'

shell: host-packages
	@$(CARGO) run --quiet --locked -p interlock-tests --bin shell -- $(VERSION)

# install, rpm
include packaging/package.mk
