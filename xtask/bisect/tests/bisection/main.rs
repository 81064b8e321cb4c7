// SPDX-License-Identifier: GPL-2.0

//! Whole bisections in a world of numbers.

mod error;
mod fake;
mod ways;
