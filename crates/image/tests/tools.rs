//! Other tools read what the store writes, and the store reads what they write.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Lab, Tar, busybox_layer, docker_archive, run, tree};

fn lab() -> Lab {
    let lab = Lab::new();
    let layers = [busybox_layer(), Tar::new().file("etc/motd", b"hello").end()];
    lab.load(&docker_archive(
        &layers,
        &["busybox:latest", "me/other:2"],
        r#"{"Cmd":["sh"]}"#,
    ));
    lab
}

#[test]
fn skopeo_reads_the_store() {
    let lab = lab();
    let store = lab.path("image");
    for name in ["busybox:latest", "me/other:2"] {
        let image = format!("oci:{}:{name}", store.display());
        let answer = run("skopeo", &["inspect", &image]);
        let id = lab.store.id(name).unwrap();
        assert!(answer.contains(id.as_str()), "{answer}");
    }
    let copy = lab.path("copy");
    run(
        "skopeo",
        &[
            "copy",
            &format!("oci:{}:busybox:latest", store.display()),
            &format!("dir:{}", copy.display()),
        ],
    );
    assert!(copy.join("manifest.json").exists());
}

#[test]
fn skopeo_reads_saved_archives_in_both_forms() {
    let lab = lab();
    let saved = lab.path("saved.tar");
    let file = std::fs::File::create(&saved).unwrap();
    lab.store
        .save(&["busybox", "me/other:2"], &[], file)
        .unwrap();
    let saved = saved.display();
    run(
        "skopeo",
        &["inspect", &format!("docker-archive:{saved}:busybox:latest")],
    );
    run(
        "skopeo",
        &["inspect", &format!("docker-archive:{saved}:me/other:2")],
    );
    let single = lab.path("single.tar");
    let file = std::fs::File::create(&single).unwrap();
    lab.store.save(&["busybox"], &[], file).unwrap();
    run(
        "skopeo",
        &["inspect", &format!("oci-archive:{}", single.display())],
    );
}

#[test]
fn archives_of_skopeos_load() {
    let lab = lab();
    let expected = lab.store.resolve("busybox", None).unwrap();
    let from = format!("oci:{}:busybox:latest", lab.path("image").display());
    for (form, message) in [
        ("docker-archive", Some("Loaded image: copied:1")),
        ("oci-archive", Some("Loaded image: copied:1")),
    ] {
        let path = lab.path(form);
        let to = format!("{form}:{}:copied:1", path.display());
        run("skopeo", &["copy", &from, &to]);
        let other = Lab::new();
        let loaded = other.load(&std::fs::read(&path).unwrap());
        assert_eq!(loaded.first().map(String::as_str), message, "{form}");
        let image = other.store.resolve("copied:1", None).unwrap();
        assert_eq!(image.config_digest, expected.config_digest, "{form}");
        for (one, two) in image.layers.iter().zip(&expected.layers) {
            assert_eq!(tree(one), tree(two), "{form}");
        }
    }
    // Without a name, and compressed as a whole.
    let path = lab.path("nameless");
    run(
        "skopeo",
        &["copy", &from, &format!("oci-archive:{}", path.display())],
    );
    run("gzip", &[path.to_str().unwrap()]);
    let other = Lab::new();
    let loaded = other.load(&std::fs::read(lab.path("nameless.gz")).unwrap());
    assert!(
        loaded[0].starts_with("Loaded image ID: sha256:"),
        "{loaded:?}"
    );
}

#[test]
fn an_index_of_several_platforms_is_kept_whole() {
    let lab = lab();
    // The same image under another architecture's name beside it: an index as registries have it.
    let manifest = lab.store.descriptor("busybox").unwrap();
    let host = hull_oci::Platform::host();
    let foreign: hull_oci::Platform = "linux/s390x".parse().unwrap();
    let mut here = manifest.clone();
    here.platform = Some(host.clone());
    let absent = hull_oci::Descriptor {
        platform: Some(foreign.clone()),
        ..hull_oci::Descriptor::of(&manifest.media_type, b"not fetched")
    };
    let index = hull_oci::Index::new(vec![absent, here]);
    let lease = lab.store.lease();
    let bytes = serde_json::to_vec(&index).unwrap();
    let target = lab
        .store
        .put_blob(&lease, hull_oci::media_type::INDEX, &bytes)
        .unwrap();
    lab.store
        .set_name(&"multi".parse().unwrap(), target.clone())
        .unwrap();
    drop(lease);

    let image = lab.store.resolve("multi", None).unwrap();
    assert_eq!(
        (image.id.clone(), image.manifest.clone()),
        (target.digest.clone(), manifest.digest)
    );
    assert!(lab.store.resolve("multi", Some(&host)).is_ok());
    assert!(lab.store.resolve("multi", Some(&foreign)).is_err());
    let details = lab.store.inspect("multi", None).unwrap();
    let available: Vec<bool> = details.manifests.iter().map(|m| m.is_available).collect();
    assert_eq!(available, [false, true]);

    let mut archive = Vec::new();
    lab.store.save(&["multi"], &[], &mut archive).unwrap();
    let other = Lab::new();
    assert_eq!(other.load(&archive), ["Loaded image: multi:latest"]);
    assert_eq!(other.store.id("multi").unwrap(), target.digest);
    let mut archive = Vec::new();
    lab.store
        .save(&["multi"], std::slice::from_ref(&host), &mut archive)
        .unwrap();
    let other = Lab::new();
    other.load(&archive);
    assert_eq!(other.store.id("multi").unwrap(), image.manifest);
}
