//! Platforms: `os/arch[/variant]`, normalised and matched as containerd does it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an image runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64` …: Go's words.
    #[serde(default)]
    pub architecture: String,
    /// `linux`, `windows` …
    #[serde(default)]
    pub os: String,
    /// The version of Windows.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the operating system must be able to do.
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_features: Option<Vec<String>>,
    /// The variant of the processor: `v7`, `v8` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: unknown operating system or architecture: invalid argument")]
pub struct InvalidPlatform(pub String);

const SYSTEMS: [&str; 14] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "solaris",
    "windows",
];
const ARCHITECTURES: [&str; 16] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv", "riscv64", "s390", "s390x", "wasm",
];

impl Platform {
    /// Linux on this machine's processor.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// From parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normalize(architecture, variant);
        let variant = (!variant.is_empty()).then_some(variant);
        Self {
            architecture,
            os,
            os_version: None,
            os_features: None,
            variant,
        }
    }

    /// The same platform in the usual words (`aarch64/v8` becomes `arm64`).
    pub fn normalized(&self) -> Self {
        let variant = self.variant.as_deref().unwrap_or_default();
        let plain = Self::new(&self.os, &self.architecture, variant);
        let (os_version, os_features) = (self.os_version.clone(), self.os_features.clone());
        Self {
            os_version,
            os_features,
            ..plain
        }
    }

    /// Whether they are the same platform, however they are written.
    pub fn matches(&self, other: &Self) -> bool {
        let (one, two) = (self.normalized(), other.normalized());
        one.os == two.os
            && one.architecture == two.architecture
            && one.default_variant() == two.default_variant()
    }

    /// How well an image for `image` runs where this platform is: 0 is best, `None` not at all.
    /// A processor runs its older variants too, and a 64-bit one its 32-bit relative.
    pub fn rank(&self, image: &Self) -> Option<usize> {
        self.runnable()
            .iter()
            .position(|candidate| candidate.matches(image))
    }

    /// What a machine of this platform can run, best first.
    fn runnable(&self) -> Vec<Self> {
        let own = self.normalized();
        let level = |text: &str| text.trim_start_matches('v').parse::<u32>().unwrap_or(0);
        let variant = own.default_variant().to_owned();
        let down = |architecture: &str, from: u32, to: u32| -> Vec<Self> {
            (to..=from)
                .rev()
                .map(|v| Self::new(&own.os, architecture, &format!("v{v}")))
                .collect()
        };
        match own.architecture.as_str() {
            "amd64" => {
                let mut list = down("amd64", level(&variant), 1);
                list.push(Self::new(&own.os, "386", ""));
                list
            }
            "arm" => down("arm", level(&variant), 5),
            "arm64" => {
                let mut list = down("arm64", level(&variant), 8);
                list.extend(down("arm", 8, 5));
                list
            }
            _ => vec![own],
        }
    }

    /// The variant, or what its absence means.
    fn default_variant(&self) -> &str {
        match (self.variant.as_deref(), self.architecture.as_str()) {
            (Some(variant), _) => variant,
            (None, "arm64") => "v8",
            (None, "arm") => "v7",
            (None, "amd64") => "v1",
            (None, _) => "",
        }
    }
}

/// The usual words for an architecture and its variant.
fn normalize(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let pair = |a: &str, v: &str| (a.to_owned(), v.to_owned());
    match architecture.as_str() {
        "i386" | "x86" => pair("386", ""),
        "x86_64" | "x86-64" | "amd64" => pair("amd64", if variant == "v1" { "" } else { &variant }),
        "aarch64" | "arm64" => {
            let variant = match variant.as_str() {
                "8" | "v8" | "v8.0" => "",
                "9" | "v9.0" => "v9",
                other => other,
            };
            pair("arm64", variant)
        }
        "armhf" => pair("arm", "v7"),
        "armel" => pair("arm", "v6"),
        "arm" => {
            let variant = match variant.as_str() {
                "" | "7" => "v7",
                "5" => "v5",
                "6" => "v6",
                "8" => "v8",
                other => other,
            };
            pair("arm", variant)
        }
        "powerpc64le" | "ppc64el" => pair("ppc64le", &variant),
        other => pair(other, &variant),
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// `os/arch/variant`, `os/arch`, `os` or `arch`; what is left out is the host's.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.to_owned());
        let valid_part = |part: &&str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            !part.is_empty() && part.bytes().all(allowed)
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(valid_part) {
            return Err(invalid());
        }
        match parts[..] {
            [word] => {
                let as_arch = Self::new("linux", word, "");
                if SYSTEMS.contains(&Self::new(word, "", "").os.as_str()) {
                    Ok(Self::new(word, std::env::consts::ARCH, ""))
                } else if ARCHITECTURES.contains(&as_arch.architecture.as_str()) {
                    Ok(as_arch)
                } else {
                    Err(invalid())
                }
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platforms_are_written_in_the_usual_words() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("Linux/AMD64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/ppc64le", "linux/ppc64le"),
        ] {
            assert_eq!(parse(text).to_string(), normal, "{text}");
        }
        for bad in [
            "",
            "/",
            "linux/",
            "nonsense",
            "a/b/c/d",
            "linux/am d64",
            "linux/a:b",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        assert_eq!(parse("linux"), Platform::host());
    }

    #[test]
    fn a_machine_runs_its_older_variants_and_its_32_bit_relative() {
        let rank = |host: &str, image: &str| parse(host).rank(&parse(image));
        assert_eq!(rank("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(rank("linux/amd64", "linux/386"), Some(1));
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(rank("linux/amd64", "linux/amd64/v3"), None);
        assert_eq!(rank("linux/amd64", "linux/arm64"), None);
        assert_eq!(rank("linux/arm64", "linux/arm/v7"), Some(2));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/riscv64", "linux/riscv64"), Some(0));
        assert_eq!(rank("linux/amd64", "windows/amd64"), None);
    }
}
