//! Volume plugins: a small real one that serves directories, and what happens when it misbehaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use hull_testkit::{Client, Scene, until};
use serde_json::{Value, json};

/// How the plugin behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Good,
    /// Takes the question, and never answers.
    Hangs,
    /// Closes the connection in the middle of an answer.
    Crashes,
    /// Answers what is no JSON.
    Babbles,
    Refuses,
}

#[derive(Default)]
struct State {
    mood: Mood,
    /// Volumes and who has them mounted.
    volumes: BTreeMap<String, Vec<String>>,
    asked: Vec<String>,
    /// Connections of questions that get no answer.
    held: Vec<UnixStream>,
}

/// A plugin that keeps each volume in a directory.
struct Plugin {
    state: Arc<Mutex<State>>,
    socket: PathBuf,
}

impl Plugin {
    fn start(plugins: &Path, content: &Path) -> Self {
        fs::create_dir_all(plugins).unwrap();
        let socket = plugins.join("shelf.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, content) = (Arc::clone(&state), content.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, content) = (Arc::clone(&shared), content.clone());
                thread::spawn(move || serve(stream.unwrap(), &shared, &content));
            }
        });
        Self { state, socket }
    }

    fn mood(&self, mood: Mood) {
        let mut state = self.state.lock().unwrap();
        state.mood = mood;
        state.held.clear();
    }

    fn volumes(&self) -> BTreeMap<String, Vec<String>> {
        self.state.lock().unwrap().volumes.clone()
    }

    fn was_asked(&self, question: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .asked
            .iter()
            .filter(|asked| *asked == question)
            .count()
    }
}

fn serve(stream: UnixStream, state: &Mutex<State>, content: &Path) {
    if let Some((question, body)) = hear(&stream) {
        answer(stream, &question, &body, state, content);
    }
}

/// Reads a question to a plugin.
pub(crate) fn hear(stream: &UnixStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if head.is_empty() {
            head.clone_from(&line);
        }
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let question = head
        .split(' ')
        .nth(1)
        .unwrap()
        .trim_start_matches('/')
        .to_owned();
    Some((question, serde_json::from_slice(&body).unwrap()))
}

fn answer(
    mut stream: UnixStream,
    question: &str,
    body: &Value,
    state: &Mutex<State>,
    content: &Path,
) {
    let mut state = state.lock().unwrap();
    state.asked.push(question.to_owned());
    let is_change =
        question.starts_with("VolumeDriver.") && question != "VolumeDriver.Capabilities";
    let text = match state.mood {
        Mood::Hangs if is_change => return state.held.push(stream),
        Mood::Crashes if is_change => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Mo");
            return;
        }
        Mood::Babbles if is_change => "what?".to_owned(),
        Mood::Refuses if is_change => json!({"Err": "the shelf is full"}).to_string(),
        _ => good(question, body, &mut state, content).to_string(),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
}

fn good(question: &str, body: &Value, state: &mut State, content: &Path) -> Value {
    let name = body["Name"].as_str().unwrap_or_default().to_owned();
    let user = body["ID"].as_str().unwrap_or_default().to_owned();
    let place = content.join(&name);
    match question {
        "Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
        "VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
        "VolumeDriver.Create" => {
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("options"), body["Opts"].to_string()).unwrap();
            state.volumes.entry(name).or_default();
            json!({"Err": ""})
        }
        "VolumeDriver.Remove" => {
            fs::remove_dir_all(&place).unwrap();
            state.volumes.remove(&name);
            json!({})
        }
        "VolumeDriver.Mount" => {
            state.volumes.get_mut(&name).unwrap().push(user);
            json!({"Mountpoint": place, "Err": ""})
        }
        "VolumeDriver.Unmount" => {
            state
                .volumes
                .get_mut(&name)
                .unwrap()
                .retain(|known| *known != user);
            json!({"Err": ""})
        }
        "VolumeDriver.Get" => {
            json!({"Volume": {"Name": name, "Mountpoint": place, "Status": {"shelf": 7}}})
        }
        _ => json!({"Err": format!("no such question: {question}")}),
    }
}

/// Plays with a plugin whose answers are awaited for two seconds.
fn play(client: Client, scenario: impl FnOnce(&mut Scene, &Plugin)) {
    let directory = tempfile::tempdir().unwrap();
    let (plugins, content) = (
        directory.path().join("plugins"),
        directory.path().join("content"),
    );
    let plugin = Plugin::start(&plugins, &content);
    let option = format!("--volume-plugin-dir={}", plugins.display());
    Scene::play_with(client, &[&option, "--volume-plugin-timeout=2"], |scene| {
        scenario(scene, &plugin)
    });
}

