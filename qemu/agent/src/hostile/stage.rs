// SPDX-License-Identifier: GPL-2.0
//! An image on the disk, and how it was taken.

use super::hands::{name, Hands};
use super::{sound, walk, work, Sound};
use crate::buf::Buffer;
use crate::fs::{self, DISK, MNT};
use crate::kmsg::Place;
use crate::{modules, Guest};
use anyhow::{ensure, Context, Result};
use notblk_hostile::base::Extra;
use notblk_hostile::case::Case;
use notblk_hostile::random::Random;
use notblk_protocol::{Driver, HostileReport, HOSTILE_STEPS};
use rustix::io::Errno;
use rustix::mount::{unmount, UnmountFlags};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

/// Where the superblock has its number of blocks, and its block size.
const BLOCKS_COUNT: usize = 1024 + 4;
const LOG_BLOCK_SIZE: usize = 1024 + 0x18;
/// What may be on the disk behind an image, at the most: its size.
const DISK_BYTES: u64 = 512 << 20;
/// Zeroes that are written at once.
const PIECE: usize = 1 << 20;

/// Errnos that a mount may be refused with.
const REFUSALS: [Errno; 5] = [
    Errno::INVAL,
    Errno::UCLEAN,
    Errno::IO,
    Errno::ROFS,
    Errno::FBIG,
];
/// One more where there are quota files: one of them is no regular file. C: `vfs_setup_quota_inode`
const QUOTA_REFUSAL: Errno = Errno::ACCESS;
/// How long the kernel swallows messages after too many, and a little more. C: `DEFAULT_RATELIMIT_INTERVAL`
const MUTE: Duration = Duration::from_millis(5200);
/// A complaint.
const SILENT: &str = "EUCLEAN without a line in the log";

/// The disk, on which one image follows the other.
pub struct Stage<'a> {
    guest: &'a Guest,
    /// Up to here the disk may have something on it.
    dirty: u64,
    /// Copies of sound images, kept: memory that is new costs more than what is done with it.
    copies: BTreeMap<&'static str, Buffer>,
    place: Place,
}

