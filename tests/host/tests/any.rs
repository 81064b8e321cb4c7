// SPDX-License-Identifier: GPL-2.0

//! What holds of any bytes, tried on blocks of images that were tampered with; `tests/fuzz` tries it for longer.

use notblk_host_tests::any::ALL;
use notblk_host_tests::seeds;
use notblk_hostile::random::Random;

/// Random bytes, from none to a few thousand.
#[test]
fn holds_of_noise() {
    let mut random = Random::new(1, "noise");
    for _ in 0..3000 {
        let most = if random.one_in(10) { 5000 } else { 300 };
        let length = random.below(most);
        let data: Vec<u8> = (0..length).map(|_| (random.word() & 0xff) as u8).collect();
        ALL.iter().for_each(|(_, holds)| holds(&data));
    }
}

/// Blocks of real filesystems, with a few bytes changed: these get further.
#[test]
fn holds_of_what_was_tampered_with() {
    let mut random = Random::new(1, "tampered");
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, seed) in seeds::all(dir.path()).expect("seeds") {
        let property = ALL.iter().find(|(other, _)| *other == name);
        let (_, holds) = property.expect("a seed of some property");
        holds(&seed);
        for _ in 0..60 {
            let mut data = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(data.len());
                data[at] = match random.below(3) {
                    0 => data[at] ^ (1 << random.below(8)),
                    1 => data[at].wrapping_add(1),
                    _ => (random.word() & 0xff) as u8,
                };
            }
            holds(&data);
        }
    }
}
