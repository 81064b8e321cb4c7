// SPDX-License-Identifier: GPL-2.0

//! What a comparison came to, as text.

use notblk_protocol::{CompareDifference, CompareKind, CompareReport};

/// Numbers of a sequence that a command line is printed for.
const MOST: usize = 200;

/// The table, what was left out, the difference, and the closing line. `replay` is the command without its `--only`.
pub fn render(report: &CompareReport, replay: &str) -> String {
    let mut text = kinds(&report.kinds);
    if !report.left_out.is_empty() {
        text.push_str("\nleft out:\n");
    }
    for (class, why) in &report.left_out {
        text.push_str(&format!("  {class}: {why}\n"));
    }
    if let Some(found) = &report.difference {
        text.push_str(&difference(found, replay));
    }
    let CompareReport {
        subject,
        control,
        done,
        trees,
        checks,
        ..
    } = report;
    let seconds = report.millis as f64 / 1000.0;
    let verdict = match report.difference {
        None => "PASSED: no difference",
        Some(_) => "FAILED: a difference",
    };
    text.push_str(&format!(
        "\n{verdict} between {subject} and {control} in {done} operations, {trees} comparisons of the trees, {checks} of e2fsck; \
         {seconds:.1} s\n",
    ));
    text
}

fn kinds(kinds: &[CompareKind]) -> String {
    let head = ["operation", "done", "succeeded", "idle", "errors"].map(str::to_owned);
    let mut lines = vec![head];
    for kind in kinds {
        let mut errors = kind.errors.clone();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let errors: Vec<_> = errors
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        lines.push([
            kind.name.clone(),
            kind.done.to_string(),
            kind.succeeded.to_string(),
            kind.idle.to_string(),
            errors.join(", "),
        ]);
    }
    notblk_columns::render(&lines, |column| (1..=3).contains(&column))
}

fn difference(found: &CompareDifference, replay: &str) -> String {
    let mut text = String::from("\n");
    for line in &found.lines {
        text.push_str(&format!("{line}\n"));
    }
    let length = found.sequence.len();
    match found.tries {
        0 => text.push_str(&format!("\nafter these {length} operations:\n")),
        tries => text.push_str(&format!(
            "\nthe shortest sequence that shows it, of {tries} that were tried, has {length} operations:\n"
        )),
    }
    // Without a search the sequence is all that there was.
    let shown = found.sequence.len().saturating_sub(MOST);
    if shown > 0 {
        text.push_str(&format!("  ... {shown} more before these\n"));
    }
    for (number, op) in &found.sequence[shown..] {
        text.push_str(&format!("{number:>8}  {op}\n"));
    }
    if shown == 0 && length > 0 {
        let numbers: Vec<_> = found
            .sequence
            .iter()
            .map(|(number, _)| number.to_string())
            .collect();
        text.push_str(&format!("again: {replay} --only {}\n", numbers.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> CompareReport {
        CompareReport {
            subject: "notblk".into(),
            control: "ext4".into(),
            done: 12,
            trees: 1,
            checks: 1,
            millis: 1500,
            kinds: vec![CompareKind {
                name: "rename".into(),
                done: 12,
                succeeded: 7,
                idle: 0,
                errors: vec![("ENOENT".into(), 1), ("EEXIST".into(), 4)],
            }],
            left_out: vec![("acl".into(), "notblk answers EOPNOTSUPP".into())],
            difference: None,
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let text = render(&report(), "");
        assert!(
            text.contains("rename       12          7     0  EEXIST 4, ENOENT 1\n"),
            "{text}"
        );
        assert!(
            text.contains("  acl: notblk answers EOPNOTSUPP\n"),
            "{text}"
        );
        assert!(text.ends_with("1 of e2fsck; 1.5 s\n"), "{text}");
        assert!(text.contains("PASSED"), "{text}");
    }

    #[test]
    fn a_difference_can_be_had_again() {
        let mut report = report();
        report.difference = Some(CompareDifference {
            lines: vec!["operation 12: unlink".into()],
            sequence: vec![(3, "mkdir".into()), (12, "unlink".into())],
            tries: 9,
        });
        let text = render(&report, "cargo xtask compare --seed 7");
        assert!(
            text.contains("has 2 operations:\n       3  mkdir\n"),
            "{text}"
        );
        assert!(
            text.contains("again: cargo xtask compare --seed 7 --only 3,12\n"),
            "{text}"
        );
        assert!(text.contains("FAILED"), "{text}");
    }
}
