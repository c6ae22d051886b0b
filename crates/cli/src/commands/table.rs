//! Every command and every group of commands.

use super::{
    Entry, builder, completion, compose, container, context, entry, explain, image, inspect, login,
    manifest, network, plugin, reference, registry, system, unavailable, version, volume,
};

use crate::context::Program;

/// Where the front page lists a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Management,
    /// The same, where Docker has nothing of the kind.
    Own,
    Swarm,
    /// Not on the front page.
    Hidden,
}

/// Commands about one kind of thing.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) section: Section,
    /// What the usage line of a mistake says after the name.
    pub(super) usage: &'static str,
}

const fn group(name: &'static str, summary: &'static str, section: Section) -> Group {
    Group {
        name,
        summary,
        section,
        usage: "",
    }
}

impl Group {
    const fn usage(mut self, usage: &'static str) -> Self {
        self.usage = usage;
        self
    }
}

#[rustfmt::skip]
pub(super) static GROUPS: &[Group] = &[
    group("builder", "Manage builds", Section::Management),
    group("checkpoint", "Manage checkpoints", Section::Hidden),
    group("completion", "Generate the autocompletion script for docker for the specified shell.\nSee each sub-command's help for details on how to use the generated script.", Section::Hidden),
    group("compose", "Define and run applications of several containers", Section::Own),
    group("container", "Manage containers", Section::Management),
    group("context", "Manage contexts", Section::Management),
    group("image", "Manage images", Section::Management),
    group("manifest", "Manage Docker image manifests and manifest lists", Section::Management).usage("COMMAND"),
    group("network", "Manage networks", Section::Management),
    group("plugin", "Manage plugins", Section::Management),
    group("registry", "Run a registry", Section::Own),
    group("system", "Manage Docker", Section::Management),
    group("trust", "Manage trust on Docker images", Section::Management),
    group("trust key", "Manage keys for signing Docker images", Section::Hidden),
    group("trust signer", "Manage entities who can sign Docker images", Section::Hidden),
    group("volume", "Manage volumes", Section::Management).usage("COMMAND"),
    group("config", "Manage Swarm configs", Section::Hidden),
    group("node", "Manage Swarm nodes", Section::Hidden),
    group("secret", "Manage Swarm secrets", Section::Hidden),
    group("service", "Manage Swarm services", Section::Hidden),
    group("stack", "Manage Swarm stacks", Section::Hidden).usage("[OPTIONS]"),
    group("swarm", "Manage Swarm", Section::Swarm),
];