/// How an image was taken.
#[derive(Default)]
pub struct Taken {
    /// It was mounted.
    pub mounted: bool,
    /// Damage was met: the log or an errno says so.
    pub damaged: bool,
    /// The kernel reported a warning.
    pub splat: bool,
    /// Calls that failed, by name and errno.
    pub errors: BTreeMap<(&'static str, i32), u64>,
    /// What the driver may not do.
    pub complaints: Vec<String>,
    /// What the kernel said.
    pub log: Vec<String>,
    /// How long all took.
    pub time: Duration,
    /// How long each of the steps took that the report has.
    pub steps: [Duration; HOSTILE_STEPS.len()],
}

impl Taken {
    /// Adds it to a report.
    pub fn count(&self, seed: Option<u64>, report: &mut HostileReport) {
        report.images += 1;
        match (self.mounted, self.damaged) {
            (false, _) => report.refused += 1,
            (true, true) => report.damaged += 1,
            (true, false) => report.harmless += 1,
        }
        let millis = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        report.slowest = report.slowest.max((millis, seed));
        for (sum, step) in report.steps.iter_mut().zip(&self.steps) {
            *sum += u64::try_from(step.as_micros()).unwrap_or(0);
        }
        for ((call, errno), count) in &self.errors {
            report.count(call, &name(*errno), *count);
        }
    }
}

impl<'a> Stage<'a> {
    /// Nothing is known of what is on the disk.
    pub fn new(guest: &'a Guest) -> Result<Stage<'a>> {
        modules::load("quota_v2", &[])?;
        Ok(Stage {
            guest,
            dirty: DISK_BYTES,
            copies: BTreeMap::new(),
            place: guest.kmsg.settle()?,
        })
    }

    /// Has the driver take an image.
    pub fn take(&mut self, case: &Case) -> Result<Taken> {
        let taken = self.take_once(case)?;
        let has_quotas = sound(&case.base)?.base.extra == Extra::Quota;
        if has_quotas && taken.complaints.iter().any(|what| what == SILENT) {
            // The quota library's lines may have been swallowed because of what it said of images before (`__quota_error` in
            // `fs/quota/dquot.c` asks `printk_ratelimit`). Once more, when it may speak again.
            std::thread::sleep(MUTE);
            return self.take_once(case);
        }
        Ok(taken)
    }

    fn take_once(&mut self, case: &Case) -> Result<Taken> {
        let sound = sound(&case.base)?;
        for mutation in &case.mutations {
            ensure!(
                mutation.fits(sound.image),
                "{} is about another image than {} is now: {mutation}",
                case.base,
                sound.base.name
            );
        }
        let began = Instant::now();
        let claims = self.put(sound, case)?;
        let written = began.elapsed();
        let mut taken = self.exercise(sound, case)?;
        taken.steps[0] = written;
        taken.time = began.elapsed();
        if taken.mounted {
            self.dirty = self.dirty.max(claims);
        }
        let (said, place) = self.guest.kmsg.take(self.place, "", None, false)?;
        self.place = place;
        self.judge(&mut taken, said.lost > 0, said.lines, said.splats);
        Ok(taken)
    }

    /// Writes the image to the disk. Where it claims to be longer than it is, there are zeroes behind it, whatever was there
    /// before. Nothing of it is in any cache then: the last who closes the device takes what it has cached along.
    ///
    /// Answers how long it claims to be, as far as the disk goes.
    fn put(&mut self, sound: &Sound, case: &Case) -> Result<u64> {
        let copy = || Buffer::from(sound.image);
        let image = self.copies.entry(sound.base.name).or_insert_with(copy);
        for mutation in &case.mutations {
            mutation.apply(sound.image, image);
        }
        let disk = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(DISK)
            .context("open the disk")?;
        disk.write_all_at(image, 0)?;
        let claims = claimed(image);
        for mutation in &case.mutations {
            mutation.revert(sound.image, image);
        }
        let end = image.len() as u64;
        // More than the disk has is refused.
        if claims > end && claims <= DISK_BYTES {
            let zeroes = Buffer::new(PIECE);
            let mut at = end;
            while at < self.dirty.min(claims) {
                let length = (self.dirty - at).min(PIECE as u64) as usize;
                disk.write_all_at(&zeroes[..length], at)?;
                at += length as u64;
            }
        }
        self.dirty = self.dirty.max(end);
        Ok(claims.min(DISK_BYTES))
    }

    /// Mount, walk, write, unmount; and now and then a look at what that has left.
    fn exercise(&self, sound: &Sound, case: &Case) -> Result<Taken> {
        let kind = self.guest.driver.name();
        let mut random = Random::new(case.work, "work");
        let mut hands = Hands::default();
        let mut taken = Taken::default();
        // Whose device a tampered node leads to nobody knows.
        let options = format!("nodev,{}", case.options);
        let mut clock = Instant::now();
        let mut lap = move || std::mem::replace(&mut clock, Instant::now()).elapsed();
        if let Err(errno) = fs::try_mount(kind, DISK, MNT, &options) {
            hands.count("mount", errno.raw_os_error());
            let of_quotas = sound.base.extra == Extra::Quota && errno == QUOTA_REFUSAL;
            if !REFUSALS.contains(&errno) && !of_quotas {
                hands.complain(format!("mount: {errno}"));
            }
            taken.errors = hands.errors;
            taken.complaints = hands.complaints;
            return Ok(taken);
        }
        taken.mounted = true;
        taken.steps[1] = lap();
        let found = walk::all(&mut hands, &mut random);
        taken.steps[2] = lap();
        let harsh = !case.mutations.is_empty();
        work::some(&mut hands, &mut random, &found, sound.base, harsh);
        taken.steps[3] = lap();
        self.leave(&mut hands)?;
        taken.steps[4] = lap();
        if random.one_in(6) {
            // What it wrote, on top of the damage, it must be able to stand as well.
            let again = fs::try_mount(kind, DISK, MNT, &options);
            match again {
                Ok(()) => {
                    walk::all(&mut hands, &mut random);
                    self.leave(&mut hands)?;
                }
                Err(errno) => hands.count("second mount", errno.raw_os_error()),
            }
        }
        taken.damaged = hands.met_damage();
        taken.errors = hands.errors;
        taken.complaints = hands.complaints;
        Ok(taken)
    }

    fn leave(&self, hands: &mut Hands) -> Result<()> {
        if let Err(errno) = unmount(MNT, UnmountFlags::empty()) {
            hands.complain(format!("umount: {errno}"));
            // Whoever keeps it in use may let go when it can be.
            unmount(MNT, UnmountFlags::DETACH).context("umount")?;
        }
        Ok(())
    }

    /// What the log adds: splats, and the lines that must be there.
    fn judge(&self, taken: &mut Taken, lost: bool, lines: Vec<String>, splats: Vec<String>) {
        // The quota library says `(device vda): `.
        let ours = |line: &&String| line.contains("vda): ");
        let errors = lines.iter().filter(ours).count();
        // Whether the C driver says anything is its own affair.
        if self.guest.driver == Driver::Notblk && errors == 0 && !lost {
            if !taken.mounted {
                let line = "refused at mount without a line in the log";
                taken.complaints.push(line.into());
            } else if taken.damaged {
                taken.complaints.push(SILENT.into());
            }
        }
        let error = |line: &&String| ours(line) && line.contains("error: ");
        taken.damaged |= lines.iter().any(|line| error(&line));
        taken.splat = !splats.is_empty();
        let splats = splats.into_iter();
        taken
            .complaints
            .extend(splats.map(|line| format!("the kernel reported: {line}")));
        taken.log = lines;
    }
}

/// How long the filesystem says it is, in bytes.
fn claimed(image: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = image
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    u64::from(word(BLOCKS_COUNT)) << (10 + word(LOG_BLOCK_SIZE).min(6))
}
