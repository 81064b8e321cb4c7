/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions that C has as macros or static inlines, under names that bindgen can see. No logic: each does what its name
 * says in the header it wraps.
 */
#ifndef NOTBLK_HELPERS_H
#define NOTBLK_HELPERS_H

#include <linux/buffer_head.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/quotaops.h>
#include <linux/security.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>
#include <linux/xattr.h>

/* Module parameter alias=, or NULL. */
const char *notblk_alias(void);

/* Memory that others may write at the same time (a mapped buffer, a page): copied by C, outside Rust's memory model. */
void notblk_memcpy(void *dst, const void *src, size_t n);
void notblk_memset(void *dst, int byte, size_t n);

/* linux/capability.h */
bool notblk_capable_resource(void);
bool notblk_capable_admin(void);

/* linux/compat.h */
unsigned long notblk_compat_ptr(u32 address);

/* linux/cred.h, by ids of the initial user namespace */
bool notblk_fsuid_is(u32 uid);
bool notblk_in_group(u32 gid);

/* linux/buffer_head.h */
struct buffer_head *notblk_sb_getblk(struct super_block *sb, u64 block);
struct buffer_head *notblk_sb_find_get_block(struct super_block *sb, u64 block);
struct buffer_head *notblk_sb_find_get_block_nonatomic(struct super_block *sb, u64 block);
void notblk_brelse(struct buffer_head *bh);
void notblk_bforget(struct buffer_head *bh);
void notblk_get_bh(struct buffer_head *bh);
void notblk_lock_buffer(struct buffer_head *bh);
bool notblk_trylock_buffer(struct buffer_head *bh);
int notblk_bh_read_locked(struct buffer_head *bh);
bool notblk_buffer_on_its_way(const struct buffer_head *bh);
bool notblk_buffer_uptodate(const struct buffer_head *bh);
void notblk_set_buffer_uptodate(struct buffer_head *bh);
int notblk_sync_dirty_buffer_fua(struct buffer_head *bh);
bool notblk_buffer_write_io_error(const struct buffer_head *bh);
void notblk_clear_buffer_write_io_error(struct buffer_head *bh);
void notblk_clear_buffer_dirty(struct buffer_head *bh);
struct address_space *notblk_sb_bdev_mapping(struct super_block *sb);
u32 notblk_mapping_wb_err(struct address_space *mapping);
int notblk_mapping_check_and_advance(struct address_space *mapping, u32 *since);
void notblk_folio_batch_init(struct folio_batch *batch);
void notblk_folio_batch_release(struct folio_batch *batch);
void notblk_folio_lock(struct folio *folio);
void notblk_folio_unlock(struct folio *folio);
struct buffer_head *notblk_folio_buffers(struct folio *folio);
void notblk_mark_buffer_dirty(struct buffer_head *bh);
void notblk_mmb_mark_buffer_dirty(struct buffer_head *bh, struct mapping_metadata_bhs *mmb);
void notblk_clean_bdev_aliases(struct super_block *sb, u64 block, u64 count);

/* linux/blkdev.h */
unsigned int notblk_bdev_dma_alignment(struct super_block *sb);
unsigned int notblk_bdev_logical_block_size(struct super_block *sb);
unsigned int notblk_bdev_max_discard_sectors(struct super_block *sb);
unsigned int notblk_bdev_discard_granularity(struct super_block *sb);
int notblk_sb_issue_discard(struct super_block *sb, u64 block, u64 count);

/* linux/spinlock.h, linux/workqueue.h: a lock to be taken with interrupts off, and work to be done after a while */
struct notblk_gate {
	spinlock_t lock;
	struct delayed_work look;
};

void notblk_gate_init(struct notblk_gate *gate, void (*look)(struct work_struct *work));
unsigned long notblk_gate_lock(struct notblk_gate *gate);
void notblk_gate_unlock(struct notblk_gate *gate, unsigned long flags);
struct notblk_gate *notblk_gate_of_work(struct work_struct *work);
void notblk_gate_look_in(struct notblk_gate *gate, unsigned int ms);
void notblk_gate_end(struct notblk_gate *gate);

