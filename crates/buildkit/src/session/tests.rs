//! A session between a client that offers a directory and a daemon that takes it, without a
//! network between them.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use hull_sys::beneath::Root;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::{
    Offer, Session, Sessions, filesend,
    filesync::{self, Look, Receiver, Replica, Report, Request},
};
use crate::{
    grpc::{Call, Code, Running, Service, Status, serve},
    proto::{
        Packet, PacketType, Stat,
        health::HealthCheckResponse,
        secrets::{GetSecretRequest, GetSecretResponse},
    },
};

const METHODS: &[&str] = &[
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.FileSend/DiffCopy",
];

/// A client that offers one directory and one secret.
struct FakeClient {
    directory: PathBuf,
}

impl Service for FakeClient {
    fn call(self: Arc<Self>, mut call: Call) -> Running {
        Box::pin(async move {
            match call.method.as_str() {
                "/grpc.health.v1.Health/Check" => call.reply(&HealthCheckResponse::default()).await,
                "/moby.buildkit.secrets.v1.Secrets/GetSecret" => {
                    let request = call.incoming.only::<GetSecretRequest>().await?;
                    if request.id != "known" {
                        return Err(Status::new(Code::NotFound, "no such secret"));
                    }
                    let data = b"sesame".to_vec();
                    call.reply(&GetSecretResponse { data }).await
                }
                "/moby.filesync.v1.FileSync/DiffCopy" => {
                    assert_eq!(call.metadata("dir-name"), Some("context"));
                    let root = Arc::new(Root::new(&self.directory).unwrap());
                    let (packets, mut outbox) = mpsc::channel(16);
                    let (mut incoming, replies) = call.into_parts();
                    let sending = async {
                        while let Some(packet) = outbox.recv().await {
                            replies.send(&packet).await?;
                        }
                        Ok(())
                    };
                    let offering = filesend::offer(
                        vec![(std::path::PathBuf::new(), root)],
                        &mut incoming,
                        packets,
                    );
                    tokio::try_join!(offering, sending).map(drop)
                }
                // A place for results whose disk is full.
                "/moby.filesync.v1.FileSend/DiffCopy" => {
                    call.incoming.next::<Packet>().await?;
                    Err(Status::new(Code::Unknown, "no space left on device"))
                }
                other => Err(Status::unimplemented(other.to_owned())),
            }
        })
    }
}

/// What arrived, in memory: each entry's content or target, and its look.
#[derive(Default)]
struct Memory {
    before: BTreeMap<PathBuf, (Vec<u8>, Look)>,
    now: BTreeMap<PathBuf, (Vec<u8>, Look)>,
}

impl Replica for Memory {
    fn keep(&mut self, path: &Path, size: u64, look: Look) -> bool {
        let known = self
            .before
            .get(path)
            .filter(|(content, before)| content.len() as u64 == size && *before == look);
        let known = known.cloned();
        known.is_some_and(|entry| {
            self.now.insert(path.to_owned(), entry);
            true
        })
    }

    fn file(&mut self, path: &Path, content: &mut dyn Read, look: Look) -> Result<(), String> {
        let mut bytes = Vec::new();
        content
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        self.now.insert(path.to_owned(), (bytes, look));
        Ok(())
    }

    fn directory(&mut self, path: &Path, look: Look) -> Result<(), String> {
        self.now.insert(path.to_owned(), (Vec::new(), look));
        Ok(())
    }

    fn symlink(&mut self, path: &Path, target: &[u8], look: Look) -> Result<(), String> {
        self.now.insert(path.to_owned(), (target.to_vec(), look));
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, target: &Path, look: Look) -> Result<(), String> {
        let (content, _) = self.now.get(target).cloned().ok_or("a link to nothing")?;
        self.now.insert(path.to_owned(), (content, look));
        Ok(())
    }
}

