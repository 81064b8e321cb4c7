// SPDX-License-Identifier: GPL-2.0

//! The kernel as QEMU boots it fastest: the ELF file that `vmlinuz` unpacks itself to.
//!
//! Unpacking costs seconds under TCG, at every boot. A kernel with `CONFIG_PVH` can be entered directly, which is the "PVH"
//! entry that QEMU looks for in an ELF file. One without it, or packed in another way, boots as it came.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache;
use crate::context::Ctx;

/// Part of the key: to be raised when it is made in another way.
const RECIPE: &str = "1";
/// What it takes.
const SPACE: u64 = 150_000_000;
/// The first bytes of what zstd has packed.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first bytes of an ELF file.
const ELF: [u8; 4] = [0x7f, b'E', b'L', b'F'];

/// What QEMU should be given for the kernel `vmlinuz`; `entry` is its name in the cache, `pvh` whether it has that entry.
pub fn fastest(ctx: &Ctx, entry: &str, vmlinuz: &Path, pvh: bool) -> Result<PathBuf> {
    if !pvh {
        return Ok(vmlinuz.to_owned());
    }
    let entry = format!("vmlinux-{}", cache::key(&[RECIPE, entry]));
    let dir = ctx
        .cache
        .get_or_make(&ctx.ui, &entry, "unpacks a kernel", SPACE, |tmp| {
            let packed =
                fs::read(vmlinuz).with_context(|| format!("cannot read {}", vmlinuz.display()))?;
            // An entry without the file says that there is nothing to unpack.
            if let Some(elf) = payload(&packed).and_then(unpack) {
                fs::write(tmp.join("vmlinux"), elf)?;
            }
            Ok(())
        })?;
    let unpacked = dir.join("vmlinux");
    Ok(match unpacked.exists() {
        true => unpacked,
        false => vmlinuz.to_owned(),
    })
}

/// The packed kernel in a bzImage, by its header (Documentation/arch/x86/boot.rst): without the length that follows it.
fn payload(image: &[u8]) -> Option<&[u8]> {
    const MAGIC: usize = 0x202;
    const SECTORS: usize = 0x1f1;
    const OFFSET: usize = 0x248;
    const LENGTH: usize = 0x24c;
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" {
        return None;
    }
    let field = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    // Of old, none means four.
    let sectors = match image.get(SECTORS)? {
        0 => 4,
        &some => usize::from(some),
    };
    let start = (sectors + 1)
        .checked_mul(512)?
        .checked_add(field(OFFSET)?)?;
    let end = start.checked_add(field(LENGTH)?)?.checked_sub(4)?;
    image.get(start..end)
}

/// Unpacks it, if it was packed by zstd and is an ELF file.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    if !packed.starts_with(&ZSTD) {
        return None;
    }
    let mut elf = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed).ok()?;
    decoder.read_to_end(&mut elf).ok()?;
    elf.starts_with(&ELF).then_some(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage of two sectors of set-up, with this payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 3 * 512 + 16];
        image[0x1f1] = 2;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(payload.len() + 4).unwrap();
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(&[9, 9, 9, 9]);
        image
    }

    #[test]
    fn the_header_says_where_it_is() {
        assert_eq!(payload(&image(b"packed")).unwrap(), b"packed");
        assert_eq!(payload(b"MZ"), None);
        let mut cut = image(b"packed");
        cut.truncate(cut.len() - 5);
        assert_eq!(payload(&cut), None);
    }

    #[test]
    fn an_elf_file_is_unpacked_and_nothing_else() {
        use ruzstd::encoding::{compress_to_vec, CompressionLevel};
        let pack = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let elf = b"\x7fELF and so on";
        assert_eq!(unpack(&pack(elf)).unwrap(), elf);
        assert_eq!(unpack(&pack(b"a script")), None);
        assert_eq!(unpack(b"\x1f\x8b gzip"), None);
    }
}