/* linux/completion.h: false where the task was killed. /proc/PID/wchan names the function. */
void notblk_init_completion(struct completion *done);
bool notblk_hold_wait(struct completion *done);

/* linux/bio.h */
void notblk_bio_end(struct bio *bio);

/* linux/rcupdate.h: no task is any more where it was, in interrupt or preempted */
void notblk_synchronize_code(void);

/* trace.h: emit an event where it is enabled */
void notblk_trace_fallback(const struct inode *inode, int owner, const char *stage, u64 pos, u64 len);
void notblk_trace_drain(const struct inode *inode, bool end, u64 waited);
void notblk_trace_hold(u32 dev, u64 ino, int owner, u64 rule, const char *point, u64 pos, u64 len);
void notblk_trace_release(u32 dev, u64 ino, int owner, u64 rule, const char *point, u64 pos, u64 len);
bool notblk_trace_map_enabled(void);
void notblk_trace_map(const struct inode *inode, u64 pos, u64 len, const char *answer, u64 block);

/* linux/sched/signal.h, linux/freezer.h: the calling task */
bool notblk_fatal_signal_pending(void);
bool notblk_freezing(void);

/* linux/slab.h, linux/fs.h: the inode cache */
struct kmem_cache *notblk_inode_cache_create(const char *name, unsigned int size, void (*ctor)(void *));
void *notblk_alloc_inode_sb(struct super_block *sb, struct kmem_cache *cache);

/* linux/lockdep.h: the keys of a filesystem type that is not in static memory */
void notblk_register_lock_keys(struct file_system_type *type);
void notblk_unregister_lock_keys(struct file_system_type *type);

/* linux/fs.h: locks */
void notblk_inode_lock(struct inode *inode);
void notblk_inode_unlock(struct inode *inode);
bool notblk_inode_trylock(struct inode *inode);
void notblk_inode_lock_shared(struct inode *inode);
void notblk_inode_unlock_shared(struct inode *inode);
bool notblk_inode_trylock_shared(struct inode *inode);
bool notblk_inode_is_locked(struct inode *inode);
void notblk_filemap_invalidate_lock(struct address_space *mapping);
void notblk_filemap_invalidate_unlock(struct address_space *mapping);
bool notblk_mapping_may_be_dirty(struct address_space *mapping);
bool notblk_is_written_after_faults(struct address_space *mapping, loff_t start, loff_t end);
void notblk_filemap_invalidate_lock_shared(struct address_space *mapping);
void notblk_filemap_invalidate_unlock_shared(struct address_space *mapping);
void notblk_sb_start_intwrite(struct super_block *sb);
void notblk_sb_end_intwrite(struct super_block *sb);
bool notblk_sb_start_intwrite_trylock(struct super_block *sb);
void notblk_sb_start_pagefault(struct super_block *sb);
void notblk_sb_end_pagefault(struct super_block *sb);
bool notblk_inode_dio_busy(struct inode *inode);

