//! Lines to learn a command from: what they do, and what to type. Help pages, man pages and the reference show them.

/// An example: what it does, and the line without the program's name.
type Example = (&'static str, &'static str);

/// Examples by the full name of their command.
#[rustfmt::skip]
const EXAMPLES: &[(&str, &[Example])] = &[
    ("container run", &[
        ("A shell in a fresh container that is gone afterwards", "run --rm -it debian bash"),
        ("A web server in the background, its port 80 published as 8080", "run -d --name web -p 8080:80 nginx"),
        ("With a directory of the host, a variable and limits", "run --rm -v \"$PWD\":/src -e MODE=test --memory 512m --cpus 2 builder make"),
        ("Like another container, with one thing changed", "run -d --like web --name web2 -p 8081:80"),
        ("As a Compose file instead of a container", "run -d -p 8080:80 --compose nginx"),
    ]),
    ("container exec", &[
        ("A shell in a running container", "exec -it web sh"),
        ("One command, as another user", "exec -u nobody web id"),
    ]),
    ("container ls", &[
        ("What runs, and with -a what ran", "ps -a"),
        ("Names and states of what is unhealthy", "ps --filter health=unhealthy --format '{{.Names}}: {{.Status}}'"),
        ("For programs: one JSON object a line", "ps -a --format json"),
    ]),
    ("container logs", &[
        ("The last 100 lines, and what comes", "logs -n 100 -f web"),
        ("Of the last ten minutes, with times", "logs --since 10m -t web"),
    ]),
    ("container cp", &[
        ("Out of a container, and into one", "cp web:/etc/nginx/nginx.conf ."),
        ("A directory, as a tar stream", "cp web:/var/log - | tar t"),
    ]),
    ("container stop", &[("Giving it a minute to finish", "stop -t 60 web")]),
    ("container rm", &[("Running or not, with its anonymous volumes", "rm -fv web")]),
    ("container prune", &[("What ended more than a day ago", "container prune --filter until=24h")]),
    ("container stats", &[("Once, of all", "stats --no-stream")]),
    ("container update", &[("Another memory limit, while it runs", "update --memory 1g --memory-swap 1g web")]),
    ("container wait", &[("The exit code, when it comes", "wait job")]),
    ("container commit", &[("An image of what a container has become", "commit web web:patched")]),
    ("container clone", &[("A copy with another port", "container clone web web2 -p 8081:80")]),
    ("explain", &[("Why it ended", "explain web")]),
    ("debug", &[
        ("A shell with tools beside a container that has none", "debug web"),
        ("One command, with the tools of another image", "debug --image debian web ls -l /proc/1/root"),
    ]),
    ("container inspect", &[("One field", "container inspect -f '{{.NetworkSettings.IPAddress}}' web")]),
    ("top", &[("All containers, live", "top")]),
    ("image build", &[
        ("From the Dockerfile of this directory", "build -t app ."),
        ("One stage of another file, with an argument", "build -f build/Dockerfile --target test --build-arg VERSION=2 ."),
    ]),
    ("image ls", &[("By name, and what has none", "images --filter dangling=true")]),
    ("image pull", &[("By tag, or by what it contains", "pull debian:12")]),
    ("image push", &[("To a registry of one's own", "push localhost:5000/app")]),
    ("image save", &[("Into a file, to load elsewhere", "save -o app.tar app && hull load -i app.tar")]),
    ("image prune", &[("All that no container uses", "image prune -a")]),
    ("image tag", &[("Another name for the same image", "tag app localhost:5000/app:1")]),
    ("network create", &[("Containers on it find each other by name", "network create back && hull run -d --network back --name db postgres")]),
    ("volume push", &[("To another machine, which runs: volume pull registry.example/data", "volume push data registry.example/data")]),
    ("volume create", &[("Kept apart from the containers that use it", "volume create data && hull run -v data:/data app")]),
    ("system df", &[("What fills the disk, object by object", "system df -v")]),
    ("system prune", &[("All that is unused, volumes too", "system prune -a --volumes")]),
    ("system events", &[("What happens to one container", "events --filter container=web")]),
    ("context create", &[("A daemon on another host, from now on", "context create far --docker host=ssh://me@far.example && hull context use far")]),
    ("inspect", &[("Several fields as JSON", "inspect -f '{{json .State}}' web")]),
    ("login", &[("With a token from a file", "login -u me --password-stdin registry.example < token")]),
    ("version", &[("For scripts", "version -f '{{.Server.Version}}'")]),
    ("completion bash", &[("For this shell", ". <(hull completion bash)")]),
];

/// The examples of a command.
pub(super) fn of(names: &[&str]) -> &'static [Example] {
    let found = EXAMPLES.iter().find(|(name, _)| names.contains(name));
    found.map_or(&[], |(_, examples)| examples)
}

/// The part of a help page.
pub(super) fn section(names: &[&str]) -> String {
    let examples = of(names);
    if examples.is_empty() {
        return String::new();
    }
    let lines = examples.iter().map(|(what, line)| {
        let line = match line.starts_with('.') {
            true => (*line).to_owned(),
            false => format!("hull {line}"),
        };
        format!("  {what}:\n      {line}\n")
    });
    format!("\nExamples:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::COMMANDS;

    #[test]
    fn what_is_shown_is_a_command() {
        for (name, _) in EXAMPLES {
            let exists = COMMANDS
                .iter()
                .any(|entry| entry.about.names.contains(name));
            let comes = crate::commands::unavailable::find(name).is_some();
            assert!(exists || comes, "{name}");
        }
    }
}
