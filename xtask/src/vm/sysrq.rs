// SPDX-License-Identifier: GPL-2.0

//! Questions to the kernel of a guest that hangs: what waits, what runs.
//!
//! The serial console takes a BREAK and a letter as magic SysRq in its interrupt handler, so this works while every
//! process of the guest is stuck. QEMU's console is a multiplexer that makes a BREAK of its escape character and `b`,
//! and reads what we say from a pipe. The answer goes to the console's log like everything that the kernel says.

use std::fs;
use std::io::{PipeWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::interrupt;

/// QEMU's words for a BREAK on the line, with Ctrl-A as the escape character.
const BREAK: &[u8] = b"\x01b";
/// The questions, each with the silence that ends its answer; where processors are fought for, the kernel pauses in the
/// middle. The most telling come first, because the last may take longer than there is time: all messages go to the
/// console; blocked tasks; what the processors do; all tasks.
const QUESTIONS: [(u8, Duration); 4] = [
    (b'9', Duration::from_millis(300)),
    (b'w', Duration::from_millis(1500)),
    (b'l', Duration::from_millis(1500)),
    (b't', Duration::from_millis(2500)),
];
/// How long an answer may take to begin. A kernel that does not answer in that time never will: it has interrupts off.
const BEGIN: Duration = Duration::from_secs(4);
/// How long all answers may take.
const ALL: Duration = Duration::from_secs(25);
/// What is kept of the answers, in bytes. All tasks of a busy guest take a tenth of it.
const DUMP: u64 = 16 << 20;
/// How often the log is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Asks all questions, and waits for the answers in the console's log.
///
/// Returns their lines; none where the kernel is deaf.
pub fn ask(keys: &mut PipeWriter, log: &Path) -> Result<Vec<String>> {
    let begin = length(log);
    let until = Instant::now() + ALL;
    for (question, quiet) in QUESTIONS {
        let before = length(log);
        // A failure means that QEMU is gone, and its log with all it had to say is there.
        if keys.write_all(&[BREAK, &[question]].concat()).is_err() {
            break;
        }
        wait_for_quiet(log, before, quiet, until)?;
        if length(log) == before || Instant::now() >= until {
            break;
        }
    }
    Ok(lines(&String::from_utf8_lossy(&answer(log, begin))))
}

/// What the log has from there on: all of any honest answer, and no more than so much where the guest spews.
fn answer(log: &Path, begin: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(begin))?;
        file.take(DUMP).read_to_end(&mut bytes)
    });
    // What cannot be read is missing in the dump; the log itself is kept.
    let _ = read;
    bytes
}

/// Waits until something was added to the log and then nothing for a while, or until it is too late.
fn wait_for_quiet(log: &Path, before: u64, quiet: Duration, until: Instant) -> Result<()> {
    let mut last = before;
    let mut since = Instant::now();
    while Instant::now() < until {
        interrupt::check()?;
        std::thread::sleep(TICK);
        let now = length(log);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let patience = if now == before { BEGIN } else { quiet };
        if since.elapsed() > patience {
            break;
        }
    }
    Ok(())
}

/// The length of the log.
pub fn length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |meta| meta.len())
}

/// The lines of a console's text that hold anything.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_asked_and_every_answer_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console");
        fs::write(&log, "[ 1.0] before\r\n").unwrap();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let path = log.clone();
        let guest = std::thread::spawn(move || {
            let mut asked = Vec::new();
            let mut one = [0; 3];
            while reader.read_exact(&mut one).is_ok() {
                asked.extend(one);
                let mut file = fs::File::options().append(true).open(&path).unwrap();
                write!(file, "sysrq: {}\r\n\r\n", char::from(one[2])).unwrap();
            }
            asked
        });
        let answer = ask(&mut writer, &log).unwrap();
        drop(writer);
        assert_eq!(guest.join().unwrap(), b"\x01b9\x01bw\x01bl\x01bt");
        assert_eq!(answer, ["sysrq: 9", "sysrq: w", "sysrq: l", "sysrq: t"]);
    }

    #[test]
    fn an_answer_without_end_has_one_here() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console");
        fs::write(&log, "before\nafter\n").unwrap();
        assert_eq!(answer(&log, 7), b"after\n");
        let file = fs::File::options().write(true).open(&log).unwrap();
        file.set_len(DUMP * 2).unwrap();
        assert_eq!(answer(&log, 7).len() as u64, DUMP);
    }

    #[test]
    fn a_deaf_guest_is_not_asked_twice() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console");
        fs::write(&log, "before\n").unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let began = Instant::now();
        assert_eq!(ask(&mut writer, &log).unwrap(), Vec::<String>::new());
        assert!(began.elapsed() < BEGIN * 2);
        // And one that is gone is not waited for.
        drop(reader);
        // A child that another test has just forked, and that has not called exec yet, has it still.
        while writer.write_all(b"?").is_ok() {
            std::thread::sleep(TICK);
        }
        let began = Instant::now();
        assert_eq!(ask(&mut writer, &log).unwrap(), Vec::<String>::new());
        assert!(began.elapsed() < BEGIN);
    }
}
