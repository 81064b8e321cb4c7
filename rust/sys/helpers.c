// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */
#include <linux/dcache.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/moduleparam.h>
#include <linux/backing-dev.h>
#include <linux/blkdev.h>
#include <linux/bio.h>
#include <linux/rcupdate.h>
#include <linux/compat.h>
#include <linux/freezer.h>
#include <linux/fserror.h>
#include <linux/iversion.h>
#include <linux/sched/signal.h>
#include <linux/lockdep.h>
#include <linux/part_stat.h>

#include "helpers.h"

/* The kernel crate's module! macro takes numbers only, so the one parameter that is text is declared here. */
static char *alias;
module_param(alias, charp, 0444);
MODULE_PARM_DESC(alias, "also register as these filesystem types: ext2, ext3, ext4, comma-separated (while ext4.ko is not loaded)");

const char *notblk_alias(void)
{
	return alias;
}

void notblk_memcpy(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}

void notblk_memset(void *dst, int byte, size_t n)
{
	memset(dst, byte, n);
}

bool notblk_capable_resource(void)
{
	return capable(CAP_SYS_RESOURCE);
}

bool notblk_fsuid_is(u32 uid)
{
	return uid_eq(make_kuid(&init_user_ns, uid), current_fsuid());
}

bool notblk_in_group(u32 gid)
{
	return in_group_p(make_kgid(&init_user_ns, gid));
}

bool notblk_capable_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

unsigned long notblk_compat_ptr(u32 address)
{
	return (unsigned long)compat_ptr(address);
}

unsigned int notblk_bdev_dma_alignment(struct super_block *sb)
{
	return bdev_dma_alignment(sb->s_bdev);
}

unsigned int notblk_bdev_logical_block_size(struct super_block *sb)
{
	return bdev_logical_block_size(sb->s_bdev);
}

unsigned int notblk_bdev_max_discard_sectors(struct super_block *sb)
{
	return bdev_max_discard_sectors(sb->s_bdev);
}

unsigned int notblk_bdev_discard_granularity(struct super_block *sb)
{
	return bdev_discard_granularity(sb->s_bdev);
}

int notblk_sb_issue_discard(struct super_block *sb, u64 block, u64 count)
{
	return sb_issue_discard(sb, block, count, GFP_NOFS, 0);
}

bool notblk_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

bool notblk_freezing(void)
{
	return freezing(current);
}

void notblk_gate_init(struct notblk_gate *gate, void (*look)(struct work_struct *work))
{
	spin_lock_init(&gate->lock);
	INIT_DELAYED_WORK(&gate->look, look);
}

unsigned long notblk_gate_lock(struct notblk_gate *gate)
{
	unsigned long flags;

	spin_lock_irqsave(&gate->lock, flags);
	return flags;
}

void notblk_gate_unlock(struct notblk_gate *gate, unsigned long flags)
{
	spin_unlock_irqrestore(&gate->lock, flags);
}

struct notblk_gate *notblk_gate_of_work(struct work_struct *work)
{
	return container_of(to_delayed_work(work), struct notblk_gate, look);
}

void notblk_gate_look_in(struct notblk_gate *gate, unsigned int ms)
{
	mod_delayed_work(system_dfl_wq, &gate->look, msecs_to_jiffies(ms) + 1);
}

void notblk_gate_end(struct notblk_gate *gate)
{
	cancel_delayed_work_sync(&gate->look);
}

void notblk_init_completion(struct completion *done)
{
	init_completion(done);
}

bool notblk_hold_wait(struct completion *done)
{
	bool completed = wait_for_completion_killable(done) == 0;

	/* No tail call: the stack shows this function. */
	barrier();
	return completed;
}

void notblk_bio_end(struct bio *bio)
{
	bio->bi_end_io(bio);
}

void notblk_synchronize_code(void)
{
	synchronize_rcu();
	synchronize_rcu_tasks();
}

struct buffer_head *notblk_sb_getblk(struct super_block *sb, u64 block)
{
	return sb_getblk(sb, block);
}

struct buffer_head *notblk_sb_find_get_block(struct super_block *sb, u64 block)
{
	return sb_find_get_block(sb, block);
}