/// Does something with the session of a client that offers a directory.
async fn with_session<T>(directory: &Path, act: impl AsyncFnOnce(Arc<Session>) -> T) -> T {
    let (here, there) = tokio::io::duplex(64 << 10);
    let client = Arc::new(FakeClient {
        directory: directory.to_owned(),
    });
    let serving = tokio::spawn(serve(there, client));
    let sessions = Arc::new(Sessions::default());
    let offer = Offer {
        id: "one".to_owned(),
        shared_key: String::new(),
        methods: METHODS.iter().map(|method| (*method).to_owned()).collect(),
    };
    let holding = {
        let (sessions, offer) = (Arc::clone(&sessions), offer.clone());
        tokio::spawn(async move { sessions.hold(here, offer).await })
    };
    let session = sessions.get("one").await.unwrap();
    assert_eq!(
        sessions.accept(&offer).unwrap_err().code,
        Code::AlreadyExists
    );
    let outcome = act(Arc::clone(&session)).await;
    serving.abort();
    session.ended().await;
    let _ = holding.await;
    assert!(sessions.accept(&offer).is_ok(), "the session is forgotten");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_arrives_and_only_what_changed_comes_again() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir_all(root.join("many")).unwrap();
    for number in 0..500 {
        fs::write(
            root.join(format!("many/{number}")),
            format!("file {number}"),
        )
        .unwrap();
    }
    fs::write(root.join("large"), vec![7; 3 << 20]).unwrap();
    fs::hard_link(root.join("large"), root.join("larger")).unwrap();
    symlink("../outside", root.join("link")).unwrap();
    let request = Request {
        name: "context".to_owned(),
        ..Request::default()
    };
    let receive = async |before: BTreeMap<_, _>| -> (Memory, Report) {
        with_session(root, async |session| {
            let memory = Memory {
                before,
                ..Memory::default()
            };
            filesync::receive(&session, &request, memory, |_| {})
                .await
                .unwrap()
        })
        .await
    };
    let (first, report) = receive(BTreeMap::new()).await;
    assert_eq!((report.entries, report.files), (504, 501));
    let content = |path: &str| first.now[Path::new(path)].0.clone();
    assert_eq!(content("many/77"), b"file 77");
    assert_eq!(content("large"), vec![7; 3 << 20]);
    assert_eq!(content("larger").len(), 3 << 20);
    assert_eq!(content("link"), b"../outside");

    fs::write(root.join("many/77"), "changed, and longer").unwrap();
    fs::remove_file(root.join("many/78")).unwrap();
    let (second, report) = receive(first.now).await;
    assert_eq!((report.files, report.bytes), (1, 19));
    assert_eq!(second.now[Path::new("many/77")].0, b"changed, and longer");
    assert!(!second.now.contains_key(Path::new("many/78")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_cannot_write_a_result_is_heard() {
    let place = tempfile::tempdir().unwrap();
    for number in 0..2000 {
        fs::write(place.path().join(format!("{number}")), "content").unwrap();
    }
    with_session(place.path(), async |session| {
        let root = Arc::new(Root::new(place.path()).unwrap());
        let sent = filesend::send_directory(&session, 0, vec![(PathBuf::new(), root)], |_| {});
        let error = sent.await.unwrap_err();
        assert!(error.message.contains("no space left"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_s_name_stays_with_the_first_who_has_it() {
    let place = tempfile::tempdir().unwrap();
    let sessions = Arc::new(Sessions::default());
    let offer = Offer {
        id: "one".to_owned(),
        shared_key: String::new(),
        methods: Vec::new(),
    };
    let open = |offer: Offer| {
        let (here, there) = tokio::io::duplex(64 << 10);
        let client = Arc::new(FakeClient {
            directory: place.path().to_owned(),
        });
        let serving = tokio::spawn(serve(there, client));
        let sessions = Arc::clone(&sessions);
        let holding = tokio::spawn(async move { sessions.hold(here, offer).await });
        (serving, holding)
    };
    let (first, _held) = open(offer.clone());
    sessions.get("one").await.unwrap();
    let (_second, refused) = open(offer);
    let error = refused.await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::AlreadyExists);
    assert!(sessions.get("one").await.is_ok());
    first.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_there_or_not() {
    let place = tempfile::tempdir().unwrap();
    with_session(place.path(), async |session| {
        assert_eq!(session.secret("known").await.unwrap().unwrap(), b"sesame");
        assert_eq!(session.secret("other").await.unwrap(), None);
        // What the client does not offer is not asked for.
        assert_eq!(session.credentials("example.com").await.unwrap(), None);
        assert!(!session.has_agent("default").await.unwrap());
        assert!(session.upload("http://buildkit-session/x").await.is_err());
        assert!(
            session
                .upload("http://example.com/x")
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let stat = (
        "[a-c./]{0,4}",
        any::<u32>(),
        -2i64..3_000_000,
        "[a-c/]{0,2}",
    )
        .prop_map(|(path, mode, size, linkname)| Stat {
            path,
            mode,
            size,
            linkname,
            ..Stat::default()
        });
    let data = proptest::collection::vec(any::<u8>(), 0..8);
    (0i32..6, proptest::option::of(stat), 0u32..4, data).prop_map(|(kind, stat, id, data)| Packet {
        r#type: kind,
        stat,
        id,
        data,
    })
}

proptest! {
    /// A client may send anything: what comes is an answer or an error, and an end.
    #[test]
    fn any_packets_are_taken_or_refused(packets in proptest::collection::vec(any_packet(), 0..20)) {
        let (sender, inbox) = mpsc::channel(32);
        let (asked, mut outbox) = mpsc::unbounded_channel();
        for packet in packets {
            sender.try_send(packet).unwrap();
        }
        drop(sender);
        let received = Receiver::new(Memory::default(), inbox, asked).run();
        let mut last = None;
        while let Ok(packet) = outbox.try_recv() {
            last = Some(packet.r#type());
        }
        let expected = match received {
            Ok(_) => PacketType::PacketFin,
            Err(_) => PacketType::PacketErr,
        };
        prop_assert_eq!(last, Some(expected));
    }
}
