//! Which packages are in an image, in SPDX's form: what the databases of dpkg and apk say.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hull_oci::Descriptor;
use hull_sys::beneath::Root;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

pub(super) const KIND: &str = "https://spdx.dev/Document";
/// The databases of the largest distributions have a tenth of it.
const DATABASE_BYTES_MAX: u64 = 64 << 20;
/// Databases with a file for each package.
const FILES_MAX: usize = 10_000;

/// The packages of a root file system.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packages {
    found: Vec<Package>,
    /// The distribution: its id, and its version.
    system: (String, String),
    /// There are packages of a kind that is not listed.
    has_others: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    kind: &'static str,
    name: String,
    version: String,
    architecture: String,
    license: String,
}

impl Packages {
    /// Looks at the databases. What is no plain text in one is left out, as are links that lead
    /// elsewhere.
    pub(super) fn of(root: &Root) -> Self {
        let mut found = deb(&text(root, "var/lib/dpkg/status"));
        for name in names(root, "var/lib/dpkg/status.d") {
            if !name.ends_with(".md5sums") {
                found.extend(deb(&text(root, &format!("var/lib/dpkg/status.d/{name}"))));
            }
        }
        let apk_text = match text(root, "lib/apk/db/installed") {
            empty if empty.is_empty() => text(root, "usr/lib/apk/db/installed"),
            found => found,
        };
        found.extend(apk(&apk_text));
        found.sort();
        found.dedup();
        let release = match text(root, "etc/os-release") {
            empty if empty.is_empty() => text(root, "usr/lib/os-release"),
            found => found,
        };
        let value = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        Self {
            found,
            system: (value("ID="), value("VERSION_ID=")),
            has_others: ["var/lib/rpm", "usr/lib/sysimage/rpm", "var/lib/pacman"]
                .iter()
                .any(|path| root.stat(path).is_ok()),
        }
    }

    /// The document.
    pub(super) fn document(&self, image: &Descriptor, created: String) -> Value {
        let id = |at: usize| format!("SPDXRef-Package-{at}");
        let packages: Vec<Value> = self
            .found
            .iter()
            .enumerate()
            .map(|(at, package)| self.package(&id(at), package))
            .collect();
        let relations: Vec<Value> = (0..packages.len())
            .map(|at| {
                json!({
                    "spdxElementId": "SPDXRef-DOCUMENT",
                    "relationshipType": "DESCRIBES",
                    "relatedSpdxElement": id(at),
                })
            })
            .collect();
        let mut document = json!({
            "spdxVersion": "SPDX-2.3",
            "SPDXID": "SPDXRef-DOCUMENT",
            "dataLicense": "CC0-1.0",
            "name": "sbom",
            "documentNamespace": format!("https://spdx.org/spdxdocs/hull-{}", image.digest.hex()),
            "creationInfo": {
                "created": created,
                "creators": [concat!("Tool: hull-", env!("CARGO_PKG_VERSION"))],
            },
            "packages": packages,
            "relationships": relations,
        });
        if self.has_others {
            document["comment"] =
                json!("packages of other kinds than dpkg's and apk's are not listed");
        }
        document
    }

    fn package(&self, id: &str, package: &Package) -> Value {
        let license = match package.license.as_str() {
            "" => "NOASSERTION",
            license => license,
        };
        json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": license,
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": self.locator(package),
            }],
        })
    }

    fn locator(&self, package: &Package) -> String {
        let (system, release) = &self.system;
        let system = match (system.as_str(), package.kind) {
            ("", "deb") => "debian",
            ("", _) => "alpine",
            (system, _) => system,
        };
        let distribution = match release.as_str() {
            "" => String::new(),
            release => format!("&distro={}", encoded(&format!("{system}-{release}"))),
        };
        format!(
            "pkg:{}/{}/{}@{}?arch={}{distribution}",
            package.kind,
            encoded(system),
            encoded(&package.name),
            encoded(&package.version),
            encoded(&package.architecture)
        )
    }
}

/// As package URLs have it.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// The stanzas of dpkg: those that are installed.
fn deb(text: &str) -> Vec<Package> {
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let status = field("Status:");
        let is_here = status.is_empty() || status.ends_with(" installed");
        let package = Package {
            kind: "deb",
            name: field("Package:"),
            version: field("Version:"),
            architecture: field("Architecture:"),
            license: String::new(),
        };
        (is_here && !package.name.is_empty()).then_some(package)
    };
    text.split("\n\n").filter_map(stanza).collect()
}

/// The stanzas of apk.
fn apk(text: &str) -> Vec<Package> {
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let package = Package {
            kind: "apk",
            name: field("P:"),
            version: field("V:"),
            architecture: field("A:"),
            license: field("L:"),
        };
        (!package.name.is_empty()).then_some(package)
    };
    text.split("\n\n").filter_map(stanza).collect()
}

/// A file of the image as text; empty if there is none.
fn text(root: &Root, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut bytes = Vec::new();
    if let Ok(file) = root.open(path, flags, Mode::empty()) {
        let file = File::from(file);
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            let _ = file.take(DATABASE_BYTES_MAX).read_to_end(&mut bytes);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn names(root: &Root, directory: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = root.open(Path::new(directory), flags, Mode::empty());
    let Ok(entries) = opened.and_then(|directory| Ok(rustix::fs::Dir::new(directory)?)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .take(FILES_MAX)
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_dpkg_and_apk_are_read() {
        let found = deb(
            "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
        );
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].name.as_str(), found[0].version.as_str()),
            ("bash", "5.2-1")
        );
        let found = apk("C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:zlib\nV:1.3\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].license, "MIT");
    }

    #[test]
    fn a_locator_names_the_distribution() {
        let packages = Packages {
            found: Vec::new(),
            system: ("debian".to_owned(), "13".to_owned()),
            has_others: false,
        };
        let package = Package {
            kind: "deb",
            name: "libstdc++6".to_owned(),
            version: "1:14".to_owned(),
            architecture: "amd64".to_owned(),
            license: String::new(),
        };
        assert_eq!(
            packages.locator(&package),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A14?arch=amd64&distro=debian-13"
        );
    }
}
