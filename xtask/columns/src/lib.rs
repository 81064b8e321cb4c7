// SPDX-License-Identifier: GPL-2.0

//! Lines of cells as columns of text: as wide as their widest cell, two spaces apart, nothing at the ends of lines.

#![forbid(unsafe_code)]

/// The lines, each with its end. Of the columns (from 0) those stand to the right of which `is_right` says so. A line may have fewer
/// cells than others.
#[must_use]
pub fn render<L: AsRef<[String]>>(lines: &[L], is_right: impl Fn(usize) -> bool) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        for (column, cell) in line.as_ref().iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut padded = String::new();
        for (column, (cell, width)) in line.as_ref().iter().zip(&widths).enumerate() {
            match is_right(column) {
                true => padded.push_str(&format!("{cell:>width$}  ")),
                false => padded.push_str(&format!("{cell:<width$}  ")),
            }
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_to_the_left_and_figures_to_the_right() {
        let line = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lines = [
            line(&["what", "n", "why"]),
            line(&["grün", "1000"]),
            line(&["b", "7", "so"]),
        ];
        assert_eq!(
            render(&lines, |column| column == 1),
            "what     n  why\ngrün  1000\nb        7  so\n"
        );
    }
}
