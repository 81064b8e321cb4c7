// SPDX-License-Identifier: GPL-2.0

//! A filesystem that has nothing but inodes, and takes notes. What the tests do not reach answers an errno.

use super::super::{
    acl,
    dio::Completion,
    dir::{self, Creation, Emitter, RenameSide},
    errno::{EOPNOTSUPP, ESTALE, EUCLEAN},
    export, fallocate, file, fileattr,
    fs_context::{Log, Value},
    hold,
    inode::{Fields, Flags, Iget, Kind, New, Times},
    ioctl,
    iomap::{self, Mapping},
    kiocb::{Io, Read, Request, Write},
    quota, shutdown,
    super_block::{self, StatFs},
    symlink, xattr, Buffer, Exclusive, FileSystem, Inode, InodeRef, Locked, OpenFile, Shared,
    SuperBlock,
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::{Atomic, Relaxed},
};

/// The filesystem.
pub(super) struct Bare;

/// What has happened since [`forget`].
pub(super) struct Seen {
    pub(super) data_made: Atomic<u32>,
    pub(super) data_dropped: Atomic<u32>,
    pub(super) super_dropped: Atomic<u32>,
    pub(super) deleted: Atomic<u32>,
    pub(super) freed_ino: Atomic<u64>,
    pub(super) began: Atomic<u32>,
    pub(super) put_super: Atomic<u32>,
    pub(super) forgotten: Atomic<u32>,
}

// Tests run one after the other, so statics serve as their notebook, and to say what should fail.
pub(super) static SEEN: Seen = Seen {
    data_made: Atomic::new(0),
    data_dropped: Atomic::new(0),
    super_dropped: Atomic::new(0),
    deleted: Atomic::new(0),
    freed_ino: Atomic::new(0),
    began: Atomic::new(0),
    put_super: Atomic::new(0),
    forgotten: Atomic::new(0),
};
pub(super) static FAIL_ROOT: Atomic<u32> = Atomic::new(0);
pub(super) static FAIL_BEGIN: Atomic<u32> = Atomic::new(0);
pub(super) static FAIL_MKDIR: Atomic<u32> = Atomic::new(0);
pub(super) static FAIL_ALIVE: Atomic<u32> = Atomic::new(0);

/// Begins a new page.
pub(super) fn forget() {
    for count in [
        &SEEN.data_made,
        &SEEN.data_dropped,
        &SEEN.super_dropped,
        &SEEN.deleted,
        &SEEN.began,
        &SEEN.put_super,
        &SEEN.forgotten,
        &FAIL_ROOT,
        &FAIL_BEGIN,
        &FAIL_MKDIR,
        &FAIL_ALIVE,
    ] {
        count.store(0, Relaxed);
    }
    SEEN.freed_ino.store(0, Relaxed);
}

/// Data of an inode that counts.
pub(super) struct Data {
    _place: u64,
}

impl Drop for Data {
    fn drop(&mut self) {
        SEEN.data_dropped.add(1, Relaxed);
    }
}

/// Data of a superblock that counts.
pub(super) struct Super {
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

/// That of the one directory that can be made.
pub(super) const MADE: u64 = 20;

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

    fn recover(_sb: &SuperBlock<Self>) {}

    fn reconfigure(_sb: &SuperBlock<Self>, (): &(), _read_only: bool) -> Result {
        Ok(())
    }

    fn set_options(_sb: &SuperBlock<Self>, (): &()) {}

    fn put_super(_sb: &SuperBlock<Self>) {
        SEEN.put_super.add(1, Relaxed);
    }

    fn sync_fs(_sb: &SuperBlock<Self>, _wait: bool) -> Result {
        Ok(())
    }

    fn statfs(_inode: &Inode<Self>) -> Result<StatFs> {
        Err(EOPNOTSUPP)
    }

    fn show_options(_sb: &SuperBlock<Self>, _m: &SeqFile) {}

    fn write_inode(_inode: &Inode<Self>) -> Result {
        Ok(())
    }

    fn inode_buffer(_inode: &Inode<Self>) -> Result<Buffer<'_>> {
        Err(EOPNOTSUPP)
    }

    fn delete_inode(_inode: &Inode<Self>) -> bool {
        SEEN.deleted.add(1, Relaxed);
        true
    }

    fn forget_inode(_inode: &Inode<Self>) {
        SEEN.forgotten.add(1, Relaxed);
    }

    fn free_ino(_sb: &SuperBlock<Self>, ino: u64, _was_dir: bool) {
        SEEN.freed_ino.store(ino, Relaxed);
    }
}

impl xattr::Operations for Bare {
    fn get_xattr(
        _inode: &Inode<Self>,
        namespace: xattr::Namespace,
        name: &[u8],
        out: &mut xattr::Out<'_>,
    ) -> Result {
        // Its own name.
        out.put(namespace.prefix().to_bytes())?;
        out.put(name)
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

impl dir::Operations for Bare {
    type Cursor = u32;

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
        dir: &'a Locked<Self, Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        // SAFETY: valid during the call, says `qstr`; only looked at.
        let len = unsafe { (*creation.qstr()).__bindgen_anon_1.__bindgen_anon_1.len };
        if name != b"name" || len != 4 {
            return Err(EINVAL);
        }
        let mut new = dir.sb().new_inode(MADE)?;
        new.init(dir, creation, Flags::default());
        new.quota_charge_inode()?;
        fail(&FAIL_MKDIR)?;
        new.set_nlink(2);
        new.set_kind(&Kind::Directory)?;
        Ok(new)
    }

    fn symlink<'a>(
        _dir: &'a Locked<Self, Exclusive>,
        _name: &[u8],
        _target: &[u8],
        _creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        Err(EOPNOTSUPP)
    }

