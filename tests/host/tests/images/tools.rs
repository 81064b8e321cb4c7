// SPDX-License-Identifier: GPL-2.0

//! Images in a temporary directory, and the programs of e2fsprogs.

use notblk_host_tests::Image;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Block and inode sizes that the driver must know.
pub const SHAPES: [(u32, u16); 6] = [
    (1024, 128),
    (1024, 256),
    (2048, 128),
    (2048, 256),
    (4096, 128),
    (4096, 256),
];

/// A program of e2fsprogs, which live outside an ordinary user's search path.
pub fn tool(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    let Some(file) = found else {
        panic!("{name} is neither in PATH nor in /usr/sbin or /sbin: install e2fsprogs");
    };
    let mut command = Command::new(file);
    command.env("LC_ALL", "C");
    command
}

/// Runs a program, which must succeed, and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = run_any(command);
    assert!(output.status.success(), "{}", describe(command, &output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program, whatever its exit code.
fn run_any(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(e) => panic!("{command:?}: {e}"),
    }
}

fn describe(command: &Command, output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{command:?}: {}\n{stdout}{stderr}", output.status)
}

/// A temporary directory with one image in it.
pub struct Scratch {
    dir: TempDir,
    /// The image.
    pub image: PathBuf,
}

impl Scratch {
    /// Makes an image of `blocks` blocks with mke2fs.
    pub fn new(block_size: u32, inode_size: u16, blocks: u32, options: &[&str]) -> Self {
        let sizes = ["-b", &block_size.to_string(), "-I", &inode_size.to_string()];
        Self::with_options("ext2", &[sizes.as_slice(), options].concat(), blocks)
    }

    /// Makes an image of `blocks` blocks and of a type that mke2fs knows.
    pub fn with_options(fs_type: &str, options: &[&str], blocks: u32) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let image = dir.path().join("image");
        let mut mke2fs = tool("mke2fs");
        // Forced, for blocks larger than a page.
        mke2fs.args(["-q", "-F", "-t", fs_type]).args(options);
        run(mke2fs.arg(&image).arg(blocks.to_string()));
        Self { dir, image }
    }

    /// Makes the filesystem one of the original revision. mke2fs is told so in one way by old
    /// versions and in another by new ones; debugfs does it in all. It must have 128-byte inodes
    /// and no features (`-I 128 -O none`).
    pub fn into_original_revision(self) -> Self {
        self.debugfs(&["ssv rev_level 0", "ssv inode_size 0", "ssv first_ino 0"]);
        self
    }

    /// A path for another file beside the image.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the image, which must be sound.
    pub fn open(&self) -> Image {
        match Image::open(&self.image) {
            Ok(image) => image,
            Err(e) => panic!("{}: {e}", self.image.display()),
        }
    }

    /// Has debugfs do all of these commands, writing, and returns what it printed. Its exit code
    /// tells nothing; its standard error has one line when all is well, the version.
    pub fn debugfs<S: AsRef<str>>(&self, commands: &[S]) -> String {
        let script = self.path("script");
        let lines: String = commands
            .iter()
            .map(|c| format!("{}\n", c.as_ref()))
            .collect();
        fs::write(&script, lines).expect("script");
        let mut command = tool("debugfs");
        command.arg("-w").arg("-f").args([&script, &self.image]);
        let output = run_any(&mut command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let silent = stderr.lines().all(|line| line.starts_with("debugfs 1."));
        assert!(
            output.status.success() && silent,
            "{}",
            describe(&command, &output)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Checks the whole image with e2fsck, which must find nothing.
    pub fn fsck(&self) {
        run(tool("e2fsck").arg("-fn").arg(&self.image));
    }

    /// Has e2fsck index and pack all directories.
    pub fn optimize_directories(&self) {
        let mut command = tool("e2fsck");
        let output = run_any(command.arg("-fyD").arg(&self.image));
        // 0 and 1 both mean that the filesystem is sound now.
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}",
            describe(&command, &output)
        );
    }

    /// What dumpe2fs says.
    pub fn dumpe2fs(&self) -> Dump {
        Dump::of(&self.image)
    }
}

/// The output of dumpe2fs, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Dump {
    header: BTreeMap<String, String>,
    /// One for each group.
    pub groups: Vec<DumpedGroup>,
}