/// The group of this name.
pub(super) fn group_called(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

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
    entry::<container::clone::Clone>(),
    entry::<container::commit::Commit>(),
    entry::<container::cp::Cp>(),
    entry::<container::create::Create>(),
    entry::<container::debug::Debug>(),
    entry::<container::diff::Diff>(),
    entry::<container::export::Export>(),
    entry::<container::inspect::Inspect>(),
    entry::<container::kill::Kill>(),
    entry::<container::logs::Logs>(),
    entry::<container::pause::Pause>(),
    entry::<container::port::Port>(),
    entry::<container::port_audit::PortAudit>(),
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
    entry::<builder::prune::Prune>(),
    entry::<image::build::Build>(),
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
    entry::<manifest::annotate::Annotate>(),
    entry::<manifest::create::Create>(),
    entry::<manifest::inspect::Inspect>(),
    entry::<manifest::push::Push>(),
    entry::<manifest::rm::Rm>(),
    entry::<system::df::Df>(),
    entry::<system::dial_stdio::DialStdio>(),
    entry::<system::events::Events>(),
    entry::<system::fsck::Fsck>(),
    entry::<system::info::Info>(),
    entry::<system::prune::Prune>(),
    entry::<registry::search::Search>(),
    entry::<registry::serve::Serve>(),
    entry::<network::connect::Connect>(),
    entry::<network::create::Create>(),
    entry::<network::disconnect::Disconnect>(),
    entry::<network::inspect::Inspect>(),
    entry::<network::ls::Ls>(),
    entry::<network::prune::Prune>(),
    entry::<network::rm::Rm>(),
    entry::<plugin::ls::Ls>(),
    entry::<volume::clone::Clone>(),
    entry::<volume::cp::Cp>(),
    entry::<volume::create::Create>(),
    entry::<volume::export::Export>(),
    entry::<volume::import::Import>(),
    entry::<volume::inspect::Inspect>(),
    entry::<volume::ls::Ls>(),
    entry::<volume::prune::Prune>(),
    entry::<volume::pull::Pull>(),
    entry::<volume::push::Push>(),
    entry::<volume::rename::Rename>(),
    entry::<volume::rm::Rm>(),
    entry::<volume::snapshot::Snapshot>(),
    entry::<context::create::Create>(),
    entry::<context::export::Export>(),
    entry::<context::import::Import>(),
    entry::<context::inspect::Inspect>(),
    entry::<context::ls::Ls>(),
    entry::<context::rm::Rm>(),
    entry::<context::show::Show>(),
    entry::<context::update::Update>(),
    entry::<context::r#use::Use>(),
    entry::<explain::Explain>(),
    entry::<compose::attach::Attach>(),
    entry::<compose::attach::Commit>(),
    entry::<compose::attach::Export>(),
    entry::<compose::build::Build>(),
    entry::<compose::config::Config>(),
    entry::<compose::cp::Cp>(),
    entry::<compose::create::Create>(),
    entry::<compose::diff::Diff>(),
    entry::<compose::down::Down>(),
    entry::<compose::events::Events>(),
    entry::<compose::exec::Exec>(),
    entry::<compose::from::From>(),
    entry::<compose::images::Images>(),
    entry::<compose::lifecycle::Kill>(),
    entry::<compose::lifecycle::Pause>(),
    entry::<compose::lifecycle::Restart>(),
    entry::<compose::lifecycle::Rm>(),
    entry::<compose::lifecycle::Start>(),
    entry::<compose::lifecycle::Stop>(),
    entry::<compose::lifecycle::Unpause>(),
    entry::<compose::logs::Logs>(),
    entry::<compose::ls::Ls>(),
    entry::<compose::port::Port>(),
    entry::<compose::ps::Ps>(),
    entry::<compose::publish::Publish>(),
    entry::<compose::pull::Pull>(),
    entry::<compose::pull::Push>(),
    entry::<compose::run::Run>(),
    entry::<compose::scale::Scale>(),
    entry::<compose::stats::Stats>(),
    entry::<compose::top::Top>(),
    entry::<compose::up::Up>(),
    entry::<compose::version::Version>(),
    entry::<compose::volumes::Volumes>(),
    entry::<compose::wait::Wait>(),
    entry::<compose::watch::Watch>(),
    entry::<inspect::Inspect>(),
    entry::<login::Login>(),
    entry::<login::Logout>(),
    entry::<version::Version>(),
    entry::<completion::scripts::Script<0>>(),
    entry::<completion::scripts::Script<1>>(),
    entry::<completion::scripts::Script<2>>(),
    entry::<completion::scripts::Script<3>>(),
    entry::<reference::Reference>(),
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

/// Commands that are there but that no list names, as with Docker: for scripts, or of no use outside a cluster.
#[rustfmt::skip]
const UNLISTED: [&str; 8] = [
    "system dial-stdio", "volume update", "swarm ca", "swarm join-token", "swarm leave",
    "swarm unlock", "swarm unlock-key", "swarm update",
];

/// Commands that Docker does not have: its pages do not list them.
#[rustfmt::skip]
const OWN: [&str; 13] = [
    "explain", "reference", "debug", "container clone", "system fsck", "volume rename", "volume clone", "volume snapshot", "volume export",
    "volume import", "volume cp", "volume push", "volume pull",
];

/// Whether a word is a command or a group that Docker's own program has, which no plugin may be called.
pub(crate) fn is_dockers(word: &str) -> bool {
    let is_group = group_called(word).is_some_and(|group| group.section != Section::Own);
    let mut commands = COMMANDS
        .iter()
        .filter(|entry| !OWN.iter().any(|own| entry.about.names.contains(own)));
    is_group || commands.any(|entry| entry.about.names.contains(&word))
}

/// Name and summary of the commands below a group, or of the top-level ones for no group.
pub(super) fn listed(program: Program, group: &str) -> Vec<(&'static str, &'static str)> {
    let available = COMMANDS
        .iter()
        .map(|entry| (entry.about.names, entry.about.summary));
    let mut list: Vec<_> = available
        .chain(unavailable::listed())
        .filter(|(names, _)| !names.iter().any(|name| UNLISTED.contains(name)))
        .filter(|(names, _)| program == Program::Hull || !OWN.iter().any(|own| names.contains(own)))
        .filter_map(|(names, summary)| own_name(names, group).map(|name| (name, summary)))
        .collect();
    list.sort_unstable();
    list
}

/// The groups below a group.
pub(super) fn subgroups(group: &str) -> Vec<(&'static str, &'static str)> {
    let own = |known: &Group| below(known.name, group).map(|name| (name, known.summary));
    GROUPS.iter().filter_map(own).collect()
}

fn own_name(names: &'static [&'static str], group: &str) -> Option<&'static str> {
    if group.is_empty() {
        return names.iter().copied().find(|name| !name.contains(' '));
    }
    names.iter().find_map(|name| below(name, group))
}

/// The last word of a name that is this group's and one more.
fn below(name: &'static str, group: &str) -> Option<&'static str> {
    let own = name.strip_prefix(group)?.strip_prefix(' ')?;
    (!own.contains(' ')).then_some(own)
}
