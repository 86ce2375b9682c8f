# The commands that people look for; each calls a script, which says more with --help or in its first lines.

.PHONY: help build test fast check demo bench install uninstall deb clean

help:
	@echo "make build      the executables, in dist/shibafu"
	@echo "make fast       checks, and the tests that need no root: less than a minute"
	@echo "make test       everything that continuous integration runs, as root"
	@echo "make demo       containers that talk to each other, as root"
	@echo "make bench      measurements beside the reference plugins, as root"
	@echo "make install    into /usr/lib/shibafu, as root; make uninstall takes it away again"
	@echo "make deb        the Debian package"
	@echo "make clean      remove what was built, and the virtual environments"

build:
	packaging/build.sh

test:
	tests/run.sh

fast check:
	tests/run.sh --fast

demo:
	packaging/demo.sh

bench:
	bench/run.sh

install:
	packaging/install.sh

uninstall:
	packaging/uninstall.sh

deb:
	packaging/deb.sh

clean:
	rm -rf build dist .venv .venv-build
