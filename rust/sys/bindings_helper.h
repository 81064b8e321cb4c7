/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the headers whose structures, functions and constants rust/vfs uses. bindgen_parameters names
 * what of them becomes Rust.
 */
#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/dcache.h>
#include <linux/falloc.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/mpage.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "helpers.h"

/* Constants that are macros with casts, which bindgen cannot evaluate, or that clash with names in core. */
const gfp_t NOTBLK_GFP_KERNEL = GFP_KERNEL;
const unsigned long NOTBLK_SB_RDONLY = SB_RDONLY;
const unsigned int NOTBLK_SB_I_VERSION = SB_I_VERSION;
const unsigned int NOTBLK_FOP_DIO_PARALLEL_WRITE = (__force unsigned int)FOP_DIO_PARALLEL_WRITE;
const unsigned int NOTBLK_FOP_BUFFER_RASYNC = (__force unsigned int)FOP_BUFFER_RASYNC;
const unsigned int NOTBLK_FMODE_CAN_ODIRECT = (__force unsigned int)FMODE_CAN_ODIRECT;
const unsigned int NOTBLK_FMODE_NOWAIT = (__force unsigned int)FMODE_NOWAIT;
const unsigned int NOTBLK_IOCB_DIRECT = IOCB_DIRECT;
const unsigned int NOTBLK_IOCB_NOWAIT = (__force unsigned int)IOCB_NOWAIT;
