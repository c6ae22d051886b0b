//! `image ls --tree`: each image with its platforms below it.

use hull_api::types::{ImageManifest, ImageSummary};

use super::ls::names;
use crate::format::output::short_id;
use crate::format::size;

/// A line of the tree.
struct Line {
    name: String,
    id: String,
    disk_usage: String,
    content: String,
    extra: &'static str,
}

const HEADING: [&str; 5] = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"];
/// Between two columns: Docker's, and what a narrow terminal has room for.
const GAPS: [usize; 3] = [3, 2, 1];
/// What stays of a name.
const NAME_MIN: usize = 16;

/// The tree as text, in so many columns if it must fit. Images must have been asked for with their manifests.
pub(crate) fn tree(images: &[ImageSummary], no_trunc: bool, columns: Option<usize>) -> String {
    let mut lines = lines(images, no_trunc);
    let Some(columns) = columns else {
        return laid_out(&lines, GAPS[0]);
    };
    for gap in GAPS {
        let text = laid_out(&lines, gap);
        if width(&text) <= columns {
            return text;
        }
    }
    // The end of a name says more than its beginning.
    let excess = width(&laid_out(&lines, 1)).saturating_sub(columns);
    let longest = lines.iter().map(|line| line.name.chars().count()).max();
    let most = longest.unwrap_or(0).saturating_sub(excess).max(NAME_MIN);
    for line in &mut lines {
        let length = line.name.chars().count();
        if length > most {
            let kept: String = line.name.chars().skip(length + 1 - most).collect();
            line.name = format!("…{kept}");
        }
    }
    laid_out(&lines, 1)
}

fn width(text: &str) -> usize {
    let widths = text.lines().map(|line| line.chars().count());
    widths.max().unwrap_or(0)
}

fn lines(images: &[ImageSummary], no_trunc: bool) -> Vec<Line> {
    let mut lines = vec![Line::heading()];
    for image in images {
        let members: Vec<&ImageManifest> = image.manifests.iter().flatten().collect();
        lines.extend(image_lines(image, &members, no_trunc));
        let platforms: Vec<&&ImageManifest> = members
            .iter()
            .filter(|member| member.image_data.is_some())
            .collect();
        for (at, member) in platforms.iter().enumerate() {
            let branch = if at + 1 == platforms.len() {
                "└─"
            } else {
                "├─"
            };
            lines.push(member_line(member, branch, no_trunc));
        }
    }
    lines
}

fn laid_out(lines: &[Line], gap: usize) -> String {
    let width = |column: fn(&Line) -> &str| {
        let widths = lines.iter().map(|line| column(line).chars().count());
        widths.max().unwrap_or(0)
    };
    let (name, id) = (width(|l| &l.name), width(|l| &l.id));
    let (usage, content) = (width(|l| &l.disk_usage), width(|l| &l.content));
    let mut text = String::new();
    for line in lines {
        let gap = " ".repeat(gap);
        let row = format!(
            "{:name$}{gap}{:id$}{gap}{:>usage$}{gap}{:>content$}{gap}{}",
            line.name, line.id, line.disk_usage, line.content, line.extra
        );
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// A line for each name; the first one tells the figures.
fn image_lines(image: &ImageSummary, members: &[&ImageManifest], no_trunc: bool) -> Vec<Line> {
    let content: i64 = members.iter().map(|member| member.size.content).sum();
    let mut lines: Vec<Line> = names(image, false)
        .iter()
        .map(|name| match name.tag.as_str() {
            _ if name.repository == "<none>" => "<untagged>".to_owned(),
            "<none>" => name.repository.clone(),
            tag => format!("{}:{tag}", name.repository),
        })
        .map(|name| Line {
            name,
            id: String::new(),
            disk_usage: String::new(),
            content: String::new(),
            extra: "",
        })
        .collect();
    if let Some(first) = lines.first_mut() {
        first.id = shown_id(&image.id, no_trunc);
        first.disk_usage = human(image.size);
        first.content = human(content);
        first.extra = if image.containers > 0 { "U" } else { "" };
    }
    lines
}

fn member_line(member: &ImageManifest, branch: &str, no_trunc: bool) -> Line {
    let data = member.image_data.as_ref();
    let platform = data
        .map(|data| &data.platform)
        .map_or_else(String::new, |platform| {
            let parts = [&platform.os, &platform.architecture, &platform.variant];
            let parts: Vec<&str> = parts
                .into_iter()
                .map(String::as_str)
                .filter(|part| !part.is_empty())
                .collect();
            parts.join("/")
        });
    let is_used = data.is_some_and(|data| !data.containers.is_empty());
    Line {
        name: format!("{branch} {platform}"),
        id: shown_id(&member.id, no_trunc),
        disk_usage: human(member.size.total),
        content: human(member.size.content),
        extra: if is_used { "U" } else { "" },
    }
}

impl Line {
    fn heading() -> Self {
        let [name, id, disk_usage, content, extra] = HEADING;
        Self {
            name: name.to_owned(),
            id: id.to_owned(),
            disk_usage: disk_usage.to_owned(),
            content: content.to_owned(),
            extra,
        }
    }
}

fn shown_id(id: &str, no_trunc: bool) -> String {
    if no_trunc { id } else { short_id(id) }.to_owned()
}

fn human(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    size::decimal(bytes as f64)
}

#[cfg(test)]
mod tests {
    use hull_api::types::{ImageData, ImageManifestSize, Platform};

    use super::*;

    fn member(architecture: &str, total: i64, users: &[&str]) -> ImageManifest {
        ImageManifest {
            id: format!("sha256:{}", "b".repeat(64)),
            size: ImageManifestSize {
                content: total / 2,
                total,
            },
            image_data: Some(ImageData {
                platform: Platform {
                    os: "linux".to_owned(),
                    architecture: architecture.to_owned(),
                    ..Platform::default()
                },
                containers: users.iter().map(|&id| id.to_owned()).collect(),
                ..ImageData::default()
            }),
            ..ImageManifest::default()
        }
    }

    #[test]
    fn platforms_hang_below_their_image() {
        let image = ImageSummary {
            id: format!("sha256:{}", "a".repeat(64)),
            repo_tags: vec!["app:1".to_owned(), "app:latest".to_owned()],
            size: 3_000_000,
            containers: 1,
            manifests: Some(vec![
                member("amd64", 3_000_000, &["box"]),
                member("arm64", 0, &[]),
                ImageManifest::default(),
            ]),
            ..ImageSummary::default()
        };
        assert_eq!(
            tree(&[image, ImageSummary::default()], false, None),
            "\
IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA
app:1            aaaaaaaaaaaa          3MB          1.5MB   U
app:latest
├─ linux/amd64   bbbbbbbbbbbb          3MB          1.5MB   U
└─ linux/arm64   bbbbbbbbbbbb           0B             0B
<untagged>                              0B             0B
"
        );
        let long = ImageSummary {
            repo_tags: vec!["registry.example.com:5000/team/some/application:1.2.3".to_owned()],
            ..ImageSummary::default()
        };
        let narrow = tree(&[long], false, Some(60));
        assert_eq!(width(&narrow), 60, "{narrow}");
        assert!(
            narrow.contains("…") && narrow.contains("application:1.2.3 "),
            "{narrow}"
        );
    }
}
