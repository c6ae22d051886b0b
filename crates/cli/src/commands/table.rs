//! Every command and every group of commands.

use super::{
    Entry, completion, container, entry, image, inspect, login, network, system, unavailable,
    version, volume,
};

/// Where the front page lists a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Management,
    Swarm,
    /// Not on the front page.
    Hidden,
}

/// Commands about one kind of thing.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) section: Section,
}

const fn group(name: &'static str, summary: &'static str, section: Section) -> Group {
    Group {
        name,
        summary,
        section,
    }
}

pub(super) static GROUPS: &[Group] = &[
    group("builder", "Manage builds", Section::Management),
    group("checkpoint", "Manage checkpoints", Section::Management),
    group("compose", "Docker Compose", Section::Hidden),
    group("container", "Manage containers", Section::Management),
    group("context", "Manage contexts", Section::Management),
    group("image", "Manage images", Section::Management),
    group(
        "manifest",
        "Manage Docker image manifests and manifest lists",
        Section::Management,
    ),
    group("network", "Manage networks", Section::Management),
    group("plugin", "Manage plugins", Section::Management),
    group("system", "Manage Docker", Section::Management),
    group(
        "trust",
        "Manage trust on Docker images",
        Section::Management,
    ),
    group("volume", "Manage volumes", Section::Management),
    group("config", "Manage Swarm configs", Section::Swarm),
    group("node", "Manage Swarm nodes", Section::Swarm),
    group("secret", "Manage Swarm secrets", Section::Swarm),
    group("service", "Manage Swarm services", Section::Swarm),
    group("stack", "Manage Swarm stacks", Section::Swarm),
    group("swarm", "Manage Swarm", Section::Swarm),
];

/// What the front page lists first, in this order.
pub(super) const COMMON: [&str; 12] = [
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version",
    "info",
];

pub(super) static COMMANDS: &[Entry] = &[
    entry::<container::run::Run>(),
    entry::<container::exec::Exec>(),
    entry::<container::ls::Ls>(),
    entry::<container::attach::Attach>(),
    entry::<container::commit::Commit>(),
    entry::<container::cp::Cp>(),
    entry::<container::create::Create>(),
    entry::<container::diff::Diff>(),
    entry::<container::export::Export>(),
    entry::<container::inspect::Inspect>(),
    entry::<container::kill::Kill>(),
    entry::<container::logs::Logs>(),
    entry::<container::pause::Pause>(),
    entry::<container::port::Port>(),
    entry::<container::prune::Prune>(),
    entry::<container::rename::Rename>(),
    entry::<container::restart::Restart>(),
    entry::<container::rm::Rm>(),
    entry::<container::start::Start>(),
    entry::<container::stats::Stats>(),
    entry::<container::stop::Stop>(),
    entry::<container::top::Top>(),
    entry::<container::unpause::Unpause>(),
    entry::<container::update::Update>(),
    entry::<container::wait::Wait>(),
    entry::<image::history::History>(),
    entry::<image::import::Import>(),
    entry::<image::inspect::Inspect>(),
    entry::<image::load::Load>(),
    entry::<image::ls::Ls>(),
    entry::<image::prune::Prune>(),
    entry::<image::pull::Pull>(),
    entry::<image::push::Push>(),
    entry::<image::rm::Rm>(),
    entry::<image::save::Save>(),
    entry::<image::tag::Tag>(),
    entry::<system::df::Df>(),
    entry::<system::dial_stdio::DialStdio>(),
    entry::<system::events::Events>(),
    entry::<system::fsck::Fsck>(),
    entry::<system::info::Info>(),
    entry::<system::prune::Prune>(),
    entry::<network::connect::Connect>(),
    entry::<network::create::Create>(),
    entry::<network::disconnect::Disconnect>(),
    entry::<network::inspect::Inspect>(),
    entry::<network::ls::Ls>(),
    entry::<network::prune::Prune>(),
    entry::<network::rm::Rm>(),
    entry::<volume::clone::Clone>(),
    entry::<volume::cp::Cp>(),
    entry::<volume::create::Create>(),
    entry::<volume::export::Export>(),
    entry::<volume::import::Import>(),
    entry::<volume::inspect::Inspect>(),
    entry::<volume::ls::Ls>(),
    entry::<volume::prune::Prune>(),
    entry::<volume::rename::Rename>(),
    entry::<volume::rm::Rm>(),
    entry::<volume::snapshot::Snapshot>(),
    entry::<inspect::Inspect>(),
    entry::<login::Login>(),
    entry::<login::Logout>(),
    entry::<version::Version>(),
    entry::<completion::Completion>(),
];

/// The name under which a command with `names` is called `name`; other forms than the top-level
/// ones are told by their full name.
pub(super) fn known_as(names: &'static [&'static str], name: &str) -> Option<&'static str> {
    let found = names.iter().find(|known| **known == name)?;
    if found.contains(' ') {
        names.first().copied()
    } else {
        Some(found)
    }
}

/// Every name a command answers to, and every group.
pub(super) fn all_names() -> impl Iterator<Item = &'static str> {
    let commands = COMMANDS
        .iter()
        .flat_map(|entry| entry.about.names.iter().copied());
    let groups = GROUPS
        .iter()
        .filter(|group| group.section != Section::Hidden)
        .map(|g| g.name);
    commands.chain(groups).chain(unavailable::names())
}

/// Commands that are there but that no list names, as with Docker.
const UNLISTED: [&str; 2] = ["completion", "dial-stdio"];

/// Name and summary of the commands below a group, or of the top-level ones for no group.
pub(super) fn listed(group: &str) -> Vec<(&'static str, &'static str)> {
    let available = COMMANDS
        .iter()
        .map(|entry| (entry.about.names, entry.about.summary));
    let mut list: Vec<_> = available
        .chain(unavailable::listed())
        .filter_map(|(names, summary)| own_name(names, group).map(|name| (name, summary)))
        .filter(|(name, _)| !UNLISTED.contains(name))
        .collect();
    list.sort_unstable();
    list
}

fn own_name(names: &'static [&'static str], group: &str) -> Option<&'static str> {
    if group.is_empty() {
        return names.iter().copied().find(|name| !name.contains(' '));
    }
    let (first, own) = names.first()?.split_once(' ')?;
    (first == group).then_some(own)
}
