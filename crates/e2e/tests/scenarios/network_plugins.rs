//! Plugins that make networks and give addresses: a small real one with a bridge and pairs of links,
//! and what happens when it misbehaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hull_testkit::{Client, Scene, until};
use serde_json::{Value, json};

use crate::plugins::hear;

/// What the plugin knows, and does wrong.
#[derive(Default)]
struct State {
    /// Enters the daemon's network namespace: `nsenter --net=…`.
    enter: Vec<String>,
    networks: BTreeSet<String>,
    endpoints: BTreeMap<String, String>,
    /// Addresses given, by pool.
    given: BTreeSet<String>,
    pools: BTreeSet<String>,
    /// The question it refuses, or never answers.
    refuses: Option<String>,
    hangs: Option<String>,
    held: Vec<UnixStream>,
    options: Value,
}

impl State {
    /// Runs `ip` where the daemon is.
    fn ip(&self, line: &str) {
        let mut words = self.enter.iter().map(String::as_str);
        let status = std::process::Command::new(words.next().unwrap())
            .args(words)
            .arg("ip")
            .args(line.split(' '))
            .status();
        assert!(status.unwrap().success(), "ip {line}");
    }

    fn knows_nothing(&self) -> bool {
        self.networks.is_empty() && self.endpoints.is_empty() && self.leases_nothing()
    }

    fn leases_nothing(&self) -> bool {
        self.given.is_empty() && self.pools.is_empty()
    }
}

fn serve(mut stream: UnixStream, state: &Mutex<State>) {
    let Some((question, body)) = hear(&stream) else {
        return;
    };
    let mut state = state.lock().unwrap();
    if state.hangs.as_ref() == Some(&question) {
        return state.held.push(stream);
    }
    let text = if state.refuses.as_ref() == Some(&question) {
        json!({"Err": "not today"}).to_string()
    } else {
        answer(&question, &body, &mut state).to_string()
    };
    let length = text.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
    );
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_default().to_owned()
}

fn answer(question: &str, body: &Value, state: &mut State) -> Value {
    let (network, endpoint) = (text(body, "NetworkID"), text(body, "EndpointID"));
    let bridge = format!("pb{}", network.get(..8).unwrap_or_default());
    let link = format!("pl{}", endpoint.get(..8).unwrap_or_default());
    match question {
        "Plugin.Activate" => json!({"Implements": ["NetworkDriver", "IpamDriver"]}),
        "NetworkDriver.CreateNetwork" => {
            state.options = body["Options"]["com.docker.network.generic"].clone();
            let gateway = text(&body["IPv4Data"][0], "Gateway");
            state.ip(&format!("link add {bridge} type bridge"));
            state.ip(&format!("addr add {gateway} dev {bridge}"));
            state.ip(&format!("link set {bridge} up"));
            state.networks.insert(network);
            json!({})
        }
        "NetworkDriver.DeleteNetwork" => {
            state.ip(&format!("link del {bridge}"));
            state.networks.remove(&network);
            json!({})
        }
        "NetworkDriver.CreateEndpoint" => {
            state
                .endpoints
                .insert(endpoint, text(&body["Interface"], "Address"));
            json!({"Interface": {}})
        }
        "NetworkDriver.Join" => {
            assert!(fs::metadata(text(body, "SandboxKey")).is_ok());
            state.ip(&format!("link add {link} type veth peer name {link}p"));
            state.ip(&format!("link set {link} master {bridge} up"));
            json!({
                "InterfaceName": {"SrcName": format!("{link}p"), "DstPrefix": "plug"},
                "Gateway": "10.77.0.1",
                "StaticRoutes": [{"Destination": "10.78.0.0/16", "RouteType": 0, "NextHop": "10.77.0.1"}],
            })
        }
        "NetworkDriver.Leave" | "NetworkDriver.EndpointOperInfo" => json!({}),
        "NetworkDriver.DeleteEndpoint" => {
            let mut words = state.enter.iter().map(String::as_str);
            // It may have gone with the container.
            let _ = std::process::Command::new(words.next().unwrap())
                .args(words)
                .args(["ip", "link", "del", &link])
                .stderr(std::process::Stdio::null())
                .status();
            state.endpoints.remove(&endpoint);
            json!({})
        }
        _ => give_addresses(question, body, state),
    }
}

fn give_addresses(question: &str, body: &Value, state: &mut State) -> Value {
    match question {
        "IpamDriver.GetDefaultAddressSpaces" => {
            json!({"LocalDefaultAddressSpace": "here", "GlobalDefaultAddressSpace": "there"})
        }
        "IpamDriver.RequestPool" => {
            assert_eq!(text(body, "AddressSpace"), "here");
            state.pools.insert("pool-77".to_owned());
            json!({"PoolID": "pool-77", "Pool": "10.77.0.0/16", "Data": {}})
        }
        "IpamDriver.ReleasePool" => {
            state.pools.remove(&text(body, "PoolID"));
            json!({})
        }
        "IpamDriver.RequestAddress" => {
            let asked = text(body, "Address");
            let kind = text(&body["Options"], "RequestAddressType");
            let address = match (asked.as_str(), kind.as_str()) {
                ("", "com.docker.network.gateway") => "10.77.0.1".to_owned(),
                ("", _) => (42..)
                    .map(|n| format!("10.77.0.{n}"))
                    .find(|a| !state.given.contains(a))
                    .unwrap(),
                (asked, _) => asked.to_owned(),
            };
            if !state.given.insert(address.clone()) {
                return json!({"Err": format!("{address} is given already")});
            }
            json!({"Address": format!("{address}/16")})
        }
        "IpamDriver.ReleaseAddress" => {
            state.given.remove(&text(body, "Address"));
            json!({})
        }
        other => json!({"Err": format!("no such question: {other}")}),
    }
}