/* linux/fs.h: fields of an inode */
loff_t notblk_i_size_read(const struct inode *inode);
void notblk_i_size_write(struct inode *inode, loff_t size);
u32 notblk_i_uid_read(const struct inode *inode);
u32 notblk_i_gid_read(const struct inode *inode);
void notblk_i_uid_write(struct inode *inode, u32 uid);
void notblk_i_gid_write(struct inode *inode, u32 gid);
void notblk_inode_set_atime(struct inode *inode, s64 sec, long nsec);
void notblk_inode_set_mtime(struct inode *inode, s64 sec, long nsec);
void notblk_inode_set_ctime(struct inode *inode, s64 sec, long nsec);
s64 notblk_inode_get_atime(const struct inode *inode, u32 *nsec);
s64 notblk_inode_get_mtime(const struct inode *inode, u32 *nsec);
s64 notblk_inode_get_ctime(const struct inode *inode, u32 *nsec);
u64 notblk_inode_peek_iversion(const struct inode *inode);
void notblk_inode_inc_iversion(struct inode *inode);
void notblk_inode_set_iversion(struct inode *inode, u64 version);
void notblk_inode_set_iversion_queried(struct inode *inode, u64 version);
void notblk_inode_touch_mctime(struct inode *inode);
u64 notblk_i_blocks_read(struct inode *inode);
void notblk_inode_take_group(struct inode *inode, const struct inode *dir);
bool notblk_inode_is_new(struct inode *inode);
bool notblk_inode_is_linkable(struct inode *inode);
#ifdef NOTBLK_HAS_SYNC_INODE_METADATA
void notblk_set_inode_metadata_writeback(struct inode *inode);
#endif
int notblk_i_dirty(void);
bool notblk_datasync_dirty(struct inode *inode);
bool notblk_is_sync(struct inode *inode);
bool notblk_is_dirsync(struct inode *inode);
bool notblk_sb_rdonly(const struct super_block *sb);
u64 notblk_bdev_nr_bytes(struct super_block *sb);
void notblk_super_set_sysfs_name_bdev(struct super_block *sb);
bool notblk_sb_has_removed(struct super_block *sb);
bool notblk_bdev_read_only(struct super_block *sb);
u64 notblk_bdev_sectors_written(struct super_block *sb);
u32 notblk_mkdev(u32 major, u32 minor);
u32 notblk_major(dev_t dev);
u32 notblk_minor(dev_t dev);
u32 notblk_imajor(const struct inode *inode);
u32 notblk_iminor(const struct inode *inode);
void notblk_mapping_set_folio_orders(struct inode *inode);
bool notblk_wbc_waits_for_inode(const struct writeback_control *wbc);

/* linux/fs.h, linux/dcache.h: directories and names */
struct inode *notblk_d_inode(const struct dentry *dentry);
const struct qstr *notblk_d_qstr(const struct dentry *dentry);
const char *notblk_d_name(const struct dentry *dentry, u32 *len);
void notblk_set_delayed_kfree(struct delayed_call *done, void *memory);
bool notblk_is_32bit_api(void);
bool notblk_dir_emit(struct dir_context *ctx, const char *name, int namelen, u64 ino, unsigned int type);

/* linux/posix_acl.h: entries by their number; ids are those of the initial user namespace */
void notblk_posix_acl_release(struct posix_acl *acl);
u32 notblk_posix_acl_count(const struct posix_acl *acl);
void notblk_posix_acl_get_entry(const struct posix_acl *acl, u32 i, u16 *tag, u16 *perm, u32 *id);
void notblk_posix_acl_set_entry(struct posix_acl *acl, u32 i, u16 tag, u16 perm, u32 id);

/* linux/security.h */
int notblk_security_inode_init_security(struct inode *inode, struct inode *dir, const struct qstr *qstr,
					int (*initxattrs)(struct inode *, const struct xattr *, void *));

/* linux/uio.h, linux/fs.h: requests */
struct inode *notblk_file_inode(const struct file *file);
struct dentry *notblk_file_dentry(const struct file *file);
struct mnt_idmap *notblk_file_mnt_idmap(const struct file *file);
const char *notblk_file_mount_path(const struct file *file, char *buf, int len);
void notblk_file_accessed(struct file *file);
bool notblk_is_last_writer(const struct inode *inode, const struct file *file);
ssize_t notblk_generic_write_sync(struct kiocb *iocb, ssize_t count);
size_t notblk_iov_iter_count(const struct iov_iter *iter);

/* linux/pagemap.h */
u64 notblk_folio_pos(const struct folio *folio);
size_t notblk_folio_size(const struct folio *folio);
void notblk_folio_unlock_put(struct folio *folio);
struct folio *notblk_filemap_lock_folio(struct address_space *mapping, pgoff_t index);
bool notblk_is_err(const void *ptr);

