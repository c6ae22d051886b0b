//! Compressed streams, told apart by their first bytes; all of it in process.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression as Level;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Enough for every magic number below.
const MAGIC_BYTES: usize = 6;
const BUFFER_BYTES: usize = 128 << 10;
/// The largest window a zstd frame may ask for: 128 MiB, as the `zstd` tool allows by default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Memory an xz stream may ask for, in KiB: level 9 takes 65 MiB.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame of zstd.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// The plain bytes of a stream, however it is compressed.
pub(crate) fn decompress<'a, R: Read + Send + 'a>(
    reader: R,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    let mut reader = reader;
    reader
        .by_ref()
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(reader));
    Ok((compression, open(compression, whole)?))
}

fn open<'a, R: BufRead + Send + 'a>(
    compression: Compression,
    reader: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            reader,
            true,
            XZ_MEMORY_KIB_MAX,
        )),
    })
}

/// Compresses new layers: quickly, since most of them are read once or never.
pub(crate) fn gzip<W: Write>(writer: W) -> GzEncoder<W> {
    GzEncoder::new(writer, Level::fast())
}

/// As [`gzip`], for those who want it smaller.
pub(crate) fn zstd<W: Write>(writer: W) -> io::Result<zstd::Encoder<'static, W>> {
    zstd::Encoder::new(writer, zstd::DEFAULT_COMPRESSION_LEVEL)
}
