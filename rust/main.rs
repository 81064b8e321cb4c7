// SPDX-License-Identifier: GPL-2.0
//! t
use kernel::prelude::*;
mod sys;
module! { type: Notblk, name: "notblk", authors: ["notblk"], description: "x", license: "GPL", }
struct Notblk;
impl kernel::Module for Notblk { fn init(_m: &'static ThisModule) -> Result<Self> { pr_info!("{}\n", core::mem::size_of::<sys::bindings::iomap>()); Ok(Notblk) } }
