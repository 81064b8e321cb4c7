// SPDX-License-Identifier: GPL-2.0

//! The module's own tests, of what only a kernel can test: C's objects behind the wrappers of [`crate::vfs`]. The kernel runs
//! them when the module is loaded (`CONFIG_KUNIT`); results are in `/sys/kernel/debug/kunit`.
//!
//! They mount a filesystem that has nothing but inodes, on no device. Tests of a wrapper that needs no filesystem stand with it.

mod bare;

use super::{
    errno::{EOPNOTSUPP, EUCLEAN},
    inode::Iget,
    open_dir::OpenDir,
    registration::{Flags, Registration},
    shutdown, super_block, to_count, xattr, Inode, InodeRef, SuperBlock,
};
use crate::sys::bindings;
use bare::{complete, forget, Bare, FAIL_ALIVE, FAIL_BEGIN, FAIL_MKDIR, FAIL_ROOT, MADE, SEEN};
use core::ptr;
use kernel::{error::from_err_ptr, prelude::*, sync::atomic::Relaxed, ThisModule};

/// The module.
fn module() -> ThisModule {
    // SAFETY: this is it.
    unsafe { ThisModule::from_ptr(bindings::notblk_kunit_module().cast()) }
}

/// A name for it.
fn register(name: &'static CStr, cache: &'static CStr) -> Result<Pin<KBox<Registration<Bare>>>> {
    KBox::try_pin_init(
        Registration::new(name, cache, Flags::BLOCKS, &module(), ()),
        GFP_KERNEL,
    )
}

/// A superblock, mounted or not, and what it needs.
struct Fixture {
    sb: *mut bindings::super_block,
    _registration: Pin<KBox<Registration<Bare>>>,
}

impl Fixture {
    /// A superblock that nothing is in yet.
    fn new() -> Result<Self> {
        forget();
        let registration = register(c"notblk_kunit", c"notblk_kunit_inode_cache")?;
        // SAFETY: registered.
        let sb = unsafe { bindings::notblk_kunit_sb(registration.as_raw()) };
        if sb.is_null() {
            return Err(ENOMEM);
        }
        Ok(Self {
            sb,
            _registration: registration,
        })
    }

    /// Mounts it, as `get_tree` would.
    fn fill(&self) -> Result {
        // SAFETY: new, and ours alone.
        unsafe { super_block::Table::<Bare>::fill_super(self.sb, ()) }
    }

    /// One that is mounted.
    fn mounted() -> Result<Self> {
        let fixture = Self::new()?;
        fixture.fill()?;
        forget();
        Ok(fixture)
    }

    fn sb(&self) -> &SuperBlock<Bare> {
        // SAFETY: lives as long as `self`. Who calls this has called `fill`.
        unsafe { SuperBlock::from_raw(self.sb) }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // SAFETY: ours; no inode is referenced any more, for that takes a reference to `self`.
        unsafe { bindings::notblk_kunit_sb_put(self.sb) };
    }
}

/// A regular file, as if it had been read.
fn regular(sb: &SuperBlock<Bare>, ino: u64) -> Result<InodeRef<'_, Bare>> {
    match sb.iget_locked(ino)? {
        Iget::New(new) => complete(new, 0o100644),
        Iget::Cached(_) => Err(EUCLEAN),
    }
}

/// A `struct file` that has been opened by its inode's `open`.
struct Open<'a> {
    file: *mut bindings::file,
    _inode: &'a Inode<Bare>,
}

