//! `help`: a guide by task, and pages on what no single command explains.

use crate::context::Program;

/// The page of `help` itself.
pub(super) fn own_page(program: Program) -> String {
    let name = program.name();
    format!("Usage:  {name} help [command]\n\nHelp about the command\n")
}

/// The guide. A lone `@` is the program's name; in an address it is what it is.
pub(super) fn text(program: Program) -> String {
    GUIDE.replace("@ ", &format!("{} ", program.name()))
}

/// The subjects there are pages on.
pub(super) const TOPICS: [(&str, &str); 5] = [
    ("exit-codes", "What exit codes say"),
    ("format", "Templates of --format"),
    ("hosts", "Which daemon is meant"),
    ("json", "What --json prints"),
    ("settings", "The settings and where they lie"),
];

/// A page on a subject.
pub(super) fn topic(word: &str) -> Option<String> {
    let page = match word {
        "json" => return Some(super::json::document()),
        "format" => FORMAT,
        "hosts" => HOSTS,
        "settings" => SETTINGS,
        "exit-codes" => EXIT_CODES,
        _ => return None,
    };
    Some(page.to_owned())
}

const GUIDE: &str = "\
Hull runs containers: programs with a file system, a network and limits of their own.

Run something
  @ run --rm -it debian bash            a shell in a fresh container, gone afterwards
  @ run -d --name web -p 8080:80 nginx  a service in the background, its port published
  @ run -v \"$PWD\":/src -w /src gcc make  with a directory of the host

See what there is
  @ ps -a                               containers, running or not
  @ logs -f web                         what one says
  @ top                                 all of them, live
  @ images; @ volume ls; @ network ls

Find out what is wrong
  @ explain web                         why it ended: code, signal, memory, health, last lines
  @ debug web                           a shell with tools, also where the image has none
  @ exec -it web sh                     a shell with what the image has
  @ inspect web                         everything that is known of it

Change it
  @ update --memory 1g web              limits, while it runs
  @ container clone web --name web2 -p 8081:80    a copy with something changed
  @ stop web; @ rm web

Make and move images
  @ build -t app .                      from a Dockerfile
  @ pull debian:12; @ push localhost:5000/app
  @ save app | ssh far hull load        without a registry

Several containers at once
  @ compose up -d                       from compose.yaml
  @ network create back                 containers on it find each other by name

Clean up
  @ system df                           what fills the disk
  @ system prune                        says what would go, and asks

Other daemons
  @ -H ssh://me@far ps                  on another host
  @ context create far --docker host=ssh://me@far; @ context use far

More:  @ COMMAND --help,  @ --help for the list of all commands, and
       @ help format | hosts | settings | json | exit-codes
";

const FORMAT: &str = "\
--format takes 'json', 'table', 'table TEMPLATE' or a template of Go's text/template:

  {{.Names}}                    a field; `--format json` shows which there are
  {{json .}}                    as JSON
  {{if eq .State \"running\"}}up{{else}}down{{end}}
  {{range .Config.Env}}{{println .}}{{end}}
  {{with .Health}}{{.Status}}{{end}}
  {{$n := .Names}}{{printf \"%-20s %s\" $n .Status}}
  {{index .Config.Labels \"a.b\"}}, {{len .Mounts}}, {{slice .ID 0 4}}

Functions of Docker's: json, split, join, lower, upper, title, pad, truncate, println.
Comparisons: eq ne lt le gt ge; and, or, not. `|` hands a value on: {{.Names | upper}}.
In a table, \\t separates columns. A mistake is told with line and column (counted from 0, after the word table;
\\t is one character).

Defaults of one's own stand in the settings: psFormat, imagesFormat, networksFormat, volumesFormat,
statsFormat, pluginsFormat.
";

const HOSTS: &str = "\
Which daemon is meant, the first of these that is given:

  -H ADDRESS                    --host
  -c NAME                       --context
  $DOCKER_HOST                  an address
  $DOCKER_CONTEXT               a name
  hull context use NAME         kept in the settings
  /run/hull/hull.sock, then /var/run/docker.sock

Addresses: unix:///path, tcp://host:port, ssh://[user@]host[:port][/path/of/socket], fd://number.

tcp:// is encrypted with --tlsverify or $DOCKER_TLS_VERIFY (and with --tls, without asking who answers); ca.pem,
cert.pem and key.pem are looked for in $DOCKER_CERT_PATH, or beside the settings. ssh:// runs the system's ssh, with
its own settings and keys, and `hull system dial-stdio` there.
$DOCKER_API_VERSION fixes the version of the API, and refuses flags that it does not have. $DOCKER_CUSTOM_HEADERS
(name=value,…) is sent with each request, instead of those of the settings. -D tells which daemon was asked.
";

const SETTINGS: &str = "\
Settings lie in ~/.docker/config.json ($DOCKER_CONFIG or --config: another directory), shared with Docker's client.
Keys that are not known are kept. What is honoured:

  auths, credsStore, credHelpers         credentials of registries
  HttpHeaders                            sent with each request
  proxies                                told to containers, by daemon or for all (\"default\")
  psFormat, imagesFormat, …              default formats of lists
  detachKeys                             keys that leave a container running
  currentContext                         see `hull help hosts`
  aliases                                {\"builder\": \"buildx\"}
  cliPluginsExtraDirs                    where else plugins lie

Contexts lie in ~/.docker/contexts. Plugins (docker-NAME) lie in ~/.docker/cli-plugins,
/usr/local/lib/docker/cli-plugins, /usr/libexec/docker/cli-plugins; each adds the command NAME.
NO_COLOR keeps colours away.
";

const EXIT_CODES: &str = "\
  0    done
  1    the command failed; one line says why
  125  `run`: the container could not be made or started; elsewhere: the command line cannot be understood
  126  `run`, `exec`: what was to run cannot be executed
  127  `run`, `exec`: what was to run is not there
  255  `exec`: the daemon went away, and nobody knows how the command ended
  130, 143, …   128 and the signal that ended it; 141: who read the output has gone
Otherwise `run`, `exec`, `start -a` exit with the container's own code.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_the_guide_stay_as_they_are() {
        let text = text(Program::called("hull"));
        assert!(text.contains("hull -H ssh://me@far ps"));
        assert!(
            text.contains(
                "hull context create far --docker host=ssh://me@far; hull context use far"
            )
        );
    }
}
