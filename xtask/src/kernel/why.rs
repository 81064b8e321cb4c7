// SPDX-License-Identifier: GPL-2.0

//! Why the kernel's configurator dropped an option: the dependency in its Kconfig files that is not met.
//!
//! The configurator itself drops options without a word. This reads `depends on` lines and the `if` blocks around them, and
//! evaluates them over the configuration that was made. Macros, `$(…)`, are taken to hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Why `option` (`CONFIG_NAME`) is not as it was asked for in the configuration `made` of the tree at `source`.
pub fn why(source: &Path, made: &str, option: &str) -> String {
    let name = option.trim_start_matches("CONFIG_");
    let mut definitions = Vec::new();
    search(source, name, &mut definitions);
    if definitions.is_empty() {
        return "this kernel has no such option".into();
    }
    let values: BTreeMap<&str, &str> = made
        .lines()
        .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
        .collect();
    let unmet = definitions
        .iter()
        .flatten()
        .find(|expression| !holds(expression, &values));
    match unmet {
        Some(expression) => format!("depends on {expression}"),
        None => "another option decides it".into(),
    }
}

/// Collects what each definition of the option below `dir` depends on.
fn search(dir: &Path, name: &str, found: &mut Vec<Vec<String>>) {
    let Ok(items) = fs::read_dir(dir) else { return };
    for item in items.flatten() {
        let path = item.path();
        let file = item.file_name();
        let file = file.to_string_lossy();
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !file.starts_with('.') {
                search(&path, name, found);
            }
        } else if file.starts_with("Kconfig") {
            if let Ok(text) = fs::read_to_string(&path) {
                found.extend(definitions(&text, name));
            }
        }
    }
}

/// What each definition of the option in one Kconfig file depends on.
fn definitions(text: &str, name: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut around: Vec<String> = Vec::new();
    let mut inside = false;
    let mut help = Help::None;
    // A backslash continues a line.
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if help.covers(line) {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["help"] => help = Help::Begins,
            ["if", rest @ ..] => {
                around.push(rest.join(" "));
                inside = false;
            }
            ["endif", ..] => {
                around.pop();
                inside = false;
            }
            ["config" | "menuconfig", defined] if !line.starts_with('\t') => {
                inside = *defined == name;
                if inside {
                    found.push(around.clone());
                }
            }
            ["depends", "on", rest @ ..] if inside => {
                if let Some(last) = found.last_mut() {
                    last.push(rest.join(" "));
                }
            }
            ["menu" | "endmenu" | "choice" | "endchoice" | "source" | "comment", ..]
                if !line.starts_with(char::is_whitespace) =>
            {
                inside = false;
            }
            _ => (),
        }
    }
    found
}

/// The text for people, in which a line may begin like a statement.
enum Help {
    /// Not in one.
    None,
    /// Its first line comes next.
    Begins,
    /// As deep as its first line, in columns: it ends with the first line that is less so.
    Indented(usize),
}

impl Help {
    /// Whether a line belongs to it.
    fn covers(&mut self, line: &str) -> bool {
        if matches!(self, Help::None) {
            return false;
        }
        if line.trim().is_empty() {
            return true;
        }
        let blanks = line.chars().take_while(|c| c.is_whitespace());
        let indent = blanks.fold(0, |column, c| match c {
            '\t' => (column / 8 + 1) * 8,
            _ => column + 1,
        });
        let least = match self {
            Help::Indented(least) => *least,
            // Text that is not indented at all is none.
            _ => indent.max(1),
        };
        let covers = indent >= least;
        *self = if covers {
            Help::Indented(least)
        } else {
            Help::None
        };
        covers
    }
}

