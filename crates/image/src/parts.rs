//! Cuts a stream into parts where its content says, so that a change in one place leaves all other
//! parts as they were: what has them already needs only the new ones.
//!
//! Where a part ends depends on the last 64 bytes alone (a rolling "gear" hash). Each part is one
//! frame of zstd under its digest; all parts, one behind the other, are the stream compressed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hull_oci::{Algorithm, Digest, Hasher};
use rustix::fs::{CWD, Mode, OFlags};

use crate::compression;

/// The bytes the rolling hash remembers: its width in bits.
const WINDOW_BYTES: u64 = 64;

/// Streams up to this size are cut finely.
const FINE_UP_TO_BYTES: u64 = 64 << 30;

/// How long parts are: a fourth of `1 << bits` bytes at least, four times as many at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    bits: u32,
}

/// A part of a stream, compressed.
#[derive(Debug)]
pub struct Part {
    /// Its bytes: a file without a name.
    pub file: File,
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Compressed bytes.
    pub size: u64,
    /// Bytes of the stream that it holds.
    pub plain_bytes: u64,
}

/// Takes a stream in and gives its parts out.
pub struct Cutter<F> {
    directory: PathBuf,
    cuts: Cuts,
    give: F,
    gear: u64,
    plain_bytes: u64,
    encoder: Option<zstd::Encoder<'static, Hashed>>,
}

impl Cuts {
    /// For a stream of about so many bytes. The list of parts must fit in one manifest; streams
    /// that grow keep their cuts until they are past 64 GiB.
    pub fn for_bytes(bytes: u64) -> Self {
        Self {
            bits: if bytes <= FINE_UP_TO_BYTES { 22 } else { 25 },
        }
    }

    fn shortest(self) -> u64 {
        1 << (self.bits - 2)
    }

    fn longest(self) -> u64 {
        1 << (self.bits + 2)
    }
}

impl<F: FnMut(Part) -> io::Result<()>> Cutter<F> {
    /// Parts lie in `directory` without a name: whatever happens, nothing stays of them.
    pub fn new(directory: &Path, cuts: Cuts, give: F) -> Self {
        Self {
            directory: directory.to_owned(),
            cuts,
            give,
            gear: 0,
            plain_bytes: 0,
            encoder: None,
        }
    }

    /// Gives out what is left.
    pub fn finish(mut self) -> io::Result<()> {
        self.end_part()
    }

    fn end_part(&mut self) -> io::Result<()> {
        let Some(encoder) = self.encoder.take() else {
            return Ok(());
        };
        let Hashed { file, hasher, size } = encoder.finish()?;
        let part = Part {
            file,
            digest: hasher.finish(),
            size,
            plain_bytes: std::mem::take(&mut self.plain_bytes),
        };
        self.gear = 0;
        (self.give)(part)
    }

    /// How many of the bytes belong to this part, and whether it ends there.
    fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        let have = self.plain_bytes;
        // What no cut could depend on is not looked at.
        let unseen = self.cuts.shortest().saturating_sub(WINDOW_BYTES + have);
        let unseen = usize::try_from(unseen).unwrap_or(usize::MAX);
        for (at, byte) in bytes.iter().enumerate().skip(unseen) {
            self.gear = (self.gear << 1).wrapping_add(GEAR[usize::from(*byte)]);
            let length = have + at as u64 + 1;
            let may = length >= self.cuts.shortest();
            if may && (self.gear >> (64 - self.cuts.bits) == 0 || length >= self.cuts.longest()) {
                return (at + 1, true);
            }
        }
        (bytes.len(), false)
    }
}

impl<F: FnMut(Part) -> io::Result<()>> Write for Cutter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let (length, ends) = self.advance(bytes);
        if self.encoder.is_none() {
            self.encoder = Some(compression::zstd(Hashed::new(&self.directory)?)?);
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.write_all(&bytes[..length])?;
        }
        self.plain_bytes += length as u64;
        if ends {
            self.end_part()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file without a name that knows its digest.
struct Hashed {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Hashed {
    fn new(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(0o600))?;
        Ok(Self {
            file: File::from(file),
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
        })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A number for each byte (splitmix64). With others, streams would be cut elsewhere, and nothing
/// of what registries have would be found again.
static GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let (mut at, mut seed) = (0, 0_u64);
    while at < 256 {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{Read as _, Seek as _, SeekFrom};

    use super::*;

    /// Bytes that do not repeat.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        std::iter::repeat_with(&mut next).take(count).collect()
    }

    /// Cut by pieces of `step` bytes, as they may come.
    fn cut(bytes: &[u8], step: usize) -> Vec<Part> {
        let scratch = tempfile::tempdir().unwrap();
        let mut parts = Vec::new();
        let mut cutter = Cutter::new(scratch.path(), Cuts { bits: 12 }, |part| {
            parts.push(part);
            Ok(())
        });
        for piece in bytes.chunks(step) {
            cutter.write_all(piece).unwrap();
        }
        cutter.finish().unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        parts
    }

    fn digests(parts: &[Part]) -> Vec<Digest> {
        parts.iter().map(|part| part.digest.clone()).collect()
    }

    #[test]
    fn all_parts_together_are_the_stream() {
        let bytes = noise(200_000);
        let mut parts = cut(&bytes, 1000);
        let mut packed = Vec::new();
        for part in &mut parts {
            part.file.seek(SeekFrom::Start(0)).unwrap();
            let start = packed.len();
            part.file.read_to_end(&mut packed).unwrap();
            assert_eq!(Digest::of(&packed[start..]), part.digest);
            assert_eq!((packed.len() - start) as u64, part.size);
        }
        let (_, mut plain) = compression::decompress(packed.as_slice()).unwrap();
        let mut unpacked = Vec::new();
        plain.read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == bytes);
        assert_eq!(digests(&parts), digests(&cut(&bytes, 77)));
        let lengths = parts.iter().map(|part| part.plain_bytes);
        assert!(lengths.clone().all(|length| length <= 16 << 10));
        assert!(
            lengths
                .take(parts.len() - 1)
                .all(|length| length >= 1 << 10)
        );
        assert!(parts.len() > 20, "{}", parts.len());
    }

    #[test]
    fn a_change_costs_the_parts_that_it_is_in() {
        let bytes = noise(400_000);
        let mut changed = bytes.clone();
        changed.splice(200_000..200_000, *b"some more");
        let before: HashSet<Digest> = digests(&cut(&bytes, 4096)).into_iter().collect();
        let after = digests(&cut(&changed, 4096));
        let new = after.iter().filter(|digest| !before.contains(digest));
        assert!(new.count() <= 2);
    }

    #[test]
    fn zeros_have_no_place_to_cut_but_an_end() {
        let parts = cut(&vec![0; 100_000], 8192);
        let longest = parts.iter().map(|part| part.plain_bytes).max();
        assert_eq!(longest, Some(16 << 10));
        assert!(cut(&[], 10).is_empty());
    }
}
