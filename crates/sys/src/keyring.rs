//! The kernel's keyrings: small secrets in its memory, for one user, on no disk.
//!
//! A user's *persistent* keyring outlives logins, for a few days after its last use; where the kernel
//! has none, the *user* keyring lives as long as any process of the user.

#![expect(unsafe_code, reason = "add_key and keyctl have no wrapper")]

use std::ffi::CStr;
use std::io;

/// The kind of key whose bytes user space chooses and may read.
const USER: &CStr = c"user";

const PROCESS_KEYRING: libc::c_long = -2;
const USER_KEYRING: libc::c_long = -4;

const LINK: libc::c_long = 8;
const UNLINK: libc::c_long = 9;
const SEARCH: libc::c_long = 10;
const READ: libc::c_long = 11;
const GET_PERSISTENT: libc::c_long = 22;

/// A keyring of this process's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyring(libc::c_long);

/// A key in a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(libc::c_long);

impl Keyring {
    /// The one that lasts longest. This process may search and change it from now on.
    pub fn lasting() -> io::Result<Self> {
        // The user it is for, -1: this one.
        match keyctl(GET_PERSISTENT, -1, PROCESS_KEYRING, 0) {
            Ok(id) => Ok(Self(id)),
            Err(error) if is_unknown(&error) => {
                keyctl(LINK, USER_KEYRING, PROCESS_KEYRING, 0)?;
                Ok(Self(USER_KEYRING))
            }
            Err(error) => Err(error),
        }
    }

    /// The key of this name; `None`: there is none, or it has run out.
    pub fn find(self, name: &CStr) -> io::Result<Option<Key>> {
        // SAFETY: both texts end with a zero byte and outlive the call.
        let found = check(unsafe {
            libc::syscall(
                libc::SYS_keyctl,
                SEARCH,
                self.0,
                USER.as_ptr(),
                name.as_ptr(),
                0,
            )
        });
        match found {
            Ok(id) => Ok(Some(Key(id))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a key into it, in place of one of the same name.
    pub fn put(self, name: &CStr, bytes: &[u8]) -> io::Result<Key> {
        // SAFETY: both texts end with a zero byte, the bytes are as long as said, and all outlive
        // the call.
        let id = check(unsafe {
            libc::syscall(
                libc::SYS_add_key,
                USER.as_ptr(),
                name.as_ptr(),
                bytes.as_ptr(),
                bytes.len(),
                self.0,
            )
        })?;
        Ok(Key(id))
    }

    /// Takes a key out: with its last keyring, it is gone.
    pub fn remove(self, key: Key) -> io::Result<()> {
        keyctl(UNLINK, key.0, self.0, 0).map(drop)
    }
}

impl Key {
    /// Its bytes, if it has exactly so many.
    pub fn read<const LENGTH: usize>(self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        // SAFETY: the buffer is as long as said, and outlives the call.
        let length = check(unsafe {
            libc::syscall(
                libc::SYS_keyctl,
                READ,
                self.0,
                bytes.as_mut_ptr(),
                bytes.len(),
            )
        })?;
        if usize::try_from(length) == Ok(LENGTH) {
            return Ok(bytes);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the key has {length} bytes, not {LENGTH}"),
        ))
    }
}

fn keyctl(
    operation: libc::c_long,
    one: libc::c_long,
    two: libc::c_long,
    three: libc::c_long,
) -> io::Result<libc::c_long> {
    // SAFETY: the operations that come here take numbers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, operation, one, two, three, 0) })
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [libc::ENOKEY, libc::EKEYEXPIRED, libc::EKEYREVOKED];
    error
        .raw_os_error()
        .is_some_and(|number| gone.contains(&number))
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn a_key_is_found_until_it_is_taken_out() {
        let ring = Keyring::lasting().unwrap();
        let name = CString::new(format!("hull-test-{}", std::process::id())).unwrap();
        assert_eq!(ring.find(&name).unwrap(), None);
        let key = ring.put(&name, b"secret").unwrap();
        assert_eq!(ring.find(&name).unwrap(), Some(key));
        assert_eq!(&key.read::<6>().unwrap(), b"secret");
        assert!(key.read::<7>().is_err());
        ring.remove(key).unwrap();
        assert_eq!(ring.find(&name).unwrap(), None);
    }
}
