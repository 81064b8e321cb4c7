// SPDX-License-Identifier: GPL-2.0

//! The documents about a run that lie in its directory; each can be made again from what was kept.

use std::path::Path;

use anyhow::Result;

use crate::files::write_atomically;
use crate::html::page;
use crate::junit::junit;
use crate::store::{name, write_json};
use crate::{Baseline, Run};

/// Writes `results.json`, `junit.xml` and `index.html`.
pub fn write_documents(dir: &Path, run: &Run, baseline: Option<&Baseline>) -> Result<()> {
    write_json(&dir.join(name::DOCUMENT), run)?;
    write_atomically(&dir.join(name::JUNIT), junit(run)?.as_bytes())?;
    write_atomically(&dir.join(name::PAGE), page(run, baseline).as_bytes())
}
