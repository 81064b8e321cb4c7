// SPDX-License-Identifier: GPL-2.0
/*
 * How a buffer becomes dirty while an earlier write of it is under way. C: mark_buffer_dirty and mmb_mark_buffer_dirty in
 * fs/buffer.c, which warn of a buffer that is not uptodate. A write that fails clears that flag whenever it ends, between any
 * two instructions of who changes the buffer; only the buffer's lock keeps it away, and that means to wait for the disk, which
 * nobody may do who holds a spinlock, nor ought to for each change. So these are the same two without the warning (and without
 * the tracepoint block_dirty_buffer, which no module can reach).
 */
#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/pagemap.h>
#include <linux/spinlock.h>

#include "helpers.h"

void notblk_mark_buffer_dirty(struct buffer_head *bh)
{
	struct folio *folio = bh->b_folio;
	struct address_space *mapping;

	/* The change comes first, whoever finds the flag set already: a full barrier in either case. */
	if (test_set_buffer_dirty(bh))
		return;
	/* The caller's reference keeps the folio's buffers, and the open device its mapping, should the folio have left it. */
	mapping = READ_ONCE(folio->mapping);
	if (mapping)
		filemap_dirty_folio(mapping, folio);
}

void notblk_mmb_mark_buffer_dirty(struct buffer_head *bh, struct mapping_metadata_bhs *mmb)
{
	/* Before the look at b_mmb, for mmb_sync looks at the two the other way round. */
	notblk_mark_buffer_dirty(bh);
	if (READ_ONCE(bh->b_mmb))
		return;
	spin_lock(&mmb->lock);
	/* Another inode of a corrupt filesystem may claim the block too. */
	if (!cmpxchg(&bh->b_mmb, NULL, mmb))
		list_move_tail(&bh->b_assoc_buffers, &mmb->list);
	spin_unlock(&mmb->lock);
}
