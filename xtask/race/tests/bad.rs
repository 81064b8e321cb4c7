// SPDX-License-Identifier: GPL-2.0

//! Specs that are wrong, and exactly what is said of them.

use notblk_race::parse;

/// A spec that is right, of which the cases below replace something.
const GOOD: &str = "\
race t \"a test\"
file f: hole 1b, written 1b
actor A {
    hold dio.submit
    write f 1b..2b direct aio
    read f 0..1b direct
}
check fsync f ok
";

fn refusal(text: &str) -> String {
    match parse(text) {
        Ok(spec) => panic!("this is no mistake:\n{spec}"),
        Err(error) => error.in_file("t.race").to_string(),
    }
}

/// What is said when the only `from` of [`GOOD`] is `to`.
fn with(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    refusal(&GOOD.replace(from, to))
}

#[test]
fn good_is_good() {
    parse(GOOD).unwrap();
}

#[test]
fn points() {
    assert_eq!(
        with("hold dio.submit", "hold dio.locked, dio.sumbit"),
        "\
t.race:4:22: no hold point is called `dio.sumbit`
  |
4 |     hold dio.locked, dio.sumbit
  |                      ^^^^^^^^^^ did you mean `dio.submit`?"
    );
    assert_eq!(
        with("dio.submit", "fsync.begin"),
        "\
t.race:4:10: no step of A comes by fsync.begin
  |
4 |     hold fsync.begin
  |          ^^^^^^^^^^^ only fsync, and writes with dsync do"
    );
    assert_eq!(
        with("dio.submit", "dio.submit, dio.submit"),
        "\
t.race:4:22: A is held at dio.submit already
  |
4 |     hold dio.submit, dio.submit
  |                      ^^^^^^^^^^"
    );
    assert!(with("dio.submit", "everywhere").ends_with(
        "there is dio.locked, dio.map, dio.submit, dio.complete, fallback.begin, fallback.drained, \
         fallback.dirtied, fallback.flushed, fallback.done, buffered.drained, truncate.begin, \
         truncate.drained, punch.begin, punch.drained, fault.begin, fault.mapped, fsync.begin"
    ));
}

#[test]
fn words() {
    assert_eq!(
        with("write f 1b..2b", "wriet f 1b..2b"),
        "\
t.race:5:5: no step is called `wriet`
  |
5 |     wriet f 1b..2b direct aio
  |     ^^^^^ did you mean `write`?"
    );
    assert_eq!(
        with("direct aio", "direct aoi"),
        "\
t.race:5:27: no write is `aoi`
  |
5 |     write f 1b..2b direct aoi
  |                           ^^^ did you mean `aio`?"
    );
    assert_eq!(
        with("file f:", "flie f:"),
        "\
t.race:2:1: no statement begins with `flie`
  |
2 | flie f: hole 1b, written 1b
  | ^^^^ did you mean `file`?"
    );
    assert_eq!(
        with("aio", "aio expect full or EAGIAN"),
        "\
t.race:5:46: no step ends in `EAGIAN`
  |
5 |     write f 1b..2b direct aio expect full or EAGIAN
  |                                              ^^^^^^ did you mean `EAGAIN`?"
    );
    assert_eq!(
        with("aio", "aio pwrite"),
        "\
t.race:5:31: this has been said already, or something that excludes it
  |
5 |     write f 1b..2b direct aio pwrite
  |                               ^^^^^^"
    );
    assert_eq!(
        with("fsync f ok", "fsync f okay"),
        "\
t.race:8:15: fsync is `ok`, or reports `once`
  |
8 | check fsync f okay
  |               ^^^^"
    );
}