struct buffer_head *notblk_sb_find_get_block_nonatomic(struct super_block *sb, u64 block)
{
	return sb_find_get_block_nonatomic(sb, block);
}

void notblk_brelse(struct buffer_head *bh)
{
	brelse(bh);
}

void notblk_bforget(struct buffer_head *bh)
{
	bforget(bh);
}

void notblk_get_bh(struct buffer_head *bh)
{
	get_bh(bh);
}

void notblk_lock_buffer(struct buffer_head *bh)
{
	lock_buffer(bh);
}

bool notblk_trylock_buffer(struct buffer_head *bh)
{
	return trylock_buffer(bh);
}

int notblk_bh_read_locked(struct buffer_head *bh)
{
	return __bh_read(bh, 0, true);
}

bool notblk_buffer_on_its_way(const struct buffer_head *bh)
{
	return buffer_dirty(bh) || buffer_locked(bh) || buffer_write_io_error(bh);
}

bool notblk_buffer_uptodate(const struct buffer_head *bh)
{
	return buffer_uptodate(bh);
}

void notblk_set_buffer_uptodate(struct buffer_head *bh)
{
	set_buffer_uptodate(bh);
}

int notblk_sync_dirty_buffer_fua(struct buffer_head *bh)
{
	return __sync_dirty_buffer(bh, REQ_SYNC | REQ_FUA);
}

bool notblk_buffer_write_io_error(const struct buffer_head *bh)
{
	return buffer_write_io_error(bh);
}

void notblk_clear_buffer_write_io_error(struct buffer_head *bh)
{
	clear_buffer_write_io_error(bh);
}

void notblk_clear_buffer_dirty(struct buffer_head *bh)
{
	clear_buffer_dirty(bh);
}

struct address_space *notblk_sb_bdev_mapping(struct super_block *sb)
{
	return sb->s_bdev->bd_mapping;
}

u32 notblk_mapping_wb_err(struct address_space *mapping)
{
	return READ_ONCE(mapping->wb_err);
}

int notblk_mapping_check_and_advance(struct address_space *mapping, u32 *since)
{
	return errseq_check_and_advance(&mapping->wb_err, since);
}

void notblk_folio_batch_init(struct folio_batch *batch)
{
	folio_batch_init(batch);
}

void notblk_folio_batch_release(struct folio_batch *batch)
{
	folio_batch_release(batch);
}

void notblk_folio_lock(struct folio *folio)
{
	folio_lock(folio);
}

void notblk_folio_unlock(struct folio *folio)
{
	folio_unlock(folio);
}

struct buffer_head *notblk_folio_buffers(struct folio *folio)
{
	return folio_buffers(folio);
}

void notblk_clean_bdev_aliases(struct super_block *sb, u64 block, u64 count)
{
	clean_bdev_aliases(sb->s_bdev, block, count);
}

struct kmem_cache *notblk_inode_cache_create(const char *name, unsigned int size, void (*ctor)(void *))
{
	return kmem_cache_create(name, size, 0, SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT, ctor);
}

void *notblk_alloc_inode_sb(struct super_block *sb, struct kmem_cache *cache)
{
	return alloc_inode_sb(sb, cache, GFP_KERNEL);
}

static void each_lock_key(struct file_system_type *type, void (*call)(struct lock_class_key *))
{
	int i;

	call(&type->s_lock_key);
	call(&type->s_umount_key);
	call(&type->s_vfs_rename_key);
	for (i = 0; i < SB_FREEZE_LEVELS; i++)
		call(&type->s_writers_key[i]);
	call(&type->i_lock_key);
	call(&type->i_mutex_key);
	call(&type->invalidate_lock_key);
	call(&type->i_mutex_dir_key);
}

void notblk_register_lock_keys(struct file_system_type *type)
{
	each_lock_key(type, lockdep_register_key);
}

void notblk_unregister_lock_keys(struct file_system_type *type)
{
	each_lock_key(type, lockdep_unregister_key);
}

void notblk_inode_lock(struct inode *inode)
{
	inode_lock(inode);
}

void notblk_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

bool notblk_inode_trylock(struct inode *inode)
{
	return inode_trylock(inode);
}

void notblk_inode_lock_shared(struct inode *inode)
{
	inode_lock_shared(inode);
}

