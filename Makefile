# SPDX-License-Identifier: GPL-2.0
#
# The front door for people who build modules by hand:
#
#   make KDIR=/path/to/a/built/rust-enabled/kernel      notblk.ko
#   make KDIR=… modules_install                         into /lib/modules/RELEASE/updates (INSTALL_MOD_PATH as usual)
#   make KDIR=… clean
#   make KDIR=… LLVM=1          when the kernel was built by clang
#   make KDIR=… CLIPPY=1        with Clippy's lints
#   make KDIR=SOURCE O=BUILD    when the kernel's sources and build are two directories
#   make KDIR=… NOTBLK_HOLD=n   without the hold points of the race lab
#
# Without KDIR: the running kernel's build tree.

KDIR ?= /lib/modules/$(shell uname -r)/build

# With O=, everything that was generated is below it.
kernel_objtree := $(if $(O),$(O),$(KDIR))

# Kbuild takes O, LLVM, CLIPPY, V, … from the command line by itself (MAKEFLAGS).
kbuild = $(MAKE) -C $(KDIR) M=$(CURDIR)

.PHONY: modules modules_install clean help check_kdir

modules: check_kdir
	$(kbuild) modules

modules_install: check_kdir
	$(kbuild) modules_install

clean:
	@test -e $(KDIR)/Makefile || { echo "notblk: no kernel build tree at $(KDIR): name one with KDIR=" >&2; exit 2; }
	$(kbuild) clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

# What a tree must have before a Rust module can be built against it, each with what to do about it.
check_kdir:
	@say() { echo "notblk: $$1" >&2; exit 2; }; \
	test -e $(KDIR)/Makefile || \
		say "no kernel build tree at $(KDIR): name one with KDIR= (cargo xtask build makes one by itself)"; \
	test -e $(kernel_objtree)/include/config/auto.conf || \
		say "$(kernel_objtree) is not configured: run 'make olddefconfig modules_prepare' there"; \
	grep -q '^CONFIG_RUST=y' $(kernel_objtree)/include/config/auto.conf || \
		say "the kernel in $(kernel_objtree) is built without Rust (CONFIG_RUST is not set)"; \
	test -e $(kernel_objtree)/rust/libkernel.rmeta || \
		say "$(kernel_objtree)/rust/libkernel.rmeta is missing (distributions' header packages leave it out): \
	unpack the same version's source with the same .config and run 'make modules_prepare' there"; \
	test -e $(kernel_objtree)/Module.symvers || \
		say "$(kernel_objtree)/Module.symvers is missing: build the kernel, or copy the file of the same version's headers"; \
	grep -q '^CONFIG_FS_IOMAP=y' $(kernel_objtree)/include/config/auto.conf || \
		say "the kernel in $(kernel_objtree) has no iomap (CONFIG_FS_IOMAP is not set)"
