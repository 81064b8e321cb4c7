// SPDX-License-Identifier: GPL-2.0
/*
 * Write-back of RWF_DONTCACHE before 7.3: its ends are moved to a task, for folios are not dropped from an interrupt. C: xfs_end_bio
 * and xfs_end_io in fs/xfs/xfs_aops.c, with one list for all; iomap_fail_ioends in fs/iomap/ioend.c has such a one.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "helpers.h"

#ifdef NOTBLK_HAS_BIO_COMPLETE_IN_TASK

int notblk_writeback_prepare(struct super_block *sb)
{
	return 0;
}

int notblk_writeback_submit(struct iomap_writepage_ctx *wpc, int error)
{
	return iomap_ioend_writeback_submit(wpc, error);
}

#else

static DEFINE_SPINLOCK(notblk_ended_lock);
static LIST_HEAD(notblk_ended);

static void notblk_finish_ended(struct work_struct *work)
{
	struct iomap_ioend *ioend;
	LIST_HEAD(ended);

	spin_lock_irq(&notblk_ended_lock);
	list_splice_init(&notblk_ended, &ended);
	spin_unlock_irq(&notblk_ended_lock);

	while ((ioend = list_first_entry_or_null(&ended, struct iomap_ioend, io_list))) {
		list_del_init(&ioend->io_list);
		iomap_finish_ioends(ioend, blk_status_to_errno(ioend->io_bio.bi_status));
		cond_resched();
	}
}

static DECLARE_WORK(notblk_ended_work, notblk_finish_ended);

/* The queue is the superblock's: it goes when all its inodes are gone, and waits for the work. So the module outlives the work. */
static void notblk_end_dontcache(struct bio *bio)
{
	struct iomap_ioend *ioend = iomap_ioend_from_bio(bio);
	struct workqueue_struct *queue = ioend->io_inode->i_sb->s_dio_done_wq;
	unsigned long flags;

	/* Queued under the lock: once the ioend can be found, its inode and queue may go, but not before the lock is free. */
	spin_lock_irqsave(&notblk_ended_lock, flags);
	list_add_tail(&ioend->io_list, &notblk_ended);
	queue_work(queue, &notblk_ended_work);
	spin_unlock_irqrestore(&notblk_ended_lock, flags);
}

int notblk_writeback_prepare(struct super_block *sb)
{
	return sb->s_dio_done_wq ? 0 : sb_init_dio_done_wq(sb);
}

int notblk_writeback_submit(struct iomap_writepage_ctx *wpc, int error)
{
	struct iomap_ioend *ioend = wpc->wb_ctx;

	/* No queue any more: an inode that put_super lets go, whose pages may stay as well. */
	if ((ioend->io_flags & IOMAP_IOEND_DONTCACHE) && wpc->inode->i_sb->s_dio_done_wq)
		ioend->io_bio.bi_end_io = notblk_end_dontcache;
	return iomap_ioend_writeback_submit(wpc, error);
}

#endif
