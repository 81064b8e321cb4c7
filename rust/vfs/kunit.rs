// SPDX-License-Identifier: GPL-2.0

//! The module's own tests, of what only a kernel can test: C's objects behind the wrappers of [`crate::vfs`]. The kernel runs
//! them when the module is loaded (`CONFIG_KUNIT`); results are in `/sys/kernel/debug/kunit`.
//!
//! They mount a filesystem that has nothing but inodes, on no device. Tests of a wrapper that needs no filesystem stand with it.

use super::{
    acl,
    dio::Completion,
    dir::{Creation, Emitter, RenameSide},
    errno::{EOPNOTSUPP, EUCLEAN},
    file,
    fs_context::{Log, Value},
    inode::{Fields, Flags, Iget, Kind, New, Times},
    iomap::{self, Mapping},
    kiocb::{Io, Read, Request, Write},
    registration::Registration,
    super_block::{self, StatFs},
    xattr, Buffer, Exclusive, FileSystem, Inode, InodeRef, Locked, Shared, SuperBlock,
};
use crate::sys::bindings;
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::{Atomic, Relaxed},
    ThisModule,
};

/// The filesystem.
struct Bare;

/// What has happened since [`forget`].
struct Seen {
    data_made: Atomic<u32>,
    data_dropped: Atomic<u32>,
    super_dropped: Atomic<u32>,
    deleted: Atomic<u32>,
    freed_ino: Atomic<u64>,
    began: Atomic<u32>,
    put_super: Atomic<u32>,
}

// Tests run one after the other, so statics serve as their notebook, and to say what should fail.
static SEEN: Seen = Seen {
    data_made: Atomic::new(0),
    data_dropped: Atomic::new(0),
    super_dropped: Atomic::new(0),
    deleted: Atomic::new(0),
    freed_ino: Atomic::new(0),
    began: Atomic::new(0),
    put_super: Atomic::new(0),
};
static FAIL_ROOT: Atomic<u32> = Atomic::new(0);
static FAIL_BEGIN: Atomic<u32> = Atomic::new(0);

/// Begins a new page.
fn forget() {
    for count in [
        &SEEN.data_made,
        &SEEN.data_dropped,
        &SEEN.super_dropped,
        &SEEN.deleted,
        &SEEN.began,
        &SEEN.put_super,
        &FAIL_ROOT,
        &FAIL_BEGIN,
    ] {
        count.store(0, Relaxed);
    }
    SEEN.freed_ino.store(0, Relaxed);
}

/// Data of an inode that counts.
struct Data {
    _place: u64,
}

impl Drop for Data {
    fn drop(&mut self) {
        SEEN.data_dropped.add(1, Relaxed);
    }
}

/// Data of a superblock that counts.
struct Super {
    _place: u64,
}

impl Drop for Super {
    fn drop(&mut self) {
        SEEN.super_dropped.add(1, Relaxed);
    }
}

impl FileSystem for Bare {
    type Options = ();
    type TypeData = ();
    type SuperData = Super;
    type InodeData = Data;

    fn new_inode_data() -> impl PinInit<Data, Error> {
        try_init!(Data {
            _place: {
                SEEN.data_made.add(1, Relaxed);
                1
            },
        }? Error)
    }
}

/// The number of the root directory.
const ROOT: u64 = 2;

fn fail(switch: &Atomic<u32>) -> Result {
    match switch.load(Relaxed) {
        0 => Ok(()),
        _ => Err(EIO),
    }
}

impl super_block::Operations for Bare {
    fn options(_sb: &SuperBlock<Self>) {}

    fn parse_option((): &mut (), _key: &[u8], _value: Value<'_>, _log: &Log) -> Result<bool> {
        Ok(false)
    }

    fn fill_super(
        _sb: &mut SuperBlock<Self, super_block::New>,
        (): (),
    ) -> Result<Pin<KBox<Super>>> {
        Ok(KBox::pin(Super { _place: 1 }, GFP_KERNEL)?)
    }

    fn root(sb: &SuperBlock<Self>) -> Result<InodeRef<'_, Self>> {
        let Iget::New(new) = sb.iget_locked(ROOT)? else {
            return Err(EUCLEAN);
        };
        fail(&FAIL_ROOT)?;
        complete(new, 0o040755)
    }

    fn begin(_sb: &SuperBlock<Self>) -> Result {
        SEEN.began.add(1, Relaxed);
        fail(&FAIL_BEGIN)
    }

    fn reconfigure(_sb: &SuperBlock<Self>, (): &(), _read_only: bool) -> Result {
        Ok(())
    }

    fn put_super(_sb: &SuperBlock<Self>) {
        SEEN.put_super.add(1, Relaxed);
    }

    fn sync_fs(_sb: &SuperBlock<Self>, _wait: bool) -> Result {
        Ok(())
    }

    fn statfs(_sb: &SuperBlock<Self>) -> Result<StatFs> {
        Err(EOPNOTSUPP)
    }

    fn show_options(_sb: &SuperBlock<Self>, _m: &SeqFile) {}

    fn write_inode(_inode: &Inode<Self>) -> Result {
        Ok(())
    }

    fn inode_buffer(_inode: &Inode<Self>) -> Result<Buffer<'_>> {
        Err(EOPNOTSUPP)
    }

    fn delete_inode(_inode: &Inode<Self>) {
        SEEN.deleted.add(1, Relaxed);
    }

    fn free_ino(_sb: &SuperBlock<Self>, ino: u64, _was_dir: bool) {
        SEEN.freed_ino.store(ino, Relaxed);
    }
}