/// Plays with a plugin `wire` whose answers are awaited for two seconds.
fn play(client: Client, scenario: impl FnOnce(&mut Scene, &Mutex<State>)) {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("wire.sock")).unwrap();
    let state = Arc::new(Mutex::new(State::default()));
    let shared = Arc::clone(&state);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(stream.unwrap(), &shared));
        }
    });
    let option = format!("--volume-plugin-dir={}", directory.path().display());
    Scene::play_with(client, &[&option, "--volume-plugin-timeout=2"], |scene| {
        let namespace = scene.daemon.namespace().path();
        state.lock().unwrap().enter = [
            "nsenter".to_owned(),
            format!("--net={}", namespace.display()),
        ]
        .into();
        scenario(scene, &state);
    });
}

fn a_plugin_makes_networks_and_gives_addresses(scene: &mut Scene, plugin: &Mutex<State>) {
    scene.ok("network create -d wire --ipam-driver wire -o depth=3 wired");
    assert_eq!(plugin.lock().unwrap().options["depth"], "3");
    assert_eq!(
        scene.ok("network inspect -f '{{.Driver}} {{.IPAM.Driver}} {{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}' wired"),
        "wire wire 10.77.0.0/16 10.77.0.1"
    );
    scene.ok("run -d --name web --network wired busybox sh -c 'hostname > /var/www/index.html; exec httpd -f -h /var/www'");
    assert_eq!(
        scene.inspect("web", "{{.NetworkSettings.Networks.wired.IPAddress}}"),
        "10.77.0.42"
    );
    let routes = scene.ok("exec web ip route");
    assert!(
        routes.contains("default via 10.77.0.1 dev plug0"),
        "{routes}"
    );
    assert!(routes.contains("10.78.0.0/16 via 10.77.0.1"), "{routes}");
    until("a neighbour reaches it by its name", || {
        scene
            .run("run --rm --network wired busybox wget -q -O - http://web/")
            .code
            == 0
    });
    until("the host reaches it", || {
        scene
            .daemon
            .namespace()
            .fetch("http://10.77.0.42/")
            .is_some()
    });
    // What runs goes on without the daemon, and is known to the next.
    scene.daemon.crash();
    assert!(
        scene
            .daemon
            .namespace()
            .fetch("http://10.77.0.42/")
            .is_some()
    );
    scene.ok("run -d --name later --network wired --ip 10.77.1.1 busybox sleep 1000");
    assert_eq!(plugin.lock().unwrap().endpoints.len(), 2);
    // A running container leaves, and comes back.
    scene.ok("network disconnect wired web");
    assert!(!scene.ok("exec web ip -o link").contains("plug0"));
    scene.ok("network connect wired web");
    assert!(scene.ok("exec web ip -o link").contains("plug0"));
    scene.ok("rm -f web later");
    until("the plugin is told", || {
        plugin.lock().unwrap().endpoints.is_empty()
    });
    // One half of it alone: our bridge with its addresses, its bridge with our addresses.
    scene.ok("network rm wired");
    assert!(plugin.lock().unwrap().knows_nothing());
    scene.ok("network create --ipam-driver wire ours");
    assert_eq!(
        scene.ok("run --rm --network ours busybox hostname -i"),
        "10.77.0.42"
    );
    scene.ok("network rm ours");
    assert!(plugin.lock().unwrap().knows_nothing());
}

#[test]
fn a_plugin_makes_networks_and_gives_addresses_docker() {
    play(Client::Docker, a_plugin_makes_networks_and_gives_addresses);
}

#[test]
fn a_plugin_makes_networks_and_gives_addresses_hull() {
    play(Client::Hull, a_plugin_makes_networks_and_gives_addresses);
}

#[test]
fn a_plugin_that_refuses_or_hangs_leaves_nothing_half_made() {
    play(Client::Hull, |scene, plugin| {
        let create = "network create -d wire --ipam-driver wire wired";
        let refuse = |question: &str| plugin.lock().unwrap().refuses = Some(question.to_owned());
        for question in [
            "IpamDriver.RequestPool",
            "IpamDriver.RequestAddress",
            "NetworkDriver.CreateNetwork",
        ] {
            refuse(question);
            let text = scene.fails(1, create);
            assert!(text.contains(&format!("{question}: not today")), "{text}");
            assert!(plugin.lock().unwrap().knows_nothing(), "{question}");
        }
        plugin.lock().unwrap().refuses = None;
        scene.ok(create);
        for question in [
            "IpamDriver.RequestAddress",
            "NetworkDriver.CreateEndpoint",
            "NetworkDriver.Join",
        ] {
            refuse(question);
            let text = scene.fails(125, "run --rm --network wired busybox true");
            assert!(text.contains(&format!("{question}: not today")), "{text}");
            let state = plugin.lock().unwrap();
            assert!(state.endpoints.is_empty(), "{question}");
            assert_eq!(state.given.len(), 1, "{question}: the gateway alone");
        }
        plugin.lock().unwrap().refuses = None;
        plugin.lock().unwrap().hangs = Some("NetworkDriver.Join".to_owned());
        let text = scene.fails(125, "run --rm --network wired busybox true");
        assert!(text.contains("did not answer within 2 s"), "{text}");
        plugin.lock().unwrap().hangs = None;
        assert!(plugin.lock().unwrap().endpoints.is_empty());
        scene.ok("run --rm --network wired busybox true");
        // Nobody is a network's plugin who is none.
        let text = scene.fails(1, "network create -d nobody some");
        assert!(text.contains("could not find plugin nobody"), "{text}");
        scene.ok("network rm wired");
        assert!(plugin.lock().unwrap().knows_nothing());
    });
}