void notblk_inode_unlock_shared(struct inode *inode)
{
	inode_unlock_shared(inode);
}

bool notblk_inode_trylock_shared(struct inode *inode)
{
	return inode_trylock_shared(inode);
}

bool notblk_inode_is_locked(struct inode *inode)
{
	return inode_is_locked(inode);
}

void notblk_filemap_invalidate_lock(struct address_space *mapping)
{
	filemap_invalidate_lock(mapping);
}

void notblk_filemap_invalidate_unlock(struct address_space *mapping)
{
	filemap_invalidate_unlock(mapping);
}

bool notblk_mapping_may_be_dirty(struct address_space *mapping)
{
	/* In the order in which a page goes through these, so that it is not missed on its way from one to the next. */
	if (mapping_writably_mapped(mapping))
		return true;
	smp_rmb();
	if (mapping_tagged(mapping, PAGECACHE_TAG_DIRTY))
		return true;
	smp_rmb();
	return mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK);
}

bool notblk_is_written_after_faults(struct address_space *mapping, loff_t start, loff_t end)
{
	bool written;

	if (!down_write_trylock(&mapping->invalidate_lock))
		return false;
	written = !filemap_range_needs_writeback(mapping, start, end);
	filemap_invalidate_unlock(mapping);
	return written;
}

void notblk_filemap_invalidate_lock_shared(struct address_space *mapping)
{
	filemap_invalidate_lock_shared(mapping);
}

void notblk_filemap_invalidate_unlock_shared(struct address_space *mapping)
{
	filemap_invalidate_unlock_shared(mapping);
}

void notblk_sb_start_intwrite(struct super_block *sb)
{
	sb_start_intwrite(sb);
}

void notblk_sb_end_intwrite(struct super_block *sb)
{
	sb_end_intwrite(sb);
}

bool notblk_sb_start_intwrite_trylock(struct super_block *sb)
{
	return sb_start_intwrite_trylock(sb);
}

void notblk_sb_start_pagefault(struct super_block *sb)
{
	sb_start_pagefault(sb);
}

void notblk_sb_end_pagefault(struct super_block *sb)
{
	sb_end_pagefault(sb);
}

bool notblk_inode_dio_busy(struct inode *inode)
{
	return atomic_read(&inode->i_dio_count) != 0;
}

loff_t notblk_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

void notblk_i_size_write(struct inode *inode, loff_t size)
{
	i_size_write(inode, size);
}

u32 notblk_i_uid_read(const struct inode *inode)
{
	return i_uid_read(inode);
}

u32 notblk_i_gid_read(const struct inode *inode)
{
	return i_gid_read(inode);
}

void notblk_i_uid_write(struct inode *inode, u32 uid)
{
	i_uid_write(inode, uid);
}

void notblk_i_gid_write(struct inode *inode, u32 gid)
{
	i_gid_write(inode, gid);
}

void notblk_inode_set_atime(struct inode *inode, s64 sec, long nsec)
{
	inode_set_atime(inode, sec, nsec);
}

void notblk_inode_set_mtime(struct inode *inode, s64 sec, long nsec)
{
	inode_set_mtime(inode, sec, nsec);
}

void notblk_inode_set_ctime(struct inode *inode, s64 sec, long nsec)
{
	inode_set_ctime(inode, sec, nsec);
}

s64 notblk_inode_get_atime(const struct inode *inode, u32 *nsec)
{
	*nsec = inode_get_atime_nsec(inode);
	return inode_get_atime_sec(inode);
}

s64 notblk_inode_get_mtime(const struct inode *inode, u32 *nsec)
{
	*nsec = inode_get_mtime_nsec(inode);
	return inode_get_mtime_sec(inode);
}

s64 notblk_inode_get_ctime(const struct inode *inode, u32 *nsec)
{
	*nsec = inode_get_ctime_nsec(inode);
	return inode_get_ctime_sec(inode);
}

u64 notblk_inode_peek_iversion(const struct inode *inode)
{
	return inode_peek_iversion(inode);
}

void notblk_inode_inc_iversion(struct inode *inode)
{
	inode_inc_iversion(inode);
}

void notblk_inode_set_iversion(struct inode *inode, u64 version)
{
	inode_set_iversion(inode, version);
}