fn a_plugin_provides_volumes(scene: &mut Scene, plugin: &Plugin) {
    scene.ok("volume create -d shelf -o depth=3 books");
    assert_eq!(
        scene.ok("volume inspect -f '{{.Driver}} {{.Scope}} {{.Status.shelf}}' books"),
        "shelf global 7"
    );
    assert_eq!(
        scene.ok("run --rm -v books:/b busybox cat /b/options"),
        "{\"depth\":\"3\"}"
    );
    scene.ok("run -d --name reader -v books:/b busybox sleep 1000");
    let id = scene.inspect("reader", "{{.Id}}");
    assert_eq!(plugin.volumes()["books"], std::slice::from_ref(&id));
    scene.daemon.crash();
    assert_eq!(plugin.volumes()["books"], [id]);
    assert!(
        scene
            .fails(1, "volume rm books")
            .contains("volume is in use")
    );
    scene.ok("exec reader touch /b/new");
    scene.ok("rm -f reader");
    until("the plugin is told", || {
        plugin.volumes()["books"].is_empty()
    });
    scene.ok("run --rm --volume-driver shelf -v other:/o busybox touch /o/x");
    assert_eq!(
        scene.ok("volume ls -q --filter driver=shelf"),
        "books\nother"
    );
    assert_eq!(scene.ok("run --rm --mount type=volume,volume-driver=shelf,volume-opt=a=b,dst=/o busybox cat /o/options"), "{\"a\":\"b\"}");
    until("the anonymous volume is gone", || {
        plugin.volumes().len() == 2
    });
    let text = scene.fails(1, "volume create books");
    assert!(text.contains("volume name must be unique"), "{text}");
    scene.ok("volume rm books other");
    assert!(plugin.volumes().is_empty());
    let text = scene.fails(1, "volume create -d nobody some");
    assert!(
        text.contains("error looking up volume plugin nobody: plugin \"nobody\" not found"),
        "{text}"
    );
    let text = scene.fails(
        125,
        "run --rm --volume-driver nobody -v some:/y busybox true",
    );
    assert!(text.contains("plugin \"nobody\" not found"), "{text}");
}

#[test]
fn a_plugin_provides_volumes_docker() {
    play(Client::Docker, a_plugin_provides_volumes);
}

#[test]
fn a_plugin_provides_volumes_hull() {
    play(Client::Hull, a_plugin_provides_volumes);
}

#[test]
fn a_plugin_that_misbehaves_harms_nobody_else() {
    play(Client::Hull, |scene, plugin| {
        scene.ok("volume create -d shelf books");
        for (mood, reason) in [
            (Mood::Hangs, "did not answer within 2 s"),
            (Mood::Crashes, "VolumeDriver.Mount: plugin \"shelf\""),
            (Mood::Babbles, "its answer is not understood"),
            (Mood::Refuses, "VolumeDriver.Mount: the shelf is full"),
        ] {
            plugin.mood(mood);
            let asked = plugin.was_asked("VolumeDriver.Mount");
            let mut waiting = scene.begin("run --rm -v books:/b busybox true");
            until("the plugin is asked", || {
                plugin.was_asked("VolumeDriver.Mount") > asked
            });
            // Meanwhile all else goes on.
            assert_eq!(scene.ok("run --rm -v plain:/p busybox echo fine"), "fine");
            scene.ok("volume ls");
            let (code, _, complaint) = waiting.wait();
            assert!(
                code != 0 && complaint.contains(reason),
                "{mood:?}: {complaint}"
            );
            let text = scene.fails(1, "volume rm books");
            assert!(text.contains("VolumeDriver.Remove"), "{mood:?}: {text}");
        }
        plugin.mood(Mood::Good);
        scene.ok("run -d --name reader -v books:/b busybox sleep 1000");
        plugin.mood(Mood::Hangs);
        // What cannot be told to the plugin does not keep the container.
        scene.ok("rm -f reader");
        fs::remove_file(&plugin.socket).unwrap();
        assert!(
            scene
                .fails(1, "volume rm books")
                .contains("plugin \"shelf\" not found")
        );
        assert_eq!(scene.ok("volume inspect -f '{{.Name}}' books"), "books");
        scene.ok("volume rm -f books");
        assert_eq!(scene.ok("volume ls -q"), "plain");
    });
}

#[test]
fn nobody_waits_for_a_plugin_but_who_asked_it() {
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("plugins");
    let plugin = Plugin::start(&plugins, &directory.path().join("content"));
    let option = format!("--volume-plugin-dir={}", plugins.display());
    // Nobody waits that long: what must not wait for the plugin ends before.
    let options = [option.as_str(), "--volume-plugin-timeout=100000"];
    Scene::play_with(Client::Hull, &options, |scene| {
        scene.ok("volume create old");
        scene.ok("tag busybox other:1");
        plugin.mood(Mood::Hangs);
        let line = "create --name waiter -v kept:/k --volume-driver shelf -v books:/b busybox true";
        scene.ok("volume create kept");
        let mut waiting = scene.begin(line);
        until("the plugin is asked", || {
            plugin.was_asked("VolumeDriver.Create") > 0
        });
        scene.ok("volume rm old");
        scene.ok("rmi other:1");
        assert_eq!(scene.ok("run --rm -v plain:/p busybox echo fine"), "fine");
        scene.ok("volume prune -af");
        // What the container will use stays, though no record tells of it.
        assert_eq!(scene.ok("volume ls -q"), "kept");
        let text = scene.fails(1, "volume rm kept");
        assert!(text.contains("volume is in use"), "{text}");
        let text = scene.fails(1, "rmi busybox");
        assert!(text.contains("container"), "{text}");
        plugin.mood(Mood::Good);
        let (code, _, complaint) = waiting.wait();
        assert!(
            code != 0 && complaint.contains("plugin \"shelf\""),
            "{complaint}"
        );
        // And no longer than it is made.
        scene.ok("volume rm kept");
        scene.ok(line);
        scene.ok("rm waiter");
        scene.ok("volume rm books kept");
    });
}