    fn mknod<'a>(
        _dir: &'a Locked<Self, Exclusive>,
        _name: &[u8],
        _creation: &Creation<'_>,
        _device: (u32, u32),
    ) -> Result<New<'a, Self>> {
        Err(EOPNOTSUPP)
    }

    fn tmpfile<'a>(_dir: &'a Inode<Self>, _creation: &Creation<'_>) -> Result<New<'a, Self>> {
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
        _whiteout: Option<&Creation<'_>>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn exchange(
        _from: &RenameSide<'_, Self>,
        _to: &RenameSide<'_, Self>,
        _inode: &Inode<Self>,
        _other: &Inode<Self>,
    ) -> Result {
        Err(EOPNOTSUPP)
    }

    fn iterate(
        _dir: &Locked<Self, Shared>,
        _cursor: &mut u32,
        _emitter: &mut Emitter<'_>,
    ) -> Result {
        Ok(())
    }

    fn end(_dir: &Inode<Self>, narrow: bool) -> Option<u64> {
        Some(if narrow { 1 << 31 } else { 1 << 40 })
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

    fn last_writer_gone(_inode: &Inode<Self>) {}

    fn setsize(_inode: &Locked<Self, Exclusive>, _size: u64, _owner: hold::Owner) -> Result {
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

    fn iomap_report(_inode: &Inode<Self>, _pos: u64, _len: u64) -> Result<Mapping> {
        Err(EOPNOTSUPP)
    }

    fn iomap_xattr(_inode: &Inode<Self>) -> Result<iomap::AttributesAt> {
        Err(ENOENT)
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

impl symlink::Operations for Bare {
    fn target(_inode: &Inode<Self>) -> Result<Buffer<'_>> {
        Err(EOPNOTSUPP)
    }
}

impl export::Operations for Bare {
    fn from_handle(
        _sb: &SuperBlock<Self>,
        _ino: u64,
        _generation: export::Generation,
    ) -> Result<InodeRef<'_, Self>> {
        Err(ESTALE)
    }

    fn parent(_dir: &Inode<Self>) -> Result<InodeRef<'_, Self>> {
        Err(ESTALE)
    }
}

impl fallocate::Operations for Bare {
    fn fallocate(
        _file: &OpenFile<'_, Self>,
        _mode: fallocate::Mode,
        _offset: u64,
        _len: u64,
    ) -> Result {
        Err(EOPNOTSUPP)
    }
}

impl fileattr::Operations for Bare {
    fn flags(_inode: &Inode<Self>) -> u32 {
        0
    }

    fn set(_inode: &Locked<Self, Exclusive>, _flags: u32, _project: u32) -> Result {
        Err(EOPNOTSUPP)
    }

    fn birth_time(_inode: &Inode<Self>) -> Option<(i64, u32)> {
        None
    }
}

impl ioctl::Operations for Bare {
    fn ioctl(_file: &OpenFile<'_, Self>, _command: ioctl::Command) -> Result {
        Err(ENOTTY)
    }
}

impl hold::Operations for Bare {}

impl shutdown::Operations for Bare {
    fn check_alive(_sb: &SuperBlock<Self>) -> Result {
        fail(&FAIL_ALIVE)
    }

    fn shut_down(_sb: &SuperBlock<Self>) {
        FAIL_ALIVE.store(1, Relaxed);
    }
}

impl quota::Operations for Bare {
    fn has_hidden_files(_sb: &SuperBlock<Self>) -> bool {
        false
    }

    fn hidden_file(
        _sb: &SuperBlock<Self>,
        _kind: quota::Kind,
    ) -> Result<Option<InodeRef<'_, Self>>> {
        Ok(None)
    }

    fn wants_limits(_sb: &SuperBlock<Self>, _kind: quota::Kind) -> bool {
        false
    }

    fn project(_inode: &Inode<Self>) -> Option<u32> {
        None
    }

    fn protect_file(_inode: &Locked<Self, Exclusive>, _protect: bool) {}

    fn read_file(_file: &quota::File<'_, Self>, _dst: &mut [u8], _pos: u64) -> Result<usize> {
        Err(EOPNOTSUPP)
    }

    fn write_file(_file: &quota::File<'_, Self>, _src: &[u8], _pos: u64) -> Result {
        Err(EOPNOTSUPP)
    }
}

/// Finishes an inode that has just been looked up.
pub(super) fn complete(mut new: New<'_, Bare>, mode: u16) -> Result<InodeRef<'_, Bare>> {
    let epoch = (0, 0);
    new.load(&Fields {
        mode,
        uid: 0,
        gid: 0,
        nlink: 1,
        size: 4096,
        sectors: 8,
        generation: 0,
        version: 1,
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