void notblk_inode_set_iversion_queried(struct inode *inode, u64 version)
{
	inode_set_iversion_queried(inode, version);
}

void notblk_inode_touch_mctime(struct inode *inode)
{
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
}

u64 notblk_i_blocks_read(struct inode *inode)
{
	u64 sectors;

	spin_lock(&inode->i_lock);
	sectors = inode->i_blocks;
	spin_unlock(&inode->i_lock);
	return sectors;
}

void notblk_inode_take_group(struct inode *inode, const struct inode *dir)
{
	inode->i_gid = dir->i_gid;
}

bool notblk_inode_is_new(struct inode *inode)
{
	return inode_state_read_once(inode) & I_NEW;
}

bool notblk_inode_is_linkable(struct inode *inode)
{
	return inode_state_read_once(inode) & I_LINKABLE;
}

#ifdef NOTBLK_HAS_SYNC_INODE_METADATA
void notblk_set_inode_metadata_writeback(struct inode *inode)
{
	set_inode_metadata_writeback(inode);
}
#define NOTBLK_I_METADATA_WRITEBACK I_METADATA_WRITEBACK
#else
#define NOTBLK_I_METADATA_WRITEBACK 0
#endif

int notblk_i_dirty(void)
{
	return I_DIRTY;
}

bool notblk_datasync_dirty(struct inode *inode)
{
	return inode_state_read_once(inode) & (I_DIRTY_DATASYNC | I_SYNC | NOTBLK_I_METADATA_WRITEBACK);
}

bool notblk_is_sync(struct inode *inode)
{
	return IS_SYNC(inode);
}

bool notblk_is_dirsync(struct inode *inode)
{
	return IS_DIRSYNC(inode);
}

bool notblk_sb_rdonly(const struct super_block *sb)
{
	return sb_rdonly(sb);
}

u64 notblk_bdev_nr_bytes(struct super_block *sb)
{
	return bdev_nr_bytes(sb->s_bdev);
}

void notblk_super_set_sysfs_name_bdev(struct super_block *sb)
{
	super_set_sysfs_name_bdev(sb);
}

bool notblk_sb_has_removed(struct super_block *sb)
{
	return atomic_long_read(&sb->s_remove_count) != 0;
}

bool notblk_bdev_read_only(struct super_block *sb)
{
	return bdev_read_only(sb->s_bdev);
}

u64 notblk_bdev_sectors_written(struct super_block *sb)
{
	return part_stat_read(sb->s_bdev, sectors[STAT_WRITE]);
}

u32 notblk_mkdev(u32 major, u32 minor)
{
	return MKDEV(major, minor);
}

u32 notblk_imajor(const struct inode *inode)
{
	return imajor(inode);
}

u32 notblk_iminor(const struct inode *inode)
{
	return iminor(inode);
}

void notblk_mapping_set_folio_orders(struct inode *inode)
{
	mapping_set_folio_min_order(inode->i_mapping, get_order(i_blocksize(inode)));
}

bool notblk_wbc_waits_for_inode(const struct writeback_control *wbc)
{
	return wbc->sync_mode == WB_SYNC_ALL && !wbc->for_sync;
}

u32 notblk_major(dev_t dev)
{
	return MAJOR(dev);
}

u32 notblk_minor(dev_t dev)
{
	return MINOR(dev);
}

void notblk_set_delayed_kfree(struct delayed_call *done, void *memory)
{
	set_delayed_call(done, kfree_link, memory);
}

struct inode *notblk_d_inode(const struct dentry *dentry)
{
	return d_inode(dentry);
}

const struct qstr *notblk_d_qstr(const struct dentry *dentry)
{
	return &dentry->d_name;
}

const char *notblk_d_name(const struct dentry *dentry, u32 *len)
{
	*len = dentry->d_name.len;
	return dentry->d_name.name;
}

bool notblk_is_32bit_api(void)
{
#ifdef CONFIG_COMPAT
	return in_compat_syscall();
#else
	return BITS_PER_LONG == 32;
#endif
}

bool notblk_dir_emit(struct dir_context *ctx, const char *name, int namelen, u64 ino, unsigned int type)
{
	return dir_emit(ctx, name, namelen, ino, type);
}

