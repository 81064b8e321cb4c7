// SPDX-License-Identifier: GPL-2.0

//! One change of an image, and how it is made.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes, as two hexadecimal digits each where they are written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> String {
        bytes.to_string()
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        if digits.len() != text.chars().count() || !digits.len().is_multiple_of(2) {
            return Err(format!("not pairs of hexadecimal digits: {text:?}"));
        }
        let bytes = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8);
        Ok(Bytes(bytes.collect()))
    }
}

/// What is changed. Places are bytes from the beginning of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// These bytes stand there now.
    Bytes(Bytes),
    /// So many bytes that stand in the sound image at another place.
    Copy {
        /// Where.
        from: usize,
        /// How many.
        length: usize,
    },
    /// So many times the same byte.
    Fill {
        /// Which.
        byte: u8,
        /// How many.
        length: usize,
    },
}

/// One change of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    /// What it is about, for people.
    pub what: String,
    /// Where.
    pub at: usize,
    /// What a sound image has there: up to [`WAS`] bytes. Where it has something else, this is about another image.
    pub was: Bytes,
    /// What it has then.
    pub now: Change,
}

/// Bytes of the sound image that are kept.
pub const WAS: usize = 8;

impl Mutation {
    /// A change of what the sound image has at that place.
    pub fn new(sound: &[u8], what: String, at: usize, now: Change) -> Self {
        let end = at.saturating_add(now.len().min(WAS)).min(sound.len());
        let was = sound.get(at..end).unwrap_or_default().to_vec();
        Self {
            what,
            at,
            was: Bytes(was),
            now,
        }
    }

    /// Whether it is about this image.
    pub fn fits(&self, sound: &[u8]) -> bool {
        let end = self.at.saturating_add(self.was.0.len());
        sound.get(self.at..end) == Some(self.was.0.as_slice())
    }

    /// Makes it in `image`, which was `sound`. What would lie behind the end is left out.
    pub fn apply(&self, sound: &[u8], image: &mut [u8]) {
        let room = image.get_mut(self.at..).unwrap_or_default();
        match &self.now {
            Change::Bytes(bytes) => {
                room.iter_mut()
                    .zip(&bytes.0)
                    .for_each(|(to, from)| *to = *from);
            }
            Change::Copy { from, length } => {
                let from = sound.get(*from..).unwrap_or_default();
                let bytes = room.iter_mut().zip(from).take(*length);
                bytes.for_each(|(to, from)| *to = *from);
            }
            Change::Fill { byte, length } => {
                room.iter_mut().take(*length).for_each(|to| *to = *byte);
            }
        }
    }
}

impl Mutation {
    /// Takes it back.
    pub fn revert(&self, sound: &[u8], image: &mut [u8]) {
        let room = image.get_mut(self.at..).unwrap_or_default();
        let was = sound.get(self.at..).unwrap_or_default();
        let bytes = room.iter_mut().zip(was).take(self.now.len());
        bytes.for_each(|(to, from)| *to = *from);
    }
}

impl Change {
    /// Bytes that it touches.
    fn len(&self) -> usize {
        match self {
            Change::Bytes(bytes) => bytes.0.len(),
            Change::Copy { length, .. } | Change::Fill { length, .. } => *length,
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x}: {} -> ", self.what, self.at, self.was)?;
        match &self.now {
            Change::Bytes(bytes) => bytes.fmt(f),
            Change::Copy { from, length } => write!(f, "the {length} bytes at {from:#x}"),
            Change::Fill { byte, length } => write!(f, "{length} times {byte:02x}"),
        }
    }
}

/// The image with these changes.
pub fn mutated(sound: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut image = sound.to_vec();
    mutations
        .iter()
        .for_each(|one| one.apply(sound, &mut image));
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hexadecimal_digits() {
        let bytes = Bytes(vec![0, 0x1f, 0xff]);
        assert_eq!(String::from(bytes.clone()), "001fff");
        assert_eq!(Bytes::try_from("001fff".to_owned()), Ok(bytes));
        assert!(Bytes::try_from("0".to_owned()).is_err());
        assert!(Bytes::try_from("0g".to_owned()).is_err());
    }

    #[test]
    fn a_swap_takes_both_from_the_sound_image() {
        let sound = [1, 2, 3, 4];
        let copy =
            |from, at| Mutation::new(&sound, String::new(), at, Change::Copy { from, length: 2 });
        let swap = [copy(0, 2), copy(2, 0)];
        let mut image = mutated(&sound, &swap);
        assert_eq!(image, [3, 4, 1, 2]);
        swap.iter().for_each(|one| one.revert(&sound, &mut image));
        assert_eq!(image, sound);
    }

    #[test]
    fn nothing_reaches_beyond_the_end() {
        let sound = [0; 4];
        let fill = Change::Fill { byte: 9, length: 9 };
        let change = Mutation::new(&sound, String::new(), 3, fill.clone());
        assert!(change.fits(&sound));
        assert_eq!(mutated(&sound, &[change]), [0, 0, 0, 9]);
        let beyond = Mutation::new(&sound, String::new(), 90, fill);
        assert_eq!(mutated(&sound, &[beyond]), sound);
    }

    #[test]
    fn another_image_is_told() {
        let change = Mutation::new(&[1, 2], String::new(), 0, Change::Bytes(Bytes(vec![7])));
        assert!(change.fits(&[1, 9]));
        assert!(!change.fits(&[2, 9]));
    }
}
