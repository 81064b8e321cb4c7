// SPDX-License-Identifier: GPL-2.0

//! Exit codes, and the errors that carry one.
//!
//! Whatever goes wrong ends as one `error:` line, at most one `hint:` line, and a code that scripts can rely on.
//! An [`anyhow::Error`] with no [`Exit`] in its chain is a failure of the host.

use std::fmt;

use serde::Serialize;

/// What `cargo xtask` returns to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Code(pub u8);

impl Code {
    /// Everything that was asked for holds.
    pub const PASSED: Code = Code(0);
    /// A test failed, or a race verdict is not the expected one.
    pub const TEST_FAILED: Code = Code(1);
    /// The command line asks for something that cannot be.
    pub const USAGE: Code = Code(2);
    /// The host or its set-up failed: network, disk, packages, locks.
    pub const HOST: Code = Code(3);
    /// A guest did not come to an end in time.
    pub const HANG: Code = Code(4);
    /// The guest's kernel reported a warning, an oops or a panic.
    pub const SPLAT: Code = Code(5);
    /// The user interrupted the run.
    pub const INTERRUPTED: Code = Code(130);

    /// From the best to the worst: which one to leave with where several parts of a command each have their own.
    ///
    /// What the driver did outweighs what this host or the command line could not do, or a part that could not be run would
    /// hide a splat in another. Of the driver's, a splat says more than a hang, and a hang more than a test that failed. Of
    /// the others, a host that failed puts all parts in doubt, a wrong wish only the one that it was about. Nothing can be
    /// said of what was interrupted.
    const ORDER: [Code; 7] = [
        Code::PASSED,
        Code::USAGE,
        Code::HOST,
        Code::TEST_FAILED,
        Code::HANG,
        Code::SPLAT,
        Code::INTERRUPTED,
    ];

    /// The worst of several; none of none.
    pub fn worst(codes: impl IntoIterator<Item = Code>) -> Option<Code> {
        let place = |code: &Code| Code::ORDER.iter().position(|known| known == code);
        codes.into_iter().max_by_key(place)
    }
}

/// An error with its exit code, one clear line and, where useful, what to do about it.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The code to leave with.
    pub code: Code,
    /// What happened, in one line.
    pub line: String,
    /// What to do about it, in one line.
    pub hint: Option<String>,
}

impl Exit {
    /// An error that leaves with `code`.
    pub fn new(code: Code, line: impl Into<String>) -> Self {
        Exit {
            code,
            line: line.into(),
            hint: None,
        }
    }

    /// The host or its set-up failed.
    pub fn host(line: impl Into<String>) -> Self {
        Exit::new(Code::HOST, line)
    }

    /// The command asks for what cannot be.
    pub fn usage(line: impl Into<String>) -> Self {
        Exit::new(Code::USAGE, line)
    }

    /// The user pressed Ctrl-C, or somebody sent SIGTERM or SIGHUP.
    pub fn interrupted() -> Self {
        Exit::new(Code::INTERRUPTED, "interrupted")
    }

    /// The same error with a line that says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Exit {}

/// Brings any error into the form that is shown to the user.
pub fn classify(error: &anyhow::Error) -> Exit {
    if let Some(exit) = error.chain().find_map(|e| e.downcast_ref::<Exit>()) {
        return exit.clone();
    }
    let disk_full = error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::StorageFull);
    let line = format!("{error:#}").replace('\n', " ");
    match disk_full {
        true => Exit::host(format!("disk full: {line}"))
            .hint("free some space, or point XDG_CACHE_HOME at a larger file system"),
        false => Exit::host(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_driver_outweighs_the_host_and_a_splat_all_but_an_interruption() {
        let worst = |codes: &[u8]| Code::worst(codes.iter().map(|&code| Code(code)));
        assert_eq!(worst(&[]), None);
        assert_eq!(worst(&[0, 2]), Some(Code::USAGE));
        assert_eq!(worst(&[3, 2, 0]), Some(Code::HOST));
        assert_eq!(worst(&[1, 3]), Some(Code::TEST_FAILED));
        assert_eq!(worst(&[4, 1]), Some(Code::HANG));
        assert_eq!(worst(&[4, 5, 3, 1, 2]), Some(Code::SPLAT));
        assert_eq!(worst(&[130, 5]), Some(Code::INTERRUPTED));
    }

    #[test]
    fn an_exit_below_a_context_keeps_its_code_and_line() {
        let error = anyhow::Error::from(Exit::usage("no such kernel").hint("try 7.3"));
        let exit = classify(&error.context("while building"));
        assert_eq!(exit.code, Code::USAGE);
        assert_eq!(exit.line, "no such kernel");
        assert_eq!(exit.hint.as_deref(), Some("try 7.3"));
    }

    #[test]
    fn other_errors_are_the_hosts_and_fit_in_one_line() {
        let exit = classify(&anyhow::anyhow!("two\nlines").context("first"));
        assert_eq!(exit.code, Code::HOST);
        assert_eq!(exit.line, "first: two lines");
    }

    #[test]
    fn a_full_disk_says_so() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let exit = classify(&Err::<(), _>(full).context("cannot write x").unwrap_err());
        assert_eq!(exit.code, Code::HOST);
        assert!(exit.line.starts_with("disk full: cannot write x"));
    }
}
