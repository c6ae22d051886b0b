//! CDI, the Container Device Interface: devices that files of the host describe.
//!
//! A vendor puts a file into one of the daemon's directories. It names devices (`vendor.com/class=name`)
//! and says for each, and for all of them, what a container gets: device nodes, mounts, variables, groups,
//! hooks. [`Catalogue`] is what the directories hold now, [`Edits`] what some devices bring, and
//! [`spec`](crate::spec) carries them out. The files are the administrator's: nothing of an image, and no
//! client, chooses what stands in them.

mod file;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use file::{ContainerEdits, DeviceNode, Hook, HookName, Mount};

use crate::model::DeviceRequest;

/// Bytes a file may have: vendors' generators write some tens of kilobytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The annotation by which a device may be taken by builds without their client's leave.
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";
/// The annotation by which builds name several devices at once.
const BUILD_CLASS: &str = "org.mobyproject.buildkit.device.class";

/// Kinds that stand for graphics processors, the first that is there.
const GPU_KINDS: [&str; 2] = ["nvidia.com/gpu", "amd.com/gpu"];

/// Devices cannot be given. The beginning of the texts is Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdiError {
    /// No file describes them, or two do.
    #[error("CDI device injection failed: unresolvable CDI devices {}{hint}", .names.join(", "))]
    Unresolvable {
        /// As asked for.
        names: Vec<String>,
        /// What is there instead, and what is wrong with the files.
        hint: String,
    },
    /// A request that names devices and counts them.
    #[error("unexpected {0} in CDI device request")]
    Unexpected(&'static str),
    /// The same, where a driver is to choose.
    #[error("cannot set both Count and DeviceIDs on device request")]
    CountAndIds,
    /// Not of the form `vendor.com/class=name`.
    #[error("invalid CDI device name {0:?}: it has the form vendor.com/class=name")]
    Name(String),
    /// Nothing serves such requests.
    #[error("could not select device driver \"{driver}\" with capabilities: {capabilities}")]
    Driver {
        /// As typed.
        driver: String,
        /// As Go prints a list of lists.
        capabilities: String,
    },
}

/// What devices bring, in the order in which it is applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits(pub Vec<ContainerEdits>);

/// What the directories hold now.
#[derive(Debug, Default)]
pub struct Catalogue {
    directories: Vec<PathBuf>,
    devices: BTreeMap<String, Known>,
    /// Names that two files of equal rank describe.
    contested: BTreeSet<String>,
    /// What is wrong with files.
    problems: Vec<String>,
}

#[derive(Debug, Clone)]
struct Known {
    file: Arc<file::File>,
    path: PathBuf,
    /// Which of the file's devices.
    index: usize,
}

/// A device, as builds see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `vendor.com/class=name`
    pub name: String,
    /// A build needs no leave for it.
    pub auto_allow: bool,
    /// What its file says about it.
    pub annotations: BTreeMap<String, String>,
}

impl Catalogue {
    /// Reads the directories. A later one's device replaces an earlier one's of that name.
    pub fn read(directories: &[PathBuf]) -> Self {
        let mut catalogue = Self {
            directories: directories.to_vec(),
            ..Self::default()
        };
        for directory in directories {
            catalogue.add_directory(directory);
        }
        catalogue
    }

