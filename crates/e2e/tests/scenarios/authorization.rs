//! Authorization plugins: a small real one that forbids some things, and what happens when it is gone.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use hull_testkit::{Client, Daemon, Scene};
use serde_json::{Value, json};

use crate::plugins::hear;

/// What the plugin was asked.
#[derive(Default)]
struct Warden {
    seen: Mutex<Vec<(String, Value)>>,
    /// It allows everything.
    sleeps: AtomicBool,
}

fn decoded(body: &Value, member: &str) -> Value {
    let text = body[member].as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Nobody removes, nobody is privileged, and nobody hears of a container called `secret`.
fn judge(question: &str, body: &Value) -> Value {
    let refuse = |why: &str| json!({"Allow": false, "Msg": why});
    let path = body["RequestURI"].as_str().unwrap_or_default();
    match question {
        "Plugin.Activate" => json!({"Implements": ["authz"]}),
        "AuthZPlugin.AuthZReq" if body["RequestMethod"] == "DELETE" => refuse("nothing is removed"),
        "AuthZPlugin.AuthZReq"
            if decoded(body, "RequestBody")["HostConfig"]["Privileged"] == true =>
        {
            refuse("nobody is privileged")
        }
        "AuthZPlugin.AuthZReq" if path.contains("/rename") => json!({"Err": "no opinion"}),
        "AuthZPlugin.AuthZRes" if decoded(body, "ResponseBody")["Name"] == "/secret" => {
            refuse("that is secret")
        }
        _ => json!({"Allow": true}),
    }
}

fn start(plugins: &Path, warden: &Arc<Warden>) {
    fs::create_dir_all(plugins).unwrap();
    let listener = UnixListener::bind(plugins.join("warden.sock")).unwrap();
    let warden = Arc::clone(warden);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, warden) = (stream.unwrap(), Arc::clone(&warden));
            thread::spawn(move || {
                let Some((question, body)) = hear(&stream) else {
                    return;
                };
                let judgment = match warden.sleeps.load(Ordering::Relaxed) {
                    true => json!({"Allow": true, "Implements": ["authz"]}),
                    false => judge(&question, &body),
                };
                let text = judgment.to_string();
                warden.seen.lock().unwrap().push((question, body));
                let length = text.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
                );
            });
        }
    });
}

fn what_a_plugin_forbids_is_not_done(client: Client) {
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("plugins");
    let warden = Arc::new(Warden::default());
    start(&plugins, &warden);
    let option = format!("--volume-plugin-dir={}", plugins.display());
    let options = [option.as_str(), "--authorization-plugin=warden"];
    Scene::play_with(client, &options, |scene| {
        scene.ok("run -d --name box busybox sleep 1000");
        assert_eq!(scene.ok("exec box echo hello"), "hello");
        let text = scene.fails(1, "rm -f box");
        assert!(
            text.contains("authorization denied by plugin warden: nothing is removed"),
            "{text}"
        );
        assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
        let text = scene.fails(125, "run --privileged --name lord busybox true");
        assert!(text.contains("nobody is privileged"), "{text}");
        let text = scene.fails(1, "rename box other");
        assert!(text.contains("plugin warden failed with error"), "{text}");
        scene.ok("create --name secret busybox true");
        let text = scene.fails(1, "inspect --type container secret");
        assert!(text.contains("that is secret"), "{text}");
        // What is said to the plugin, and what is not.
        let seen = warden.seen.lock().unwrap().clone();
        let (_, created) = seen
            .iter()
            .find(|(question, body)| {
                question == "AuthZPlugin.AuthZReq"
                    && body["RequestURI"]
                        .as_str()
                        .unwrap()
                        .contains("/containers/create")
            })
            .unwrap();
        assert_eq!(created["RequestMethod"], "POST");
        assert_eq!(
            created["RequestHeaders"]["Content-Type"],
            "application/json"
        );
        assert_eq!(decoded(created, "RequestBody")["Image"], "busybox");
        // Whoever does not answer has not allowed anything.
        fs::remove_file(plugins.join("warden.sock")).unwrap();
        let text = scene.fails(1, "ps");
        assert!(text.contains("plugin warden failed with error"), "{text}");
        start(&plugins, &warden);
        scene.ok("ps");
        warden.sleeps.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_a_plugin_forbids_is_not_done_for_docker() {
    what_a_plugin_forbids_is_not_done(Client::Docker);
}

#[test]
fn what_a_plugin_forbids_is_not_done_for_hull() {
    what_a_plugin_forbids_is_not_done(Client::Hull);
}

#[test]
fn without_its_plugin_the_daemon_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let option = format!("--volume-plugin-dir={}", directory.path().display());
    let daemon = Daemon::prepare(&[option.as_str(), "--authorization-plugin=nobody"]);
    let output = daemon.command().output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    assert!(
        error.contains("error validating authorization plugin"),
        "{error}"
    );
    assert!(error.contains("nobody"), "{error}");
}
