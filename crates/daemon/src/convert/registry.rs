//! Registries: settings, credentials and what is found there.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hull_api::types::{AuthConfig, DistributionInspect, ImageSearchItem, Platform};
use hull_registry::client::{Found, Proxies};
use hull_registry::{Credentials, Settings};

use crate::config::Config;

/// What the configuration means for the client.
pub(crate) fn settings(config: &Config) -> Settings {
    let usual = Settings::default();
    let count = |key: &str, usual: usize| {
        let number = config
            .number(key)
            .and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number > 0).unwrap_or(usual)
    };
    let text = |key: &str| config.text(key).map(str::to_owned);
    let none = text("no-proxy").unwrap_or_default();
    let attempts = count(
        "max-download-attempts",
        usize::try_from(usual.attempts).unwrap_or(5),
    );
    Settings {
        insecure: config.list("insecure-registries"),
        mirrors: config.list("registry-mirrors"),
        certs: Some(config.certs.clone()),
        proxies: Proxies {
            http: text("http-proxy"),
            https: text("https-proxy"),
            none: none.split(',').map(str::to_owned).collect(),
        },
        downloads: count("max-concurrent-downloads", usual.downloads),
        uploads: count("max-concurrent-uploads", usual.uploads),
        attempts: u32::try_from(attempts).unwrap_or(usual.attempts),
        ..usual
    }
}

/// Credentials as clients send them. `None`: there are none.
pub(crate) fn credentials(auth: AuthConfig) -> Option<Credentials> {
    let (mut username, mut password) = (auth.username, auth.password);
    if username.is_empty()
        && let Some((name, secret)) = decoded_pair(&auth.auth)
    {
        (username, password) = (name, secret);
    }
    let credentials = Credentials {
        username,
        password,
        identity_token: auth.identitytoken,
        registry_token: auth.registrytoken,
    };
    (credentials != Credentials::default()).then_some(credentials)
}

/// `user:password` in base64.
fn decoded_pair(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    (!name.is_empty()).then(|| (name.to_owned(), secret.trim_end_matches('\0').to_owned()))
}

/// What a registry says about an image.
pub(crate) fn distribution(
    target: &hull_oci::Descriptor,
    platforms: &[hull_oci::Platform],
) -> DistributionInspect {
    let platform = |platform: &hull_oci::Platform| Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        os_features: platform.os_features.clone().unwrap_or_default(),
        variant: platform.variant.clone().unwrap_or_default(),
    };
    DistributionInspect {
        descriptor: super::image::descriptor(target),
        platforms: platforms.iter().map(platform).collect(),
    }
}

/// A repository that was found.
pub(crate) fn found(found: Found) -> ImageSearchItem {
    ImageSearchItem {
        star_count: i64::try_from(found.star_count).unwrap_or(i64::MAX),
        is_official: found.is_official,
        name: found.name,
        is_automated: found.is_automated,
        description: found.description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_in_two_forms() {
        let pair = AuthConfig {
            auth: STANDARD.encode("me:a:b"),
            ..AuthConfig::default()
        };
        assert_eq!(credentials(pair), Some(Credentials::basic("me", "a:b")));
        let plain = AuthConfig {
            username: "me".into(),
            password: "x".into(),
            serveraddress: "r".into(),
            ..AuthConfig::default()
        };
        assert_eq!(credentials(plain), Some(Credentials::basic("me", "x")));
        assert_eq!(credentials(AuthConfig::default()), None);
    }
}