impl xattr::Operations for Bare {
    fn get_xattr(
        _inode: &Inode<Self>,
        _namespace: xattr::Namespace,
        _name: &[u8],
        _out: &mut xattr::Out<'_>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn set_xattr(
        _inode: &Inode<Self>,
        _namespace: xattr::Namespace,
        _name: &[u8],
        _value: Option<&[u8]>,
        _when: xattr::When,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn list_xattr(_inode: &Inode<Self>, _out: &mut xattr::Out<'_>) -> Result {
        Ok(())
    }

    fn init_security(_inode: &Inode<Self>, _name: &[u8], _value: &[u8]) -> Result {
        Err(EOPNOTSUPP)
    }
}

impl acl::Operations for Bare {
    fn get_inode_acl(_inode: &Inode<Self>, _kind: acl::Kind) -> Result<Option<acl::PosixAcl>> {
        Ok(None)
    }

    fn set_acl(
        _inode: &Locked<Self, Exclusive>,
        _kind: acl::Kind,
        _acl: Option<&acl::PosixAcl>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }
}

impl super::dir::Operations for Bare {
    fn lookup<'a>(
        _dir: &'a Locked<Self, Shared>,
        _name: &[u8],
    ) -> Result<Option<InodeRef<'a, Self>>> {
        Ok(None)
    }

    fn create<'a>(
        _dir: &'a Locked<Self, Exclusive>,
        _name: &[u8],
        _creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        Err(EOPNOTSUPP)
    }

    fn mkdir<'a>(
        _dir: &'a Locked<Self, Exclusive>,
        _name: &[u8],
        _creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        Err(EOPNOTSUPP)
    }

    fn link(
        _dir: &Locked<Self, Exclusive>,
        _name: &[u8],
        _inode: &Locked<Self, Exclusive>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn unlink(
        _dir: &Locked<Self, Exclusive>,
        _name: &[u8],
        _inode: &Locked<Self, Exclusive>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn rmdir(
        _dir: &Locked<Self, Exclusive>,
        _name: &[u8],
        _inode: &Locked<Self, Exclusive>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn rename(
        _from: &RenameSide<'_, Self>,
        _to: &RenameSide<'_, Self>,
        _inode: &Inode<Self>,
        _target: Option<&Inode<Self>>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn iterate(_dir: &Locked<Self, Shared>, _emitter: &mut Emitter<'_>) -> Result {
        Ok(())
    }
}

impl file::Operations for Bare {
    fn read_iter(_request: Request<'_, Self, Read>) -> Io {
        Io::Done(Err(EOPNOTSUPP))
    }

    fn write_iter(_request: Request<'_, Self, Write>) -> Io {
        Io::Done(Err(EOPNOTSUPP))
    }

    fn dio_write_end(_completion: &Completion<'_, Self>) -> Result {
        Ok(())
    }

    fn setsize(_inode: &Locked<Self, Exclusive>, _size: u64) -> Result {
        Err(EOPNOTSUPP)
    }
}

impl iomap::Operations for Bare {
    fn iomap_begin(
        _inode: &Inode<Self>,
        _pos: u64,
        _len: u64,
        _flags: iomap::Flags,
    ) -> Result<(Mapping, u64)> {
        Err(EOPNOTSUPP)
    }

    fn size_changed(_inode: &Inode<Self>) {}

    fn write_prepare(
        _inode: &Inode<Self>,
        _cookie: u64,
        _pos: u64,
        _len: u64,
    ) -> Result<Option<u64>> {
        Err(EOPNOTSUPP)
    }

    fn write_done(_inode: &Inode<Self>, _pos: u64, _copied: u64) {}

    fn is_valid(_inode: &Inode<Self>, _cookie: u64) -> bool {
        false
    }

    fn writeback_map(_inode: &Inode<Self>, _pos: u64, _len: u64) -> Result<Mapping> {
        Err(EOPNOTSUPP)
    }
}

/// Finishes an inode that has just been looked up.
fn complete(mut new: New<'_, Bare>, mode: u16) -> Result<InodeRef<'_, Bare>> {
    let epoch = (0, 0);
    new.load(&Fields {
        mode,
        uid: 0,
        gid: 0,
        nlink: 1,
        size: 4096,
        sectors: 8,
        generation: 0,
        times: Times {
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
        },
        flags: Flags::default(),
    });
    new.set_kind(if mode & 0o040000 != 0 {
        &Kind::Directory
    } else {
        &Kind::Regular
    })?;
    Ok(new.ready())
}

/// The module.
fn module() -> ThisModule {
    // SAFETY: this is it.
    unsafe { ThisModule::from_ptr(bindings::notblk_kunit_module().cast()) }
}

/// A name for it.
fn register(name: &'static CStr, cache: &'static CStr) -> Result<Pin<KBox<Registration<Bare>>>> {
    KBox::try_pin_init(Registration::new(name, cache, &module(), ()), GFP_KERNEL)
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
        let Iget::New(new) = fixture.sb().iget_locked(12)? else {
            return Err(EUCLEAN);
        };
        let first = complete(new, 0o100644)?;
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
        let Iget::New(new) = fixture.sb().iget_locked(15)? else {
            return Err(EUCLEAN);
        };
        let inode = complete(new, 0o100644)?;
        assert!(fixture.sb().new_inode(15).err() == Some(EUCLEAN));
        assert_eq!(SEEN.deleted.load(Relaxed), 0);
        assert_eq!(SEEN.freed_ino.load(Relaxed), 0);
        drop(inode);
        Ok(())
    }

    #[test]
    fn a_lock_is_held_as_long_as_its_guard() -> Result {
        let fixture = Fixture::mounted()?;
        let Iget::New(new) = fixture.sb().iget_locked(16)? else {
            return Err(EUCLEAN);
        };
        let inode = complete(new, 0o100644)?;
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
