/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the headers whose structures, functions and constants rust/vfs uses. bindgen_parameters names
 * what of them becomes Rust.
 */
#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/dcache.h>
#include <linux/compat.h>
#include <linux/exportfs.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fileattr.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/mpage.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/quotaops.h>
#include <linux/random.h>
#include <linux/rmap.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/uio.h>
#include <linux/writeback.h>
#include <linux/xattr.h>
#include <uapi/linux/ext4.h>

#include "helpers.h"

/* Constants that are macros with casts, which bindgen cannot evaluate, or that clash with names in core. */
const gfp_t NOTBLK_GFP_KERNEL = GFP_KERNEL;
const unsigned long NOTBLK_SB_RDONLY = SB_RDONLY;
const unsigned long NOTBLK_SB_FORCE = SB_FORCE;
const unsigned long NOTBLK_SB_POSIXACL = SB_POSIXACL;
const unsigned int NOTBLK_SB_I_CGROUPWB = SB_I_CGROUPWB;
const unsigned int NOTBLK_SB_I_ALLOW_HSM = SB_I_ALLOW_HSM;
const unsigned int NOTBLK_SB_I_VERSION = SB_I_VERSION;
const unsigned int NOTBLK_FOP_DIO_PARALLEL_WRITE = (__force unsigned int)FOP_DIO_PARALLEL_WRITE;
const unsigned int NOTBLK_FOP_BUFFER_RASYNC = (__force unsigned int)FOP_BUFFER_RASYNC;
const unsigned int NOTBLK_FOP_DONTCACHE = (__force unsigned int)FOP_DONTCACHE;
const unsigned int NOTBLK_FMODE_CAN_ODIRECT = (__force unsigned int)FMODE_CAN_ODIRECT;
const unsigned int NOTBLK_FMODE_WRITE = (__force unsigned int)FMODE_WRITE;
const unsigned int NOTBLK_FMODE_NOWAIT = (__force unsigned int)FMODE_NOWAIT;
const unsigned int NOTBLK_O_SYNC = O_SYNC;
const unsigned int NOTBLK_PAGE_SHIFT = PAGE_SHIFT;
const unsigned int NOTBLK_VM_FAULT_SIGBUS = (__force unsigned int)VM_FAULT_SIGBUS;
const unsigned int NOTBLK_FMODE_32BITHASH = (__force unsigned int)FMODE_32BITHASH;
const unsigned int NOTBLK_FMODE_64BITHASH = (__force unsigned int)FMODE_64BITHASH;
const unsigned int NOTBLK_IOCB_DIRECT = IOCB_DIRECT;
const unsigned int NOTBLK_IOCB_NOWAIT = (__force unsigned int)IOCB_NOWAIT;

/* ioctls: macros with sizeof. */
const unsigned int NOTBLK_IOC_GETVERSION = FS_IOC_GETVERSION;
const unsigned int NOTBLK_IOC_SETVERSION = FS_IOC_SETVERSION;
const unsigned int NOTBLK_IOC_GETVERSION_EXT4 = EXT4_IOC_GETVERSION;
const unsigned int NOTBLK_IOC_SETVERSION_EXT4 = EXT4_IOC_SETVERSION;
const unsigned int NOTBLK_IOC_GETFSLABEL = FS_IOC_GETFSLABEL;
const unsigned int NOTBLK_IOC_SETFSLABEL = FS_IOC_SETFSLABEL;
const unsigned int NOTBLK_IOC_GETFSUUID_EXT4 = EXT4_IOC_GETFSUUID;
const unsigned int NOTBLK_IOC_SETFSUUID_EXT4 = EXT4_IOC_SETFSUUID;
const unsigned int NOTBLK_IOC_TRIM = FITRIM;
const unsigned int NOTBLK_IOC_SHUTDOWN = EXT4_IOC_SHUTDOWN;
/* Those with `long`, as a 32-bit process numbers them. */
const unsigned int NOTBLK_IOC32_GETVERSION = FS_IOC32_GETVERSION;
const unsigned int NOTBLK_IOC32_SETVERSION = FS_IOC32_SETVERSION;
const unsigned int NOTBLK_IOC32_GETVERSION_EXT4 = EXT4_IOC32_GETVERSION;
const unsigned int NOTBLK_IOC32_SETVERSION_EXT4 = EXT4_IOC32_SETVERSION;
const unsigned int NOTBLK_DQUOT_USAGE_ENABLED = DQUOT_USAGE_ENABLED;
const unsigned int NOTBLK_DQUOT_LIMITS_ENABLED = DQUOT_LIMITS_ENABLED;
const unsigned int NOTBLK_QTYPE_MASKS = QTYPE_MASK_USR | QTYPE_MASK_GRP | QTYPE_MASK_PRJ;
