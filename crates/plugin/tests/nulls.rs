//! Go's encoder writes `null` for what is empty; a plugin that does is understood.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use hull_plugin::{Directories, Error, VolumeDriver, VolumeFacts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

const PATIENCE: Duration = Duration::from_secs(20);

fn answer(request: &str) -> &'static str {
    let question = request.split([' ', '/']).nth(2).unwrap();
    match question {
        "Plugin.Activate" => r#"{"Implements":["VolumeDriver"],"Err":null}"#,
        "VolumeDriver.Get" => {
            r#"{"Volume":{"Name":"a","Mountpoint":null,"CreatedAt":null,"Status":null},"Err":null}"#
        }
        "VolumeDriver.List" => r#"{"Volumes":null,"Err":""}"#,
        "VolumeDriver.Remove" => "null",
        "VolumeDriver.Capabilities" => r#"{"Capabilities":null}"#,
        "VolumeDriver.Mount" => r#"{"Mountpoint":null}"#,
        other => panic!("{other}"),
    }
}

async fn serve(listener: UnixListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(got) if got > 0 => seen.extend_from_slice(&piece[..got]),
                _ => break,
            }
        }
        let text = answer(&String::from_utf8(seen).unwrap());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
    }
}

async fn open(directory: &Path) -> VolumeDriver {
    let listener = UnixListener::bind(directory.join("shelf.sock")).unwrap();
    tokio::spawn(serve(listener));
    let places = Directories(vec![directory.to_owned()]);
    VolumeDriver::open("shelf", &places, PATIENCE)
        .await
        .unwrap()
}

#[tokio::test]
async fn null_is_what_is_unset() {
    let directory = tempfile::tempdir().unwrap();
    let driver = open(directory.path()).await;
    let expected = VolumeFacts {
        name: "a".to_owned(),
        ..VolumeFacts::default()
    };
    assert_eq!(driver.get("a").await.unwrap(), expected);
    assert_eq!(driver.list().await.unwrap(), []);
    driver.remove("a").await.unwrap();
    assert_eq!(driver.scope().await, "local");
    // A mount point must be said.
    let error = driver.mount("a", "user").await.unwrap_err();
    assert!(
        matches!(&error, Error::Broken { reason, .. } if reason.contains("no absolute path")),
        "{error}"
    );
}
