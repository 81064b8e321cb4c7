/* SPDX-License-Identifier: GPL-2.0 */
/* The driver's tracepoints. Positions and lengths in bytes, blocks of the filesystem's size, times in nanoseconds. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM notblk

#if !defined(NOTBLK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define NOTBLK_TRACE_H

#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>

/* A direct write goes through the page cache: where it is. */
TRACE_EVENT(notblk_fallback,
	TP_PROTO(const struct inode *inode, pid_t owner, const char *stage, u64 pos, u64 len),
	TP_ARGS(inode, owner, stage, pos, len),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(pid_t, owner)
		__string(stage, stage)
		__field(u64, pos)
		__field(u64, len)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->owner = owner;
		__assign_str(stage);
		__entry->pos = pos;
		__entry->len = len;
	),
	TP_printk("dev=%d:%d ino=%llu owner=%d stage=%s pos=%llu len=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, __entry->owner, __get_str(stage),
		  __entry->pos, __entry->len)
);

/* Direct I/O in flight is waited for: begin, and end with how long it took. */
TRACE_EVENT(notblk_drain,
	TP_PROTO(const struct inode *inode, bool end, u64 waited),
	TP_ARGS(inode, end, waited),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(bool, end)
		__field(u64, waited)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->end = end;
		__entry->waited = waited;
	),
	TP_printk("dev=%d:%d ino=%llu %s waited=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, __entry->end ? "end" : "begin",
		  __entry->waited)
);

/* A rule parks a task or a bio at a point. */
DECLARE_EVENT_CLASS(notblk_held,
	TP_PROTO(dev_t dev, u64 ino, pid_t owner, u64 rule, const char *point, u64 pos, u64 len),
	TP_ARGS(dev, ino, owner, rule, point, pos, len),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(pid_t, owner)
		__field(u64, rule)
		__string(point, point)
		__field(u64, pos)
		__field(u64, len)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->ino = ino;
		__entry->owner = owner;
		__entry->rule = rule;
		__assign_str(point);
		__entry->pos = pos;
		__entry->len = len;
	),
	TP_printk("dev=%d:%d ino=%llu owner=%d rule=%llu point=%s pos=%llu len=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, __entry->owner, __entry->rule,
		  __get_str(point), __entry->pos, __entry->len)
);

DEFINE_EVENT(notblk_held, notblk_hold,
	TP_PROTO(dev_t dev, u64 ino, pid_t owner, u64 rule, const char *point, u64 pos, u64 len),
	TP_ARGS(dev, ino, owner, rule, point, pos, len)
);

/* It goes on: let go, overdue, or killed. */
DEFINE_EVENT(notblk_held, notblk_release,
	TP_PROTO(dev_t dev, u64 ino, pid_t owner, u64 rule, const char *point, u64 pos, u64 len),
	TP_ARGS(dev, ino, owner, rule, point, pos, len)
);

/* What iomap is answered when it asks for a mapping: mapped, new, hole, reserved, or an error: notblk, again. */
TRACE_EVENT(notblk_map,
	TP_PROTO(const struct inode *inode, u64 pos, u64 len, const char *answer, u64 block),
	TP_ARGS(inode, pos, len, answer, block),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, pos)
		__field(u64, len)
		__string(answer, answer)
		__field(u64, block)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pos = pos;
		__entry->len = len;
		__assign_str(answer);
		__entry->block = block;
	),
	TP_printk("dev=%d:%d ino=%llu pos=%llu len=%llu answer=%s block=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, __entry->pos, __entry->len,
		  __get_str(answer), __entry->block)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