void notblk_posix_acl_release(struct posix_acl *acl)
{
	posix_acl_release(acl);
}

u32 notblk_posix_acl_count(const struct posix_acl *acl)
{
	return acl->a_count;
}

void notblk_posix_acl_get_entry(const struct posix_acl *acl, u32 i, u16 *tag, u16 *perm, u32 *id)
{
	const struct posix_acl_entry *entry = &acl->a_entries[i];

	*tag = entry->e_tag;
	*perm = entry->e_perm;
	switch (entry->e_tag) {
	case ACL_USER:
		*id = from_kuid(&init_user_ns, entry->e_uid);
		break;
	case ACL_GROUP:
		*id = from_kgid(&init_user_ns, entry->e_gid);
		break;
	default:
		*id = 0;
	}
}

void notblk_posix_acl_set_entry(struct posix_acl *acl, u32 i, u16 tag, u16 perm, u32 id)
{
	struct posix_acl_entry *entry = &acl->a_entries[i];

	entry->e_tag = tag;
	entry->e_perm = perm;
	switch (tag) {
	case ACL_GROUP:
		entry->e_gid = make_kgid(&init_user_ns, id);
		break;
	default:
		entry->e_uid = tag == ACL_USER ? make_kuid(&init_user_ns, id) : INVALID_UID;
	}
}

int notblk_security_inode_init_security(struct inode *inode, struct inode *dir, const struct qstr *qstr,
					int (*initxattrs)(struct inode *, const struct xattr *, void *))
{
	return security_inode_init_security(inode, dir, qstr, initxattrs, NULL);
}

struct inode *notblk_file_inode(const struct file *file)
{
	return file_inode(file);
}

struct mnt_idmap *notblk_file_mnt_idmap(const struct file *file)
{
	return file_mnt_idmap(file);
}

struct dentry *notblk_file_dentry(const struct file *file)
{
	return file->f_path.dentry;
}

const char *notblk_file_mount_path(const struct file *file, char *buf, int len)
{
	struct path path = { .mnt = file->f_path.mnt, .dentry = file->f_path.mnt->mnt_root };

	return d_path(&path, buf, len);
}

void notblk_file_accessed(struct file *file)
{
	file_accessed(file);
}

bool notblk_is_last_writer(const struct inode *inode, const struct file *file)
{
	return (file->f_mode & FMODE_WRITE) && atomic_read(&inode->i_writecount) == 1;
}

ssize_t notblk_generic_write_sync(struct kiocb *iocb, ssize_t count)
{
	return generic_write_sync(iocb, count);
}

size_t notblk_iov_iter_count(const struct iov_iter *iter)
{
	return iov_iter_count(iter);
}

u64 notblk_folio_pos(const struct folio *folio)
{
	return folio_pos(folio);
}

size_t notblk_folio_size(const struct folio *folio)
{
	return folio_size(folio);
}

