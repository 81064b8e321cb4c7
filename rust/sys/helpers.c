// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/backing-dev.h>
#include <linux/blkdev.h>
#include <linux/compat.h>
#include <linux/freezer.h>
#include <linux/sched/signal.h>
#include <linux/lockdep.h>

#include "helpers.h"

/* The kernel crate's module! macro takes numbers only, so the one parameter that is text is declared here. */
static char *alias;
module_param(alias, charp, 0444);
MODULE_PARM_DESC(alias, "also register as this filesystem type: ext2, ext3 or ext4 (while ext4.ko is not loaded)");

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

struct buffer_head *notblk_sb_bread(struct super_block *sb, u64 block)
{
	return sb_bread(sb, block);
}

struct buffer_head *notblk_sb_getblk(struct super_block *sb, u64 block)
{
	return sb_getblk(sb, block);
}

struct buffer_head *notblk_sb_find_get_block(struct super_block *sb, u64 block)
{
	return sb_find_get_block(sb, block);
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

bool notblk_buffer_uptodate(const struct buffer_head *bh)
{
	return buffer_uptodate(bh);
}

void notblk_set_buffer_uptodate(struct buffer_head *bh)
{
	set_buffer_uptodate(bh);
}

bool notblk_buffer_write_io_error(const struct buffer_head *bh)
{
	return buffer_write_io_error(bh);
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

void notblk_inode_add_sectors(struct inode *inode, s64 sectors)
{
	spin_lock(&inode->i_lock);
	inode->i_blocks += sectors;
	spin_unlock(&inode->i_lock);
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

void notblk_mapping_set_large_folios(struct address_space *mapping)
{
	mapping_set_large_folios(mapping);
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

void notblk_file_accessed(struct file *file)
{
	file_accessed(file);
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
	return IS_ERR(sb) ? NULL : sb;
}

void notblk_kunit_sb_put(struct super_block *sb)
{
	dev_t dev = sb->s_dev;

	deactivate_locked_super(sb);
	free_anon_bdev(dev);
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
