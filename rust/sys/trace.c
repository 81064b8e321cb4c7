// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of trace.h, and functions that Rust can call for them. */
#include "helpers.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

void notblk_trace_fallback(const struct inode *inode, int owner, const char *stage, u64 pos, u64 len)
{
	trace_notblk_fallback(inode, owner, stage, pos, len);
}

void notblk_trace_drain(const struct inode *inode, bool end, u64 waited)
{
	trace_notblk_drain(inode, end, waited);
}

void notblk_trace_hold(u32 dev, u64 ino, int owner, u64 rule, const char *point, u64 pos, u64 len)
{
	trace_notblk_hold(dev, ino, owner, rule, point, pos, len);
}

void notblk_trace_release(u32 dev, u64 ino, int owner, u64 rule, const char *point, u64 pos, u64 len)
{
	trace_notblk_release(dev, ino, owner, rule, point, pos, len);
}

bool notblk_trace_map_enabled(void)
{
	return trace_notblk_map_enabled();
}

void notblk_trace_map(const struct inode *inode, u64 pos, u64 len, const char *answer, u64 block)
{
	trace_notblk_map(inode, pos, len, answer, block);
}
