// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */
#include <linux/dcache.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/moduleparam.h>
#include <linux/backing-dev.h>
#include <linux/iversion.h>
#include <linux/lockdep.h>
#include <linux/part_stat.h>

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

void __noreturn notblk_panic(void)
{
	panic("notblk: damaged filesystem, and errors=panic\n");
}

bool notblk_capable_resource(void)
{
	return capable(CAP_SYS_RESOURCE);
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

void notblk_clear_buffer_write_io_error(struct buffer_head *bh)
{
	clear_buffer_write_io_error(bh);
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

struct inode *notblk_d_inode(const struct dentry *dentry)
{
	return d_inode(dentry);
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

struct inode *notblk_file_inode(const struct file *file)
{
	return file_inode(file);
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
