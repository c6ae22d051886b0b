//! Content trust: signatures of names of images. Nobody can check or make them here yet, so whoever asks for that is refused
//! rather than served unchecked.

use hull_oci::Reference;

use crate::error::{Error, Result};
use crate::flags::parse_bool;
use crate::ui;

/// Asks for it, but for what a flag says.
const SWITCH: &str = "DOCKER_CONTENT_TRUST";

/// Refuses an image whose name would have to be checked. `disabled` is what `--disable-content-trust` says.
///
/// # Errors
/// Trust is asked for, and the image is not named by what it holds.
pub(super) fn check(disabled: Option<bool>, image: &str) -> Result<()> {
    let is_content = image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digest = || {
        image
            .parse()
            .is_ok_and(|name: Reference| name.digest().is_some())
    };
    match is_wanted(disabled, std::env::var(SWITCH).ok()) && !is_content && !digest() {
        true => Err(refusal(&format!("the signature of {image:?}"))),
        false => Ok(()),
    }
}

/// The same for a build, in which any name may stand.
///
/// # Errors
/// Trust is asked for.
pub(super) fn check_build(disabled: Option<bool>) -> Result<()> {
    match is_wanted(disabled, std::env::var(SWITCH).ok()) {
        true => Err(refusal("the signatures of the images a build begins with")),
        false => Ok(()),
    }
}

/// Whether the environment asks for it.
pub(super) fn is_asked() -> bool {
    is_wanted(None, std::env::var(SWITCH).ok())
}

/// Says that images of projects are taken unchecked: Docker's Compose does so, too, without a word.
pub(super) fn tell_unchecked() {
    if is_asked() {
        ui::warn(&format!(
            "{SWITCH} is set, and Compose checks no signatures: images are taken as they are"
        ));
    }
}

fn refusal(what: &str) -> Error {
    Error::new(format!("content trust is asked for, and {what} cannot be checked here yet")).with_hint(
        format!("unset ${SWITCH}, or give --disable-content-trust, to go on without; an image that is named by its digest is what it is"),
    )
}

/// The flag goes before the environment, of which anything but a no is a yes.
fn is_wanted(disabled: Option<bool>, environment: Option<String>) -> bool {
    match (disabled, environment.as_deref()) {
        (Some(disabled), _) => !disabled,
        (None, None | Some("")) => false,
        (None, Some(text)) => parse_bool(text).unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment() {
        let set = |text: &str| Some(text.to_owned());
        assert!(!is_wanted(None, None) && !is_wanted(None, set("0")));
        assert!(is_wanted(None, set("1")) && is_wanted(None, set("sure")));
        assert!(!is_wanted(Some(true), set("1")) && is_wanted(Some(false), None));
    }

    #[test]
    fn an_image_that_is_named_by_its_digest_needs_no_signature() {
        let digest = format!("busybox@sha256:{}", "a".repeat(64));
        assert!(check(Some(false), &digest).is_ok());
        assert!(check(Some(false), &"a".repeat(64)).is_ok());
        assert!(check(Some(false), "busybox").is_err());
    }
}
