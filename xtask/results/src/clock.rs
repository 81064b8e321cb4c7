// SPDX-License-Identifier: GPL-2.0

//! Times of the day, as runs are named and stamped with them.

use chrono::{DateTime, SecondsFormat, Utc};

/// Now, RFC 3339, UTC: for [`crate::RunInfo::started`] and `ended`.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The name of a run that began then, like `2026-11-22-231502-notblk`; of several configurations the first is named.
/// [`crate::Store::create`] makes it unique.
pub fn run_id(started: &str, configs: &[String]) -> String {
    let time = parse(started).unwrap_or_default().format("%Y-%m-%d-%H%M%S");
    match configs {
        [] => time.to_string(),
        [one] => format!("{time}-{one}"),
        [first, others @ ..] => format!("{time}-{first}+{}", others.len()),
    }
}

/// A time as [`now`] writes it.
pub fn parse(time: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(time).ok().map(|t| t.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_time_and_configurations() {
        let name = |configs: &[&str]| {
            let configs: Vec<_> = configs.iter().map(|c| c.to_string()).collect();
            run_id("2026-11-22T23:15:02Z", &configs)
        };
        assert_eq!(name(&["notblk"]), "2026-11-22-231502-notblk");
        assert_eq!(name(&["notblk", "a", "b"]), "2026-11-22-231502-notblk+2");
        assert_eq!(name(&[]), "2026-11-22-231502");
    }

    #[test]
    fn now_can_be_read_again() {
        assert!(parse(&now()).is_some());
        assert!(parse("yesterday").is_none());
    }
}
