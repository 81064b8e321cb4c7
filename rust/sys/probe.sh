#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# probe.sh SRCTREE: which variant of each changed interface a kernel's source has. Prints flags for rustc and the C compiler:
#
#   --cfg=notblk_has_NAME -DNOTBLK_HAS_NAME     where the tree has the newer variant
#   --check-cfg=cfg(notblk_has_NAME)            always, so that a misspelt name in rust/vfs is a warning
#
# The tree's text decides, not its version: a series under development or a backport has what it has. Kbuild runs this anew
# for every make; where an answer differs, so do the command lines, and all is built again.
#
# A tree that has neither variant stops the build here, by name, and not in a heap of type errors. Then the interface has
# changed once more: look at it, teach rust/sys and rust/vfs (nothing else) the new variant, and give it a line below.

set -u
tree=${1:?usage: probe.sh SRCTREE}

fail() {
	echo "notblk: cannot tell what this kernel has: $1 (rust/sys/probe.sh)" >&2
	exit 1
}

# A C structure by name, of the VFS's or iomap's headers; without comments or white space, which nobody's meaning hangs on.
struct() {
	found=$(cd "$tree/include/linux" && cat fs.h fs/*.h iomap.h 2>/dev/null | sed -n "/^struct $1 {/,/^}/p" |
		tr -d '[:space:]' | sed -E 's:/\*([^*]|\*+[^*/])*\*+/::g')
	test -n "$found" || fail "there is no struct $1"
	what="struct $1"
}

# A header, white space as it is.
header() {
	test -r "$tree/include/linux/$1" || fail "there is no linux/$1"
	found=$(cat "$tree/include/linux/$1")
	what=linux/$1
}

# A source file of the Rust crates below rust/, white space as it is.
source_file() {
	test -r "$tree/rust/$1" || fail "there is no rust/$1"
	found=$(cat "$tree/rust/$1")
	what=rust/$1
}

# has NAME NEWER OLDER: which of two texts is in what was found. OLDER may be what surrounds NEWER in both variants.
has() {
	case $found in
	*"$2"*) echo "--cfg=notblk_has_$1 -DNOTBLK_HAS_$(echo "$1" | tr '[:lower:]' '[:upper:]')" ;;
	*"$3"*) ;;
	*) fail "$what has neither variant of $1" ;;
	esac
	echo "--check-cfg='cfg(notblk_has_$1)'"
}

# needs TEXT WHY: what has no older variant here.
needs() {
	case $found in
	*"$1"*) ;;
	*) fail "$what has no $1: $2" ;;
	esac
}

# Not a probe: what the kernel's own macros ask in the crate that uses them (`module!`, `#[kunit_tests]`), and what rust/vfs asks
# of the kernel's configuration.
echo "--check-cfg='cfg(MODULE)' --check-cfg='cfg(CONFIG_KUNIT,values(any()))' --check-cfg='cfg(CONFIG_QUOTA)' --check-cfg='cfg(CONFIG_TRANSPARENT_HUGEPAGE)'"
# Kbuild's own.
echo "--check-cfg='cfg(notblk_without_hold)'"

# 7.2: mappings come from iomap_next. iomap_begin and iomap_end, which are still there, have lost their last user in 7.3.
struct iomap_ops
needs 'iomap_iter_next_fniomap_next;' 'notblk is for 7.2 and later'

# 7.3: VFS remembers that an inode went out with nobody waiting (I_METADATA_WRITEBACK), and calls sync_inode_metadata when
# fsync comes for it; simple_fsync does the rest. Before, fsync took such an inode for clean and each filesystem had to know.
struct super_operations
has sync_inode_metadata \
	'int(*sync_inode_metadata)(structinode*inode,structwriteback_control*wbc);' \
	'int(*write_inode)(structinode*inode,structwriteback_control*wbc);'

# 7.3: `create` has lost its last argument, `bool excl` (O_EXCL, which VFS deals with).
struct inode_operations
has create_without_excl \
	'int(*create)(structmnt_idmap*,structinode*,structdentry*,umode_t);' \
	'int(*create)(structmnt_idmap*,structinode*,structdentry*,umode_t,bool);'

# 7.3: PinInit's and Init's methods are one, and raw_try_init() is the way to call it; before, __pinned_init().
source_file pin-init/src/lib.rs
has raw_try_init \
	'pub unsafe fn raw_try_init<T, E>(slot: *mut T, init: impl PinInit<T, E>) -> Result<(), E>' \
	'unsafe fn __pinned_init(self, slot: *mut T) -> Result<(), E>;'

# 7.3: kernel::error::code has the errnos above 34 (ERANGE); before, the first 34 and the kernel's own from 512 on.
source_file kernel/error.rs
has errno_names 'declare_err!(EUCLEAN,' 'declare_err!(ERANGE,'

# 7.3: iomap has the bios of RWF_DONTCACHE complete in a task, the only place where folios can be dropped from the cache. Before,
# each filesystem sees to it (rust/sys/ioend.c).
header blk_types.h
has bio_complete_in_task 'BIO_COMPLETE_IN_TASK,' 'BIO_FLAG_LAST'