void notblk_folio_unlock_put(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

struct folio *notblk_filemap_lock_folio(struct address_space *mapping, pgoff_t index)
{
	return filemap_lock_folio(mapping, index);
}

bool notblk_is_err(const void *ptr)
{
	return IS_ERR(ptr);
}

int notblk_iomap_iter_next(const struct iomap_iter *iter, struct iomap *iomap, struct iomap *srcmap,
			   iomap_iter_begin_fn begin, iomap_iter_end_fn end)
{
	return iomap_iter_next(iter, iomap, srcmap, begin, end);
}

void notblk_iomap_bio_read_folio(struct folio *folio, const struct iomap_ops *ops)
{
	iomap_bio_read_folio(folio, ops);
}

void notblk_iomap_bio_readahead(struct readahead_control *rac, const struct iomap_ops *ops)
{
	iomap_bio_readahead(rac, ops);
}

int notblk_dquot_initialize(struct inode *inode)
{
	return dquot_initialize(inode);
}

int notblk_dquot_alloc_block(struct inode *inode, s64 blocks)
{
	return dquot_alloc_block(inode, blocks);
}

void notblk_dquot_free_block(struct inode *inode, s64 blocks)
{
	dquot_free_block(inode, blocks);
}

int notblk_dquot_alloc_inode(struct inode *inode)
{
	return dquot_alloc_inode(inode);
}

void notblk_dquot_free_inode(struct inode *inode)
{
	dquot_free_inode(inode);
}

void notblk_dquot_drop(struct inode *inode)
{
	dquot_drop(inode);
}

int notblk_dquot_file_open(struct inode *inode, struct file *file)
{
	return dquot_file_open(inode, file);
}

bool notblk_is_quota_modification(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr)
{
	return is_quota_modification(idmap, inode, attr);
}

bool notblk_owner_needs_update(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr)
{
	return i_uid_needs_update(idmap, attr, inode) || i_gid_needs_update(idmap, attr, inode);
}

void notblk_owner_update(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr)
{
	i_uid_update(idmap, attr, inode);
	i_gid_update(idmap, attr, inode);
}

int notblk_dquot_transfer(struct mnt_idmap *idmap, struct inode *inode, struct iattr *attr)
{
	return dquot_transfer(idmap, inode, attr);
}

#ifdef CONFIG_QUOTA
static struct dquot *project_dquot(struct super_block *sb, u32 project)
{
	return dqget(sb, make_kqid_projid(make_kprojid(&init_user_ns, project)));
}

int notblk_dquot_transfer_project(struct inode *inode, u32 project)
{
	struct dquot *to[MAXQUOTAS] = { };
	int err;

	to[PRJQUOTA] = project_dquot(inode->i_sb, project);
	if (IS_ERR(to[PRJQUOTA]))
		return 0;
	err = __dquot_transfer(inode, to);
	/* The old one where that went well, which nobody charges any more. */
	dqput(to[PRJQUOTA]);
	return err;
}

bool notblk_project_dqblk(struct super_block *sb, u32 project, struct mem_dqblk *dqblk)
{
	struct dquot *dquot;

	if (!sb_has_quota_limits_enabled(sb, PRJQUOTA))
		return false;
	dquot = project_dquot(sb, project);
	if (IS_ERR(dquot))
		return false;
	spin_lock(&dquot->dq_dqb_lock);
	*dqblk = dquot->dq_dqb;
	spin_unlock(&dquot->dq_dqb_lock);
	dqput(dquot);
	return true;
}

int notblk_dquot_quota_on_mount(struct super_block *sb, const char *name, int format, int type)
{
	/* Only looks the name up. */
	return dquot_quota_on_mount(sb, (char *)name, format, type);
}
#else
int notblk_dquot_quota_on_mount(struct super_block *sb, const char *name, int format, int type)
{
	return -ESRCH;
}

int notblk_dquot_transfer_project(struct inode *inode, u32 project)
{
	return 0;
}

bool notblk_project_dqblk(struct super_block *sb, u32 project, struct mem_dqblk *dqblk)
{
	return false;
}
#endif

int notblk_dquot_quota_off(struct super_block *sb, int type)
{
	return dquot_disable(sb, type, DQUOT_USAGE_ENABLED | DQUOT_LIMITS_ENABLED);
}

int notblk_dquot_suspend(struct super_block *sb)
{
	return dquot_suspend(sb, -1);
}

int notblk_dquot_writeback_dquots(struct super_block *sb)
{
	return dquot_writeback_dquots(sb, -1);
}

bool notblk_sb_any_quota_loaded(struct super_block *sb)
{
	return sb_any_quota_loaded(sb);
}

bool notblk_sb_any_quota_suspended(struct super_block *sb)
{
	return sb_any_quota_suspended(sb);
}

void notblk_quota_set_sys_file(struct super_block *sb)
{
	sb_dqopt(sb)->flags |= DQUOT_QUOTA_SYS_FILE;
}

struct inode *notblk_quota_file(struct super_block *sb, int type)
{
	return sb_dqopt(sb)->files[type];
}

struct inode *notblk_quota_file_get(struct super_block *sb, int type)
{
	struct inode *inode = sb_dqopt(sb)->files[type];

	return inode ? igrab(inode) : NULL;
}

void notblk_report_metadata_error(struct super_block *sb, u64 ino, int error)
{
	/* Where the inode is in memory, fserror_report() takes a reference of its own. */
	rcu_read_lock();
	fserror_report(sb, ino ? find_inode_by_ino_rcu(sb, ino) : NULL, FSERR_METADATA, 0, 0, error, GFP_ATOMIC);
	rcu_read_unlock();
}

/* As drop_pagecache_sb() walks: an inode that is referenced stays on the list, and where it is. */
struct inode *notblk_next_dirty_inode(struct super_block *sb, struct inode *last)
{
	struct inode *inode = last ? last : list_entry(&sb->s_inodes, struct inode, i_sb_list);
	struct inode *found = NULL;

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry_continue(inode, &sb->s_inodes, i_sb_list) {
		spin_lock(&inode->i_lock);
		if (!(inode_state_read(inode) & (I_FREEING | I_WILL_FREE | I_NEW | I_CREATING)) &&
		    (inode_state_read(inode) & I_DIRTY_INODE)) {
			__iget(inode);
			found = inode;
		}
		spin_unlock(&inode->i_lock);
		if (found)
			break;
	}
	spin_unlock(&sb->s_inode_list_lock);
	iput(last);
	cond_resched();
	return found;
}

struct inode *notblk_path_inode(const struct path *path)
{
	return d_inode(path->dentry);
}

void notblk_errorf(struct fs_context *fc, const char *message)
{
	errorf(fc, "%s", message);
}

#if IS_BUILTIN(CONFIG_KUNIT)
struct module *notblk_kunit_module(void)
{
	return THIS_MODULE;
}

struct super_block *notblk_kunit_sb(struct file_system_type *type)
{
	struct fs_context *fc = fs_context_for_mount(type, 0);
	struct super_block *sb;

	if (IS_ERR(fc))
		return NULL;
	sb = sget_fc(fc, NULL, set_anon_super_fc);
	put_fs_context(fc);
	if (IS_ERR(sb))
		return NULL;
	sb->s_blocksize_bits = 10;
	sb->s_blocksize = 1 << 10;
	return sb;
}

void notblk_kunit_sb_put(struct super_block *sb)
{
	dev_t dev = sb->s_dev;

	deactivate_locked_super(sb);
	free_anon_bdev(dev);
}

/* A directory in the root, as vfs_mkdir() asks for it. */
struct dentry *notblk_kunit_mkdir(struct super_block *sb, const char *name, umode_t mode)
{
	struct inode *dir = d_inode(sb->s_root);
	struct dentry *dentry = d_alloc_name(sb->s_root, name);
	struct dentry *ret;

	if (!dentry)
		return ERR_PTR(-ENOMEM);
	inode_lock(dir);
	ret = dir->i_op->mkdir(&nop_mnt_idmap, dir, dentry, mode);
	inode_unlock(dir);
	if (!ret)
		return dentry;
	dput(dentry);
	return ret;
}

/* A file that no mount knows of: enough for open, llseek, release. */
struct file *notblk_kunit_open(struct inode *inode, fmode_t mode)
{
	struct file *file = kzalloc(sizeof(*file), GFP_KERNEL);
	int err;

	if (!file)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&file->f_lock);
	file->f_mode = mode;
	file->f_inode = inode;
	file->f_mapping = inode->i_mapping;
	file->f_op = inode->i_fop;
	err = file->f_op->open(inode, file);
	if (!err)
		return file;
	kfree(file);
	return ERR_PTR(err);
}

void notblk_kunit_close(struct file *file)
{
	file->f_op->release(file->f_inode, file);
	kfree(file);
}

struct buffer_head *notblk_kunit_bh(size_t size)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);
	struct buffer_head *bh;

	if (!folio)
		return NULL;
	bh = folio_alloc_buffers(folio, folio_size(folio), GFP_KERNEL);
	if (!bh) {
		folio_put(folio);
		return NULL;
	}
	bh->b_size = size;
	memset(bh->b_data, 0, folio_size(folio));
	set_buffer_uptodate(bh);
	get_bh(bh);
	return bh;
}

void notblk_kunit_bh_put(struct buffer_head *bh)
{
	struct folio *folio = bh->b_folio;

	free_buffer_head(bh);
	folio_clear_dirty(folio);
	folio_put(folio);
}

int notblk_kunit_bh_count(struct buffer_head *bh)
{
	return atomic_read(&bh->b_count);
}

bool notblk_kunit_bh_dirty(struct buffer_head *bh)
{
	return buffer_dirty(bh);
}
#endif
