//! What a prune would take, told before it asks. Pure but for the one question to the daemon.

use hull_api::types::{DiskUsage, ImageSummary, VolumeUsage};

use super::Call;
use super::container::prune::reclaimed;
use crate::connection::connect;
use crate::error::Result;
use crate::format::size;
use crate::ui;

/// Names that are told; of more, how many.
const NAMES_MAX: usize = 6;
/// Tells a volume that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What is to go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stakes {
    pub(super) containers: bool,
    pub(super) images: Extent,
    pub(super) volumes: Extent,
    /// Whether things may go that are not counted here: networks, the build cache.
    pub(super) more: bool,
}

/// Whether anything is there to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    Something,
    /// It has been said that there is nothing.
    Nothing,
}

/// How much of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Extent {
    #[default]
    Nothing,
    /// What has no name.
    Nameless,
    /// All that is unused.
    Unused,
}

impl Extent {
    /// All with `--all`, else what has no name.
    pub(super) fn of(all: bool) -> Self {
        match all {
            true => Self::Unused,
            false => Self::Nameless,
        }
    }
}

/// Says what would go and how much that is. Docker's client does not, so neither do we under its name; and a daemon that
/// does not know keeps nobody from going on.
///
/// # Errors
/// When the output cannot be written.
pub(super) async fn tell(call: &Call, stakes: Stakes, is_filtered: bool) -> Result<Outlook> {
    if call.globals.is_docker() {
        return Ok(Outlook::Something);
    }
    let Ok(client) = connect(&call.globals).await else {
        return Ok(Outlook::Something);
    };
    let Ok(usage) = client
        .disk_usage(&["container", "image", "volume"], false)
        .await
    else {
        return Ok(Outlook::Something);
    };
    let lines = lines(&usage, stakes);
    let head = match (lines.is_empty(), is_filtered) {
        (true, _) if stakes.more => return Ok(Outlook::Something),
        (true, _) => {
            ui::line("There is nothing of that kind now.")?;
            ui::line(&reclaimed(0))?;
            return Ok(Outlook::Nothing);
        }
        (false, true) => "Now that would be, less what the filters spare:",
        (false, false) => "Now that would be:",
    };
    ui::out(&format!("{head}\n{}\n", lines.concat()))?;
    Ok(Outlook::Something)
}

fn lines(usage: &DiskUsage, stakes: Stakes) -> Vec<String> {
    let containers = stakes.containers.then(|| containers(usage)).flatten();
    let parts = [
        containers,
        images(usage, stakes.images),
        volumes(usage, stakes.volumes),
    ];
    parts.into_iter().flatten().collect()
}

fn containers(usage: &DiskUsage) -> Option<String> {
    let ended = ["exited", "created", "dead"];
    let all = usage.containers.iter().flatten();
    let stopped: Vec<_> = all
        .filter(|container| ended.contains(&container.state.as_str()))
        .collect();
    let name = |name: &String| name.trim_start_matches('/').to_owned();
    let names = stopped
        .iter()
        .filter_map(|container| container.names.first().map(name))
        .collect();
    let bytes = stopped
        .iter()
        .filter_map(|container| container.size_rw)
        .sum();
    line("containers", names, bytes)
}

fn images(usage: &DiskUsage, extent: Extent) -> Option<String> {
    let unused = usage
        .images
        .iter()
        .flatten()
        .filter(|image| image.containers <= 0);
    let images: Vec<&ImageSummary> = unused
        .filter(|image| match extent {
            Extent::Nothing => false,
            Extent::Nameless => is_nameless(image),
            Extent::Unused => true,
        })
        .collect();
    let name = |image: &&ImageSummary| image.repo_tags.first().unwrap_or(&image.id).clone();
    let own = |image: &&ImageSummary| image.size - image.shared_size.max(0);
    line(
        "images",
        images.iter().map(name).collect(),
        images.iter().map(own).sum(),
    )
}

fn volumes(usage: &DiskUsage, extent: Extent) -> Option<String> {
    let is_unused = |usage: &VolumeUsage| usage.ref_count == 0;
    let volumes: Vec<_> = usage
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.usage_data.as_ref().is_some_and(is_unused))
        // The others lie elsewhere, and stay.
        .filter(|volume| {
            volume.driver == "local" && volume.options.as_ref().is_none_or(|own| own.is_empty())
        })
        .filter(|volume| match extent {
            Extent::Nothing => false,
            Extent::Nameless => volume
                .labels
                .iter()
                .flatten()
                .any(|(key, _)| key == ANONYMOUS),
            Extent::Unused => true,
        })
        .collect();
    let bytes = volumes
        .iter()
        .filter_map(|volume| Some(volume.usage_data.as_ref()?.size))
        .sum();
    line(
        "volumes",
        volumes.iter().map(|volume| volume.name.clone()).collect(),
        bytes,
    )
}

fn is_nameless(image: &ImageSummary) -> bool {
    image.repo_tags.iter().all(|tag| tag == "<none>:<none>")
}

fn line(what: &str, names: Vec<String>, bytes: i64) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let shown = names
        .iter()
        .take(NAMES_MAX)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let size = size::decimal(bytes.max(0) as f64);
    Some(format!(
        "  - {} {what}, {size}: {shown}{more}\n",
        names.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_go_is_counted() {
        let usage: DiskUsage = serde_json::from_value(serde_json::json!({
            "Containers": [
                {"Id": "1", "Names": ["/up"], "State": "running", "SizeRw": 5},
                {"Id": "2", "Names": ["/gone"], "State": "exited", "SizeRw": 2000},
            ],
            "Images": [
                {"Id": "sha256:a", "RepoTags": ["x:1"], "Containers": 1, "Size": 9, "SharedSize": 0},
                {"Id": "sha256:b", "RepoTags": ["y:1"], "Containers": 0, "Size": 3000, "SharedSize": 1000},
                {"Id": "sha256:c", "RepoTags": [], "Containers": 0, "Size": 7000, "SharedSize": 0},
            ],
        }))
        .unwrap();
        let stakes = Stakes {
            containers: true,
            images: Extent::Nameless,
            ..Stakes::default()
        };
        assert_eq!(
            lines(&usage, stakes),
            [
                "  - 1 containers, 2kB: gone\n",
                "  - 1 images, 7kB: sha256:c\n"
            ]
        );
        let all = Stakes {
            images: Extent::Unused,
            ..Stakes::default()
        };
        assert_eq!(lines(&usage, all), ["  - 2 images, 9kB: y:1, sha256:c\n"]);
    }
}