/* linux/iomap.h */
int notblk_iomap_iter_next(const struct iomap_iter *iter, struct iomap *iomap, struct iomap *srcmap,
			   iomap_iter_begin_fn begin, iomap_iter_end_fn end);
void notblk_iomap_bio_read_folio(struct folio *folio, const struct iomap_ops *ops);
void notblk_iomap_bio_readahead(struct readahead_control *rac, const struct iomap_ops *ops);

/* linux/quotaops.h: functions that without CONFIG_QUOTA are static inlines which count i_blocks */
int notblk_dquot_initialize(struct inode *inode);
int notblk_dquot_alloc_block(struct inode *inode, s64 blocks);
void notblk_dquot_free_block(struct inode *inode, s64 blocks);
int notblk_dquot_alloc_inode(struct inode *inode);
void notblk_dquot_free_inode(struct inode *inode);
void notblk_dquot_drop(struct inode *inode);
int notblk_dquot_file_open(struct inode *inode, struct file *file);
bool notblk_is_quota_modification(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr);
bool notblk_owner_needs_update(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr);
void notblk_owner_update(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr);
int notblk_dquot_transfer(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr);
/* Success, too, where there is no quota to charge. */
int notblk_dquot_transfer_project(struct inode *inode, u32 project);
/* Whether limits of projects are kept; a copy of what the quota of one has then. */
bool notblk_project_dqblk(struct super_block *sb, u32 project, struct mem_dqblk *dqblk);
int notblk_dquot_quota_off(struct super_block *sb, int type);
/* ESRCH without quotas. */
int notblk_dquot_quota_on_mount(struct super_block *sb, const char *name, int format, int type);
int notblk_dquot_suspend(struct super_block *sb);
int notblk_dquot_writeback_dquots(struct super_block *sb);
bool notblk_sb_any_quota_loaded(struct super_block *sb);
bool notblk_sb_any_quota_suspended(struct super_block *sb);
void notblk_quota_set_sys_file(struct super_block *sb);
/* The inode of a quota file that is on, or NULL; the second with a reference of the caller's. */
struct inode *notblk_quota_file(struct super_block *sb, int type);
struct inode *notblk_quota_file_get(struct super_block *sb, int type);
/* fserror_report_file_metadata() of an inode by its number, or, for 0, fserror_report_metadata(); `error` is negative. */
void notblk_report_metadata_error(struct super_block *sb, u64 ino, int error);
/* The next dirty inode behind `last`, NULL for the first, with a reference; that to `last` is put. May sleep. */
struct inode *notblk_next_dirty_inode(struct super_block *sb, struct inode *last);
struct inode *notblk_path_inode(const struct path *path);

/* linux/fs_context.h: a line for the caller of mount(2) or fsconfig(2) */
void notblk_errorf(struct fs_context *fc, const char *message);

#if IS_BUILTIN(CONFIG_KUNIT)
/* What the module's own tests work on: a superblock of the type without a device, its s_umount held; and a buffer of some memory,
 * up to date, with one reference. Each is NULL where there is no memory. */
struct module *notblk_kunit_module(void);
struct super_block *notblk_kunit_sb(struct file_system_type *type);
void notblk_kunit_sb_put(struct super_block *sb);
struct dentry *notblk_kunit_mkdir(struct super_block *sb, const char *name, umode_t mode);
struct file *notblk_kunit_open(struct inode *inode, fmode_t mode);
void notblk_kunit_close(struct file *file);
struct buffer_head *notblk_kunit_bh(size_t size);
void notblk_kunit_bh_put(struct buffer_head *bh);
int notblk_kunit_bh_count(struct buffer_head *bh);
bool notblk_kunit_bh_dirty(struct buffer_head *bh);
#endif

/* ioend.c: what write-back needs of a superblock once it has a root (0, or a negative errno), and iomap_ioend_writeback_submit */
int notblk_writeback_prepare(struct super_block *sb);
int notblk_writeback_submit(struct iomap_writepage_ctx *wpc, int error);

#endif