#[test]
fn names() {
    assert_eq!(
        with("fsync f", "fsync g"),
        "\
t.race:8:13: there is no file `g`
  |
8 | check fsync g ok
  |             ^ did you mean `f`?"
    );
    assert_eq!(
        with("fsync f ok", "content f 0..1b from A or Bob"),
        "\
t.race:8:33: there is no actor `Bob`
  |
8 | check content f 0..1b from A or Bob
  |                                 ^^^ there is A, initial, zero"
    );
    assert_eq!(
        with("fsync f ok", "content f 0..1b from A.3"),
        "\
t.race:8:28: A has the steps A.1 to A.2
  |
8 | check content f 0..1b from A.3
  |                            ^^^"
    );
    assert_eq!(
        with("fsync f ok", "content f 0..1b from A.2"),
        "\
t.race:8:28: A.2 never writes f
  |
8 | check content f 0..1b from A.2
  |                            ^^^"
    );
    assert_eq!(
        with("fsync f ok", "read A.1 0..1b from initial"),
        "\
t.race:8:12: step 1 of A is no read
  |
8 | check read A.1 0..1b from initial
  |            ^^^"
    );
    assert_eq!(
        with("fsync f ok", "read A.2 0..2b from initial"),
        "\
t.race:8:16: A reads bytes 0..4096 only
  |
8 | check read A.2 0..2b from initial
  |                ^^^^^"
    );
    assert_eq!(
        with("actor A", "actor zero"),
        "\
t.race:3:7: `zero` means something else in checks and schedules
  |
3 | actor zero {
  |       ^^^^"
    );
    assert_eq!(
        with("race t", "race 2nd"),
        "\
t.race:1:6: this is no name
  |
1 | race 2nd \"a test\"
  |      ^^^ a letter, then letters, digits, `_` and `-`"
    );
}

#[test]
fn amounts() {
    assert_eq!(
        with("1b..2b", "2b..1b"),
        "\
t.race:5:13: a range without a byte in it
  |
5 |     write f 2b..1b direct aio
  |             ^^^^^^"
    );
    assert_eq!(
        with("1b..2b", "1b..2x"),
        "\
t.race:5:17: this is no number of bytes
  |
5 |     write f 1b..2x direct aio
  |                 ^^ a number, with b for blocks, s for sectors, k for KiB"
    );
    assert_eq!(
        with("1b..2b", "1b"),
        "\
t.race:5:13: this is no range
  |
5 |     write f 1b direct aio
  |             ^^ FIRST..END, as 0..2b; the end is not part of it"
    );
    assert_eq!(
        with("1b..2b", "1b..5000"),
        "\
t.race:5:17: not a multiple of 512 bytes
  |
5 |     write f 1b..5000 direct aio
  |                 ^^^^"
    );
    assert_eq!(
        with("1b..2b", "1b..99999999999999999999b"),
        "\
t.race:5:17: this is no number of bytes
  |
5 |     write f 1b..99999999999999999999b direct aio
  |                 ^^^^^^^^^^^^^^^^^^^^^ a number, with b for blocks, s for sectors, k for KiB"
    );
    assert_eq!(
        with("1b..2b", "1b..999999999b"),
        "\
t.race:5:17: more than 64 MiB
  |
5 |     write f 1b..999999999b direct aio
  |                 ^^^^^^^^^^"
    );
    assert_eq!(
        with("hole 1b", "hole 3s"),
        "\
t.race:2:14: only the last piece of a file may end inside a block
  |
2 | file f: hole 3s, written 1b
  |              ^^"
    );
    assert_eq!(
        with("1b..2b direct aio\n    read", "1b..3b mmap\n    read"),
        "\
t.race:5:13: beyond the end of f, which has 8192 bytes
  |
5 |     write f 1b..3b mmap
  |             ^^^^^^"
    );
}

#[test]
fn shapes() {
    assert_eq!(
        with("actor A {", "actor A"),
        "\
t.race:3:8: here should be `{`
  |
3 | actor A
  |        ^"
    );
    assert_eq!(
        with("\n}\n", "\n"),
        "\
t.race:7:1: no step is called `check`
  |
7 | check fsync f ok
  | ^^^^^ there is hold, read, write, fsync, truncate, punch"
    );
    assert_eq!(
        refusal(GOOD.split("}\n").next().unwrap()),
        "\
t.race:3:9: this `{` has no `}`
  |
3 | actor A {
  |         ^"
    );
    assert_eq!(
        with("fsync f ok", "fsync f ok ok"),
        "\
t.race:8:18: the line should end here
  |
8 | check fsync f ok ok
  |                  ^^"
    );
    assert_eq!(
        with("check fsync f ok\n", ""),
        "\
t.race:8:1: the spec has no check, so that no order could fail
  |
8 |
  | ^"
    );
    assert_eq!(
        with("\"a test\"", "\"a test"),
        "\
t.race:1:8: this text has no second `\"` in its line
  |
1 | race t \"a test
  |        ^^^^^^^"
    );
    assert_eq!(
        with("aio", "aio; B"),
        "\
t.race:5:30: this character has no meaning here
  |
5 |     write f 1b..2b direct aio; B
  |                              ^"
    );
    assert_eq!(
        refusal(""),
        "\
t.race:1:1: here should be `race NAME \"TITLE\"`
  |
1 |
  | ^"
    );
    assert_eq!(
        with("file f", "block_size 3k\nfile f"),
        "\
t.race:2:12: a block has 1k, 2k or 4k
  |
2 | block_size 3k
  |            ^^"
    );
    assert_eq!(
        with("check", "block_size 1k\ncheck"),
        "\
t.race:8:1: `block_size` comes before the files, whose blocks it measures
  |
8 | block_size 1k
  | ^^^^^^^^^^"
    );
    // Columns are characters, not bytes, and the caret is under what is meant.
    assert_eq!(
        with("race t \"a test\"", "race t \"übergröße\" x"),
        "\
t.race:1:20: the line should end here
  |
1 | race t \"übergröße\" x
  |                    ^"
    );
}
