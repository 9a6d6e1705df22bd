# How interlock is installed and packaged; included by the Makefile.

# Where things go below DESTDIR. The programs' own paths are fixed, since units and generator name
# them; distributions differ in these only.
DESTDIR ?=
UNITDIR ?= /usr/lib/systemd/system
PRESETDIR ?= /usr/lib/systemd/system-preset
GENERATORDIR ?= /usr/lib/systemd/system-generators
TMPFILESDIR ?= /usr/lib/tmpfiles.d
RPMMACRODIR ?= /usr/lib/rpm/macros.d
MANDIR ?= /usr/share/man
DOCDIR ?= /usr/share/doc/interlock
PLUGINDIR ?= /usr/lib/nagios/plugins

# Tests build another one: make rpm rpmdir=DIR package_version=VERSION
rpmdir ?= target/rpm
package_version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Installs what `make build` built; as an own step, so that cargo needn't run as root.
install:
	@test -x $(target)/release/interlockd || { echo "make build first"; exit 1; }
	install -Dm755 $(target)/release/interlock-generator $(DESTDIR)$(GENERATORDIR)/interlock-generator
	install -Dm755 $(target)/release/interlockd $(DESTDIR)/usr/libexec/interlock/interlockd
	install -Dm755 $(target)/release/interlock-gate $(DESTDIR)/usr/libexec/interlock/interlock-gate
	install -Dm755 $(target)/release/interlockctl $(DESTDIR)/usr/bin/interlockctl
	install -d $(DESTDIR)$(UNITDIR)
	install -m644 units/* $(DESTDIR)$(UNITDIR)
	install -Dm644 packaging/preset/80-interlock.preset -t $(DESTDIR)$(PRESETDIR)
	install -Dm644 packaging/tmpfiles.d/interlock.conf -t $(DESTDIR)$(TMPFILESDIR)
	install -Dm644 packaging/macros.interlock -t $(DESTDIR)$(RPMMACRODIR)
	install -Dm644 packaging/dbus/org.interlock.Interlock1.conf -t $(DESTDIR)/usr/share/dbus-1/system.d
	install -Dm644 packaging/dbus/org.interlock.Interlock1.service -t $(DESTDIR)/usr/share/dbus-1/system-services
	install -Dm644 packaging/dbus/*.xml -t $(DESTDIR)/usr/share/dbus-1/interfaces
	install -Dm644 packaging/polkit/org.interlock.Interlock1.policy -t $(DESTDIR)/usr/share/polkit-1/actions
	install -d $(DESTDIR)$(PLUGINDIR)
	ln -sf /usr/bin/interlockctl $(DESTDIR)$(PLUGINDIR)/check_interlock
	install -Dm644 $(wildcard packaging/monitoring/*) -t $(DESTDIR)/usr/share/interlock/monitoring
	install -d $(DESTDIR)/usr/lib/interlock/policy.d $(DESTDIR)/etc/interlock/policy.d
	install -d -m700 $(DESTDIR)/var/lib/interlock
	install -Dm644 README.md LICENSE-MIT LICENSE-APACHE packaging/polkit/50-interlock.rules -t $(DESTDIR)$(DOCDIR)
	install -Dm644 $(wildcard packaging/examples/*) -t $(DESTDIR)$(DOCDIR)/examples
	for page in $(wildcard packaging/man/*.[1578]); do \
		install -Dm644 $$page -t $(DESTDIR)$(MANDIR)/man$${page##*.} || exit 1; done
	rm -rf $(target)/generated
	install -d $(target)/generated
	$(target)/release/interlockctl generate man $(target)/generated
	$(target)/release/interlockctl generate completions $(target)/generated
	install -Dm644 $(target)/generated/interlockctl.1 -t $(DESTDIR)$(MANDIR)/man1
	install -Dm644 $(target)/generated/interlockctl.bash $(DESTDIR)/usr/share/bash-completion/completions/interlockctl
	install -Dm644 $(target)/generated/_interlockctl -t $(DESTDIR)/usr/share/zsh/site-functions
	install -Dm644 $(target)/generated/interlockctl.fish -t $(DESTDIR)/usr/share/fish/vendor_completions.d

# The package, as target/rpm/interlock-VERSION-RELEASE.ARCH.rpm, from this tree and what is already
# built in it. --nodeps: where cargo and systemd aren't RPMs, rpmbuild can't see that they are there.
rpm: build
	rm -rf $(rpmdir)
	mkdir -p $(rpmdir)
	rpmbuild -bb --build-in-place --nodeps --without build --without check \
		--define '_topdir $(abspath $(rpmdir))/build' \
		--define '_rpmdir $(abspath $(rpmdir))' \
		--define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
		--define 'interlock_version $(package_version)' \
		packaging/interlock.spec
	rm -rf $(rpmdir)/build
	rpm -qp --queryformat '%{POSTIN}\n%{PREUN}\n%{POSTUN}\n' $(rpmdir)/*.rpm | sh -n
	ls -l $(rpmdir)/*.rpm