impl<'a> Open<'a> {
    fn new(inode: &'a Inode<Bare>, mode: u32) -> Result<Self> {
        // SAFETY: valid, and kept by what is borrowed for the result.
        let file = unsafe { bindings::notblk_kunit_open(inode.as_raw(), mode) };
        Ok(Self {
            file: from_err_ptr(file)?,
            _inode: inode,
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // SAFETY: opened, and ours.
        unsafe { bindings::notblk_kunit_close(self.file) };
    }
}

/// Waits until what RCU has been given to free is freed.
fn settle() {
    // SAFETY: always.
    unsafe { bindings::rcu_barrier() };
}

#[kunit_tests(notblk_mount)]
mod mount_tests {
    use super::*;

    #[test]
    fn a_mount_ends_with_put_super() -> Result {
        let fixture = Fixture::new()?;
        fixture.fill()?;
        assert_eq!(SEEN.began.load(Relaxed), 1);
        assert_eq!(SEEN.data_made.load(Relaxed), 1);
        drop(fixture);
        assert_eq!(SEEN.put_super.load(Relaxed), 1);
        assert_eq!(SEEN.super_dropped.load(Relaxed), 1);
        // The root directory, which has a link.
        assert_eq!(SEEN.data_dropped.load(Relaxed), 1);
        assert_eq!(SEEN.deleted.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_mount_without_a_root_never_begins() -> Result {
        let fixture = Fixture::new()?;
        FAIL_ROOT.store(1, Relaxed);
        assert!(fixture.fill() == Err(EIO));
        drop(fixture);
        assert_eq!(SEEN.began.load(Relaxed), 0);
        assert_eq!(SEEN.put_super.load(Relaxed), 0);
        assert_eq!(SEEN.super_dropped.load(Relaxed), 1);
        assert_eq!(SEEN.data_dropped.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn what_has_begun_ends() -> Result {
        let fixture = Fixture::new()?;
        FAIL_BEGIN.store(1, Relaxed);
        assert!(fixture.fill() == Err(EIO));
        drop(fixture);
        assert_eq!(SEEN.put_super.load(Relaxed), 1);
        assert_eq!(SEEN.super_dropped.load(Relaxed), 1);
        assert_eq!(SEEN.data_dropped.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_name_is_registered_once_and_can_be_had_again() -> Result {
        let name = c"notblk_kunit";
        let first = register(name, c"notblk_kunit_first")?;
        assert!(register(name, c"notblk_kunit_second").err() == Some(EBUSY));
        drop(first);
        register(name, c"notblk_kunit_third").map(drop)
    }
}

#[kunit_tests(notblk_inode)]
mod inode_tests {
    use super::*;

    #[test]
    fn data_is_made_once_and_dropped_once() -> Result {
        let fixture = Fixture::mounted()?;
        let first = regular(fixture.sb(), 12)?;
        assert_eq!(SEEN.data_made.load(Relaxed), 1);
        assert!(first.is_regular() && !first.is_dir());
        assert_eq!(first.size(), 4096);
        // Again, and it is the same.
        let Iget::Cached(second) = fixture.sb().iget_locked(12)? else {
            return Err(EUCLEAN);
        };
        assert!(core::ptr::eq(&raw const *first, &raw const *second));
        assert_eq!(SEEN.data_made.load(Relaxed), 1);
        drop(first);
        settle();
        assert_eq!(SEEN.data_dropped.load(Relaxed), 0);
        drop(second);
        drop(fixture);
        // Two: the root's was made before, and is dropped here too.
        assert_eq!(SEEN.data_dropped.load(Relaxed), 2);
        assert_eq!(SEEN.deleted.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn an_inode_that_fails_is_forgotten() -> Result {
        let fixture = Fixture::mounted()?;
        for round in 1..3 {
            let found = fixture.sb().iget_locked(13)?;
            assert!(matches!(found, Iget::New(_)));
            drop(found);
            settle();
            assert_eq!(SEEN.data_dropped.load(Relaxed), round);
        }
        assert_eq!(SEEN.deleted.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn an_inode_that_is_not_finished_is_deleted() -> Result {
        let fixture = Fixture::mounted()?;
        drop(fixture.sb().new_inode(14)?);
        assert_eq!(SEEN.deleted.load(Relaxed), 1);
        assert_eq!(SEEN.freed_ino.load(Relaxed), 14);
        settle();
        assert_eq!(SEEN.data_dropped.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_number_in_use_is_refused_and_nothing_deleted() -> Result {
        let fixture = Fixture::mounted()?;
        let inode = regular(fixture.sb(), 15)?;
        assert!(fixture.sb().new_inode(15).err() == Some(EUCLEAN));
        assert_eq!(SEEN.deleted.load(Relaxed), 0);
        assert_eq!(SEEN.freed_ino.load(Relaxed), 0);
        drop(inode);
        Ok(())
    }

    #[test]
    fn a_lock_is_held_as_long_as_its_guard() -> Result {
        let fixture = Fixture::mounted()?;
        let inode = regular(fixture.sb(), 16)?;
        let exclusive = inode.lock();
        assert!(inode.try_lock().is_none());
        assert!(inode.try_lock_shared().is_none());
        drop(exclusive);
        let shared = inode.lock_shared();
        assert!(inode.try_lock().is_none());
        assert!(inode.try_lock_shared().is_some());
        drop(shared);
        assert!(inode.try_lock().is_some());
        Ok(())
    }

    #[test]
    fn nothing_is_linked_that_has_no_link() -> Result {
        let fixture = Fixture::mounted()?;
        let mut new = fixture.sb().new_inode(17)?;
        new.set_nlink(0);
        assert!(new.inc_link() == Err(EUCLEAN));
        new.dec_link();
        assert_eq!(new.nlink(), 0);
        Ok(())
    }
}

#[kunit_tests(notblk_usage)]
mod quota_tests {
    use super::*;

    #[test]
    fn without_quotas_blocks_are_counted_in_the_inode() -> Result {
        let fixture = Fixture::mounted()?;
        assert!(!fixture.sb().quota_loaded());
        assert_eq!(fixture.sb().block_bytes(), 1024);
        let inode = regular(fixture.sb(), 18)?;
        inode.quota_initialize()?;
        let before = inode.sectors();
        inode.quota_charge(3)?;
        assert_eq!(inode.sectors(), before + 6);
        inode.quota_release(0);
        assert_eq!(inode.sectors(), before + 6);
        inode.quota_release(3);
        assert_eq!(inode.sectors(), before);
        Ok(())
    }
}

#[kunit_tests(notblk_dir)]
mod dir_tests {
    use super::*;

    /// Makes a directory in the root, as VFS does.
    fn mkdir(fixture: &Fixture, name: &'static CStr, mode: u16) -> Result<*mut bindings::dentry> {
        // SAFETY: mounted.
        let made = unsafe { bindings::notblk_kunit_mkdir(fixture.sb, name.as_char_ptr(), mode) };
        from_err_ptr(made)
    }

    #[test]
    fn what_mkdir_makes_is_the_dentrys() -> Result {
        let fixture = Fixture::mounted()?;
        let dentry = mkdir(&fixture, c"name", 0o750)?;
        let Iget::Cached(inode) = fixture.sb().iget_locked(MADE)? else {
            return Err(EUCLEAN);
        };
        // SAFETY: valid, and ours.
        assert!(unsafe { bindings::notblk_d_inode(dentry) } == inode.as_raw());
        // With the file type, whether VFS has said so or not.
        assert_eq!(inode.mode(), 0o040750);
        drop(inode);
        // SAFETY: our reference.
        unsafe { bindings::dput(dentry) };
        drop(fixture);
        assert_eq!(SEEN.deleted.load(Relaxed), 0);
        // The root and this one.
        assert_eq!(SEEN.forgotten.load(Relaxed), 2);
        assert_eq!(SEEN.data_dropped.load(Relaxed), 2);
        Ok(())
    }

    #[test]
    fn what_mkdir_cannot_make_is_deleted() -> Result {
        let fixture = Fixture::mounted()?;
        assert!(mkdir(&fixture, c"other", 0o750).err() == Some(EINVAL));
        assert_eq!(SEEN.data_made.load(Relaxed), 0);
        FAIL_MKDIR.store(1, Relaxed);
        assert!(mkdir(&fixture, c"name", 0o750).err() == Some(EIO));
        assert_eq!(SEEN.deleted.load(Relaxed), 1);
        assert_eq!(SEEN.freed_ino.load(Relaxed), MADE);
        Ok(())
    }

    #[test]
    fn each_opener_has_a_cursor_and_a_rewind_begins_anew() -> Result {
        const SEEK_SET: c_int = 0;
        const SEEK_END: c_int = 2;
        let fixture = Fixture::mounted()?;
        let Iget::New(new) = fixture.sb().iget_locked(19)? else {
            return Err(EUCLEAN);
        };
        let dir = complete(new, 0o040755)?;
        let narrow = Open::new(&dir, bindings::NOTBLK_FMODE_32BITHASH)?;
        let wide = Open::new(&dir, bindings::NOTBLK_FMODE_64BITHASH)?;
        // SAFETY: both are open until the end of the test.
        let (first, second) = unsafe {
            assert!(OpenDir::<Bare>::is_narrow(narrow.file));
            assert!(!OpenDir::<Bare>::is_narrow(wide.file));
            (
                OpenDir::<Bare>::cursor(narrow.file),
                OpenDir::<Bare>::cursor(wide.file),
            )
        };
        *first.lock() = 7;
        assert_eq!(*second.lock(), 0);
        // SAFETY: as above.
        let seek = |open: &Open<'_>, offset, whence| unsafe {
            OpenDir::<Bare>::llseek(open.file, offset, whence)
        };
        assert_eq!(seek(&narrow, 0, SEEK_END), 1 << 31);
        assert_eq!(seek(&wide, 0, SEEK_END), 1 << 40);
        assert_eq!(seek(&narrow, 5, SEEK_SET), 5);
        assert_eq!(*first.lock(), 7);
        assert_eq!(seek(&narrow, -1, SEEK_SET), i64::from(EINVAL.to_errno()));
        // Behind the end.
        assert_eq!(
            seek(&narrow, (1 << 31) + 1, SEEK_SET),
            i64::from(EINVAL.to_errno())
        );
        assert_eq!(*first.lock(), 7);
        assert_eq!(seek(&narrow, 0, SEEK_SET), 0);
        assert_eq!(*first.lock(), 0);
        Ok(())
    }
}

#[kunit_tests(notblk_shutdown)]
mod shutdown_tests {
    use super::*;

    #[test]
    fn nothing_is_opened_after_shutdown() -> Result {
        let fixture = Fixture::mounted()?;
        let inode = regular(fixture.sb(), 21)?;
        // As when its device is gone.
        // SAFETY: mounted.
        unsafe { shutdown::Table::<Bare>::shutdown(fixture.sb) };
        assert_eq!(FAIL_ALIVE.load(Relaxed), 1);
        assert!(Open::new(&inode, 0).err() == Some(EIO));
        Ok(())
    }
}

#[kunit_tests(notblk_xattr)]
mod xattr_tests {
    use super::*;

    #[test]
    fn each_namespace_has_a_handler() -> Result {
        let fixture = Fixture::mounted()?;
        let inode = regular(fixture.sb(), 22)?;
        for (i, prefix) in [c"user.", c"trusted.", c"security."]
            .into_iter()
            .enumerate()
        {
            // SAFETY: four of them, the last one NULL.
            let handler = unsafe { &**xattr::Table::<Bare>::S_XATTR.add(i) };
            // SAFETY: a C string, for nobody has changed it.
            let named = unsafe { CStr::from_char_ptr(handler.prefix) };
            assert!(named == prefix);
            let get = handler.get.ok_or(EOPNOTSUPP)?;
            let mut buffer = [0xaa; 32];
            let ask = |buffer: *mut u8, size: usize| {
                // SAFETY: `buffer` is NULL or has `size` bytes.
                let ret = unsafe {
                    get(
                        handler,
                        ptr::null_mut(),
                        inode.as_raw(),
                        c"name".as_char_ptr(),
                        buffer.cast(),
                        size,
                    )
                };
                to_count(ret as isize)
            };
            let len = prefix.to_bytes().len() + 4;
            // How many, and no buffer.
            assert!(ask(ptr::null_mut(), 0) == Ok(len));
            // One too few.
            assert!(ask(buffer.as_mut_ptr(), len - 1) == Err(ERANGE));
            assert!(buffer[len - 1..].iter().all(|&byte| byte == 0xaa));
            assert!(ask(buffer.as_mut_ptr(), len) == Ok(len));
            assert!(buffer[..len].strip_prefix(prefix.to_bytes()) == Some(b"name"));
            assert!(buffer[len..].iter().all(|&byte| byte == 0xaa));
        }
        // SAFETY: as above.
        assert!(unsafe { *xattr::Table::<Bare>::S_XATTR.add(3) }.is_null());
        Ok(())
    }
}