    fn add_directory(&mut self, directory: &Path) {
        let paths = match described(directory) {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                self.problems
                    .push(format!("{}: {error}", directory.display()));
                return;
            }
        };
        let mut own: BTreeMap<String, Known> = BTreeMap::new();
        for path in paths {
            let file = match read(&path) {
                Ok(file) => Arc::new(file),
                Err(reason) => {
                    self.problems.push(format!("{}: {reason}", path.display()));
                    continue;
                }
            };
            for (index, device) in file.devices.iter().enumerate() {
                let name = format!("{}={}", file.kind, device.name);
                let known = Known {
                    file: Arc::clone(&file),
                    path: path.clone(),
                    index,
                };
                let Some(other) = own.insert(name.clone(), known) else {
                    self.contested.remove(&name);
                    continue;
                };
                let (one, two) = (other.path.display(), path.display());
                self.problems
                    .push(format!("{one} and {two} both describe {name}"));
                self.contested.insert(name);
            }
        }
        self.devices.extend(own);
    }

    /// All that can be given, by name.
    pub fn list(&self) -> Vec<Listed> {
        let usable = self
            .devices
            .iter()
            .filter(|(name, _)| !self.contested.contains(*name));
        let listed = usable.map(|(name, known)| {
            let mut annotations = known.file.annotations.clone();
            annotations.extend(known.device().annotations.clone());
            Listed {
                name: name.clone(),
                auto_allow: annotations.get(AUTO_ALLOW).is_some_and(|value| {
                    matches!(value.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True")
                }),
                annotations,
            }
        });
        listed.collect()
    }

    /// What a build's wish stands for: one device, the first of a kind (`vendor.com/class`), all of
    /// it (`…=*`), or those whose file puts them into a class of that name. Empty: there is none.
    ///
    /// # Errors
    /// The wish is no such name.
    pub fn matching(&self, wish: &str) -> Result<Vec<Listed>, CdiError> {
        let (kind, name) = wish.split_once('=').unwrap_or((wish, ""));
        if !file::is_kind(kind) {
            return Err(CdiError::Name(wish.to_owned()));
        }
        let of_kind = |listed: &Listed| {
            listed
                .name
                .split_once('=')
                .is_some_and(|(own, _)| own == kind)
        };
        let mut all: Vec<Listed> = self.list().into_iter().filter(of_kind).collect();
        match name {
            "" => all.truncate(1),
            "*" => {}
            _ if all.iter().any(|listed| listed.name == wish) => {
                all.retain(|listed| listed.name == wish);
            }
            class => all.retain(|listed| {
                listed.annotations.get(BUILD_CLASS).map(String::as_str) == Some(class)
            }),
        }
        Ok(all)
    }

    /// What these devices bring: a file's own edits once, before its first device's.
    ///
    /// # Errors
    /// Some of them are described nowhere, or twice.
    pub fn resolve(&self, names: &[String]) -> Result<Edits, CdiError> {
        let (mut edits, mut missing) = (Vec::new(), Vec::new());
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut files: Vec<*const file::File> = Vec::new();
        for name in names {
            if !done.insert(name) {
                continue;
            }
            let known = self
                .devices
                .get(name)
                .filter(|_| !self.contested.contains(name));
            let Some(known) = known else {
                missing.push(name.clone());
                continue;
            };
            let file = Arc::as_ptr(&known.file);
            if !files.contains(&file) {
                files.push(file);
                edits.push(known.file.container_edits.clone());
            }
            edits.push(known.device().container_edits.clone());
        }
        if missing.is_empty() {
            return Ok(Edits(edits));
        }
        Err(CdiError::Unresolvable {
            names: missing,
            hint: self.hint(),
        })
    }

    /// What could be asked for instead, and what is wrong with the files.
    fn hint(&self) -> String {
        let directories: Vec<_> = self
            .directories
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let places = match directories.is_empty() {
            true => "CDI is switched off".to_owned(),
            false => directories.join(", "),
        };
        let known: Vec<String> = self.list().into_iter().map(|listed| listed.name).collect();
        let mut hint = match known.is_empty() {
            true => format!(" (none is described: {places}"),
            false => format!(" (described are {}: {places}", known.join(", ")),
        };
        for problem in &self.problems {
            hint.push_str("; ");
            hint.push_str(problem);
        }
        hint.push(')');
        hint
    }

    /// The names that a request of a container stands for.
    fn named(&self, request: &DeviceRequest) -> Result<Vec<String>, CdiError> {
        let ids = || request.device_ids.clone();
        if request.driver == "cdi" {
            return match request {
                _ if request.count != 0 => Err(CdiError::Unexpected("count")),
                _ if !request.options.is_empty() => Err(CdiError::Unexpected("options")),
                _ => Ok(ids()),
            };
        }
        let all: Vec<Listed> = self.list();
        let of = |kind: &str| -> Vec<&str> {
            let prefix = format!("{kind}=");
            let own = all.iter().filter(|listed| listed.name.starts_with(&prefix));
            own.map(|listed| listed.name.as_str()).collect()
        };
        let fits = |kind: &&&str| {
            let vendor = kind.split('.').next().unwrap_or_default();
            (request.driver.is_empty() || request.driver == vendor) && !of(kind).is_empty()
        };
        let wants_gpu = request
            .capabilities
            .iter()
            .any(|set| set.iter().any(|capability| capability == "gpu"));
        let kind = GPU_KINDS.iter().find(fits).filter(|_| wants_gpu);
        let Some(kind) = kind else {
            let sets = request
                .capabilities
                .iter()
                .map(|set| format!("[{}]", set.join(" ")));
            return Err(CdiError::Driver {
                driver: request.driver.clone(),
                capabilities: format!("[{}]", sets.collect::<Vec<_>>().join(" ")),
            });
        };
        if request.count != 0 && !request.device_ids.is_empty() {
            return Err(CdiError::CountAndIds);
        }
        let whole = format!("{kind}=all");
        let known = of(kind);
        Ok(match (request.device_ids.is_empty(), request.count) {
            (false, _) => ids().iter().map(|id| format!("{kind}={id}")).collect(),
            (true, ..0) if known.contains(&whole.as_str()) => vec![whole],
            (true, ..0) => known.into_iter().map(str::to_owned).collect(),
            // One more than there is makes a name that nobody describes, and the error names it.
            (true, count) => (0..count.min(
                i64::try_from(known.len())
                    .unwrap_or(i64::MAX)
                    .saturating_add(1),
            ))
                .map(|number| format!("{kind}={number}"))
                .collect(),
        })
    }
}

impl Known {
    fn device(&self) -> &file::Device {
        &self.file.devices[self.index]
    }
}

/// What a container's requests bring.
///
/// # Errors
/// A request names what nobody describes, or asks for what nobody serves.
pub(crate) fn requested(
    directories: &[PathBuf],
    requests: &[DeviceRequest],
) -> Result<Edits, CdiError> {
    if requests.is_empty() {
        return Ok(Edits::default());
    }
    let catalogue = Catalogue::read(directories);
    let mut names = Vec::new();
    for request in requests {
        names.extend(catalogue.named(request)?);
    }
    catalogue.resolve(&names)
}

/// The files of a directory that describe devices, in order.
fn described(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("json" | "yaml")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<file::File, String> {
    // A pipe would hold the start of a container for ever.
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("this is no file".to_owned());
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    file::parse(&text, is_json)
}

#[cfg(test)]
mod tests;
