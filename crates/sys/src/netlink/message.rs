//! The wire form: a header, a fixed part, and a tree of aligned attributes.

use std::borrow::Cow;

pub(crate) const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
pub(crate) const NESTED: u16 = 1 << 15;
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// Flags of a request.
pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACKNOWLEDGE: u16 = 4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const CREATE: u16 = 0x400;

/// One request under construction.
#[derive(Debug, Clone)]
pub struct Message {
    pub(crate) bytes: Vec<u8>,
    /// Completes "the kernel refused to …".
    pub(crate) action: Cow<'static, str>,
}

impl Message {
    /// A request of a kind with its fixed part.
    pub(crate) fn new(
        action: impl Into<Cow<'static, str>>,
        kind: u16,
        flags: u16,
        fixed: &[u8],
    ) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        let mut message = Self {
            bytes,
            action: action.into(),
        };
        message.extend(fixed);
        message
    }

    fn extend(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }

    pub(crate) fn attribute(&mut self, kind: u16, data: &[u8]) -> &mut Self {
        let length = u16::try_from(data.len() + 4).expect("attributes are small: callers chunk");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.extend(data);
        self
    }

    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut data = text.as_bytes().to_vec();
        data.push(0);
        self.attribute(kind, &data)
    }

    pub(crate) fn number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.attribute(kind, &number.to_ne_bytes())
    }

    /// Netfilter's numbers are big-endian.
    pub(crate) fn big(&mut self, kind: u16, number: u32) -> &mut Self {
        self.attribute(kind, &number.to_be_bytes())
    }

    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.attribute(kind | NESTED, &[]);
        fill(self);
        let length =
            u16::try_from(self.bytes.len() - start).expect("attributes are small: callers chunk");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// A fixed part inside a nest.
    pub(crate) fn raw(&mut self, data: &[u8]) -> &mut Self {
        self.extend(data);
        self
    }

    pub(crate) fn flag(&mut self, flags: u16) {
        let all = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&all.to_ne_bytes());
    }

    pub(crate) fn is_dump(&self) -> bool {
        u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) & DUMP == DUMP
    }

    /// Appends the finished bytes.
    pub(crate) fn write(&self, sequence: u32, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&self.bytes);
        let length = u32::try_from(self.bytes.len()).expect("a message is far below 4 GiB");
        into[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        into[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// One message received.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// What it is; the numbers belong to the protocol.
    pub kind: u16,
    /// Which request it answers.
    pub sequence: u32,
    /// The socket that caused it; 0 is the kernel itself.
    pub port: u32,
    /// Fixed part and attributes.
    pub payload: &'a [u8],
}

/// The messages in a received buffer; stops at the first damaged one.
pub fn packets(mut bytes: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        if length < HEADER || length > bytes.len() {
            return None;
        }
        let packet = Packet {
            kind: u16_at(bytes, 4)?,
            sequence: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
            payload: &bytes[HEADER..length],
        };
        bytes = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some(packet)
    })
}

/// The attributes of a message or of a nest: kind and data.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Reads `payload` after its fixed part.
    pub fn after(payload: &'a [u8], fixed: usize) -> Self {
        Self(payload.get(fixed..).unwrap_or_default())
    }

    /// The data of the first attribute of a kind.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter()
            .find(|(found, _)| *found == kind)
            .map(|(_, data)| data)
    }

    /// The attributes inside one.
    pub fn nest(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }

    /// Text without its final zero.
    pub fn text(self, kind: u16) -> Option<String> {
        let data = self.get(kind)?;
        let end = data
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(data.len());
        Some(String::from_utf8_lossy(&data[..end]).into_owned())
    }

    /// A number in the machine's order.
    pub fn number(self, kind: u16) -> Option<u32> {
        u32_at(self.get(kind)?, 0)
    }

    /// A number in netfilter's order.
    pub fn big(self, kind: u16) -> Option<u32> {
        self.number(kind).map(u32::from_be)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & ATTRIBUTE_TYPE_MASK;
        if length < 4 || length > self.0.len() {
            return None;
        }
        let data = &self.0[4..length];
        self.0 = self
            .0
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some((kind, data))
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut message = Message::new("test", 7, CREATE, &[1, 2, 3, 4]);
        message.text(1, "eth0").nested(2, |nest| {
            nest.number(3, 9).big(4, 10);
        });
        let mut bytes = Vec::new();
        message.write(42, &mut bytes);
        message.write(43, &mut bytes);
        let found: Vec<_> = packets(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].kind, found[0].sequence, found[1].sequence),
            (7, 42, 43)
        );
        let attributes = Attributes::after(found[0].payload, 4);
        assert_eq!(attributes.text(1).as_deref(), Some("eth0"));
        assert_eq!(attributes.nest(2).number(3), Some(9));
        assert_eq!(attributes.nest(2).big(4), Some(10));
        assert_eq!(attributes.get(5), None);
    }

    #[test]
    fn damaged_bytes_end_the_reading() {
        for bytes in [&[][..], &[1; 3], &[255; 40], &[0; 40], &[16, 0, 0, 0]] {
            assert_eq!(packets(bytes).count(), 0);
            assert_eq!(Attributes::after(bytes, 50).count(), 0);
        }
    }
}
