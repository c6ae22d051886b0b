//! A public key out of its usual wrapping (`SubjectPublicKeyInfo`, RFC 5280).

use super::issuer::Material;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The key, if it is of a kind that is known.
pub(super) fn key_of_info(info: &[u8]) -> Option<Material> {
    let (info, _) = element(info, SEQUENCE)?;
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (kind, parameters) = element(algorithm, OBJECT_ID)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    // How many bits of the last byte do not count: none, in a key.
    let key = bits.strip_prefix(&[0])?;
    match kind {
        RSA => {
            let (numbers, _) = element(key, SEQUENCE)?;
            let (n, rest) = element(numbers, INTEGER)?;
            let (e, _) = element(rest, INTEGER)?;
            let (n, e) = (positive(n)?, positive(e)?);
            Some(Material::Rsa { n, e })
        }
        ELLIPTIC => match element(parameters, OBJECT_ID)?.0 {
            P256 => Some(Material::P256(key.to_vec())),
            P384 => Some(Material::P384(key.to_vec())),
            _ => None,
        },
        ED25519 => Some(Material::Ed25519(key.to_vec())),
        _ => None,
    }
}

/// A number's digits: a zero before them only says that it is not negative.
fn positive(number: &[u8]) -> Option<Vec<u8>> {
    match number {
        [0, rest @ ..] => Some(rest.to_vec()),
        [first, ..] if *first < 0x80 => Some(number.to_vec()),
        _ => None,
    }
}

/// What the first element holds, if it is of this kind, and what follows it.
fn element(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[kind])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_of_its_wrapping() {
        let mut wrapped = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03];
        wrapped.extend_from_slice(ED25519);
        wrapped.extend_from_slice(&[0x03, 0x21, 0x00]);
        wrapped.extend_from_slice(&[7; 32]);
        assert_eq!(key_of_info(&wrapped), Some(Material::Ed25519(vec![7; 32])));
        for length in 0..wrapped.len() {
            assert_eq!(key_of_info(&wrapped[..length]), None, "{length} bytes");
        }
        wrapped[6] ^= 1;
        assert_eq!(key_of_info(&wrapped), None, "an unknown kind");
    }

    #[test]
    fn lengths_have_three_forms() {
        let long = [&[0x30, 0x82, 0x01, 0x00][..], &[9; 256]].concat();
        assert_eq!(element(&long, SEQUENCE), Some((&[9; 256][..], &[][..])));
        assert_eq!(
            element(&[0x30, 0x81, 0x01, 5, 6], SEQUENCE),
            Some((&[5][..], &[6][..]))
        );
        assert_eq!(element(&[0x30, 0x80], SEQUENCE), None, "no end is known");
    }
}