/// Evaluates a dependency.
fn holds(expression: &str, values: &BTreeMap<&str, &str>) -> bool {
    let spaced = ["(", ")", "||", "&&", "!=", "="]
        .iter()
        .fold(expression.to_owned(), |text, sign| match *sign {
            // Part of the sign before it.
            "=" => text
                .replace(" != ", "\u{1}")
                .replace('=', " = ")
                .replace('\u{1}', " != "),
            _ => text.replace(sign, &format!(" {sign} ")),
        })
        .replace('!', " ! ")
        .replace("!  =", "!=")
        .replace("! =", "!=");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        tokens: &tokens,
        values,
    };
    parser.or()
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    values: &'a BTreeMap<&'a str, &'a str>,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if *first == token => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn or(&mut self) -> bool {
        let mut value = self.and();
        while self.take("||") {
            value |= self.and();
        }
        value
    }

    fn and(&mut self) -> bool {
        let mut value = self.not();
        while self.take("&&") {
            value &= self.not();
        }
        value
    }

    fn not(&mut self) -> bool {
        if self.take("!") {
            return !self.not();
        }
        if self.take("(") {
            let value = self.or();
            self.take(")");
            return value;
        }
        let Some((first, rest)) = self.tokens.split_first() else {
            return true;
        };
        self.tokens = rest;
        if first.starts_with('$') {
            // A macro: over with its parentheses.
            if self.take("(") {
                let mut depth = 1;
                while let Some((token, rest)) = self.tokens.split_first() {
                    self.tokens = rest;
                    depth += i32::from(*token == "(") - i32::from(*token == ")");
                    if depth == 0 {
                        break;
                    }
                }
            }
            return true;
        }
        for (sign, equal) in [("=", true), ("!=", false)] {
            if self.take(sign) {
                let other = self.tokens.first().copied().unwrap_or_default();
                self.tokens = self.tokens.get(1..).unwrap_or_default();
                return (self.value(first) == self.value(other)) == equal;
            }
        }
        self.value(first) != "n"
    }

    /// The value of a symbol, or of a constant.
    fn value<'a>(&'a self, token: &'a str) -> &'a str {
        match token {
            "y" | "m" | "n" => token,
            _ => match token.strip_prefix('"') {
                Some(_) => token,
                None => self.values.get(token).copied().unwrap_or("n"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KCONFIG: &str = "
config RUST
\tbool \"Rust support\"
\tdepends on HAVE_RUST
\tdepends on !CFI || (HAVE_CFI_RUSTC && \\
\t\tARM64)
\tdepends on !KASAN || CC_IS_CLANG
\thelp
\t  A line of this text may begin like a statement,
\t  if it so happens,

\t  depends on nothing, or says
\t  config OTHER is not one

if MD
config DM
\ttristate \"dm\"
\tdepends on DAX!=m && $(success,test -e (x))
endif

config PLAIN
\tbool
";

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("init")).unwrap();
        fs::write(dir.path().join("init/Kconfig"), KCONFIG).unwrap();
        dir
    }

    #[test]
    fn the_dependency_that_is_not_met_is_named() {
        let dir = tree();
        let ask = |made: &str, option: &str| why(dir.path(), made, option);
        let gcc = "CONFIG_HAVE_RUST=y\nCONFIG_KASAN=y\n";
        assert_eq!(ask(gcc, "CONFIG_RUST"), "depends on !KASAN || CC_IS_CLANG");
        assert_eq!(ask("", "CONFIG_RUST"), "depends on HAVE_RUST");
        let cfi = "CONFIG_HAVE_RUST=y\nCONFIG_CFI=y\nCONFIG_HAVE_CFI_RUSTC=y\n";
        assert_eq!(
            ask(cfi, "CONFIG_RUST"),
            "depends on !CFI || (HAVE_CFI_RUSTC && ARM64)"
        );
        assert_eq!(ask("", "CONFIG_DM"), "depends on MD");
        let dax = "CONFIG_MD=y\nCONFIG_DAX=m\n";
        assert!(ask(dax, "CONFIG_DM").starts_with("depends on DAX!=m"));
        assert_eq!(
            ask("CONFIG_MD=y\n", "CONFIG_DM"),
            "another option decides it"
        );
        assert_eq!(ask("", "CONFIG_PLAIN"), "another option decides it");
        assert_eq!(ask("", "CONFIG_OTHER"), "this kernel has no such option");
    }
}