/// What dumpe2fs says of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DumpedGroup {
    /// First and last block.
    pub blocks: (u32, u32),
    /// The block with the superblock or its copy.
    pub superblock: Option<u32>,
    /// The first block with descriptors.
    pub descriptors: Option<u32>,
    /// Where its parts lie.
    pub block_bitmap: u32,
    /// See `block_bitmap`.
    pub inode_bitmap: u32,
    /// See `block_bitmap`.
    pub inode_table: (u32, u32),
    /// Free blocks, free inodes, directories.
    pub counts: (u32, u32, u32),
    /// All free blocks.
    pub free_blocks: Vec<u32>,
    /// All free inodes.
    pub free_inodes: Vec<u32>,
}

impl Dump {
    /// Asks dumpe2fs about an image.
    pub fn of(image: &Path) -> Self {
        let text = run(tool("dumpe2fs").arg(image));
        let mut lines = text.lines();
        let header = lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect();
        let mut groups: Vec<DumpedGroup> = Vec::new();
        for line in lines {
            if let Some((_, rest)) = line.split_once(": (Blocks ") {
                groups.push(DumpedGroup {
                    blocks: range(rest.split(')').next().expect("range")),
                    ..DumpedGroup::default()
                });
            } else if let Some(group) = groups.last_mut() {
                group.read(line.trim());
            }
        }
        Self { header, groups }
    }

    /// The text of a line of the header.
    pub fn text(&self, key: &str) -> &str {
        match self.header.get(key) {
            Some(value) => value,
            None => panic!("dumpe2fs says nothing of {key:?}: {:?}", self.header),
        }
    }

    /// The number in a line of the header.
    pub fn number(&self, key: &str) -> u32 {
        number(self.text(key))
    }
}

impl DumpedGroup {
    fn read(&mut self, line: &str) {
        if let Some((_, place)) = line.split_once("superblock at ") {
            let (place, rest) = place.split_once(',').unwrap_or((place, ""));
            self.superblock = Some(number(place));
            if let Some((_, place)) = rest.split_once("Group descriptors at ") {
                self.descriptors = Some(range(place).0);
            }
        } else if let Some(place) = line.strip_prefix("Block bitmap at ") {
            self.block_bitmap = number(place);
        } else if let Some(place) = line.strip_prefix("Inode bitmap at ") {
            self.inode_bitmap = number(place);
        } else if let Some(place) = line.strip_prefix("Inode table at ") {
            self.inode_table = range(place);
        } else if let Some(list) = line.strip_prefix("Free blocks: ") {
            self.free_blocks = ranges(list);
        } else if let Some(list) = line.strip_prefix("Free inodes: ") {
            self.free_inodes = ranges(list);
        } else if line.contains(" free blocks, ") {
            let mut counts = line.split(", ").map(number);
            let mut next = || counts.next().expect("three numbers");
            self.counts = (next(), next(), next());
        }
    }
}

/// The number that a text begins with.
fn number(text: &str) -> u32 {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    match text[..end].parse() {
        Ok(n) => n,
        Err(e) => panic!("{text:?}: {e}"),
    }
}

/// A text that begins with `1-2`, or with `1` for `1-1`.
fn range(text: &str) -> (u32, u32) {
    let text = text.split(' ').next().expect("first of all");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (number(first), number(last))
}

/// All numbers of `1-2, 5`.
fn ranges(text: &str) -> Vec<u32> {
    text.split(", ")
        .map(range)
        .flat_map(|(first, last)| first..=last)
        .collect()
}
