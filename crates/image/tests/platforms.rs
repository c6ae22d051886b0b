//! Images for several platforms, and what is stated about them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use hull_image::Kind;
use hull_image::store::{LayerCompression, ManifestKind, Removed, User};
use hull_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, RootFs, media_type};
use support::{Lab, Tar};

const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2"}"#;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// An index as builders push it: a member for each platform, with its own layer and a statement
/// about it.
fn several(lab: &Lab, name: &str, platforms: &[&str]) -> Descriptor {
    let store = &lab.store;
    let lease = store.lease();
    let mut members = Vec::new();
    for text in platforms {
        let platform = platform(text);
        let files = Tar::new().file("platform", text.as_bytes()).end();
        let layer = store
            .write_layer(&lease, LayerCompression::Gzip, |out| {
                std::io::Write::write_all(out, &files).unwrap();
                Ok(())
            })
            .unwrap()
            .unwrap();
        let config = ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            rootfs: RootFs {
                diff_ids: vec![layer.diff_id],
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        let member = store
            .put_image(&lease, &config, vec![layer.descriptor])
            .unwrap();
        let statement = statement_about(lab, &member);
        members.extend([member, statement]);
    }
    let index = store.put_index(&lease, members).unwrap();
    store
        .publish(Some(&name.parse().unwrap()), index.clone(), None)
        .unwrap();
    index
}

fn statement_about(lab: &Lab, member: &Descriptor) -> Descriptor {
    let lease = lab.store.lease();
    let text = format!("{STATEMENT}\n{}", " ".repeat(member.digest.hex().len() % 7));
    let mut layer = lab
        .store
        .put_blob(&lease, media_type::IN_TOTO, text.as_bytes())
        .unwrap();
    let kind = "https://slsa.dev/provenance/v0.2".to_owned();
    layer
        .annotations
        .insert("in-toto.io/predicate-type".to_owned(), kind);
    let config = format!(
        r#"{{"architecture":"unknown","os":"unknown","for":"{}"}}"#,
        member.digest
    );
    let config = lab
        .store
        .put_blob(&lease, media_type::CONFIG, config.as_bytes())
        .unwrap();
    let manifest = serde_json::to_vec(&Manifest::new(config, vec![layer])).unwrap();
    let mut statement = lab
        .store
        .put_blob(&lease, media_type::MANIFEST, &manifest)
        .unwrap();
    statement.platform = Some(platform("unknown/unknown"));
    statement.annotations = BTreeMap::from([
        (
            "vnd.docker.reference.digest".to_owned(),
            member.digest.to_string(),
        ),
        (
            "vnd.docker.reference.type".to_owned(),
            "attestation-manifest".to_owned(),
        ),
    ]);
    // Nothing collects garbage before the index names it.
    statement
}

/// Which platforms are here, and for how many of them there are statements.
fn here(lab: &Lab, name: &str) -> (Vec<String>, usize) {
    let details = lab.store.inspect(name, None).unwrap();
    let mut platforms = Vec::new();
    let mut statements = 0;
    for member in details
        .manifests
        .iter()
        .filter(|member| member.is_available)
    {
        match &member.kind {
            ManifestKind::Image { platform } => platforms.push(platform.to_string()),
            ManifestKind::Attestation { .. } => statements += 1,
            ManifestKind::Unknown => {}
        }
    }
    (platforms, statements)
}

fn host() -> String {
    Platform::host().to_string()
}

#[test]
fn archives_hold_all_platforms_or_some() {
    let lab = Lab::new();
    let host = host();
    let all = [host.as_str(), "linux/s390x", "linux/riscv64"];
    let index = several(&lab, "app:1", &all);
    assert_eq!(here(&lab, "app:1"), (all.map(str::to_owned).to_vec(), 3));

    let mut whole = Vec::new();
    lab.store.save(&["app:1"], &[], &mut whole).unwrap();
    let mut two = Vec::new();
    let wanted = [platform("linux/s390x"), platform("linux/riscv64")];
    lab.store.save(&["app:1"], &wanted, &mut two).unwrap();
    assert!(two.len() < whole.len());

    let other = Lab::new();
    other.load(&whole);
    assert_eq!(here(&other, "app:1"), here(&lab, "app:1"));
    assert_eq!(other.store.id("app:1").unwrap(), index.digest);

    let other = Lab::new();
    other.load(&two);
    let expected = vec!["linux/s390x".to_owned(), "linux/riscv64".to_owned()];
    assert_eq!(here(&other, "app:1"), (expected, 2));
    let error = other.store.resolve("app:1", None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    // Looking is possible all the same.
    let details = other.store.inspect("app:1", None).unwrap();
    assert_eq!(details.platform.to_string(), "linux/s390x");
    assert_eq!(other.store.history("app:1", None).unwrap().len(), 0);
}

#[test]
fn single_platforms_of_an_archive_are_loaded() {
    let lab = Lab::new();
    let host = host();
    several(&lab, "app:1", &[&host, "linux/s390x", "linux/riscv64"]);
    let mut whole = Vec::new();
    lab.store.save(&["app:1"], &[], &mut whole).unwrap();

    let other = Lab::new();
    let wanted = [platform("linux/riscv64")];
    other.store.load(&whole[..], &wanted, &mut |_| {}).unwrap();
    assert_eq!(here(&other, "app:1"), (vec!["linux/riscv64".to_owned()], 1));
    // The index, manifest, configuration and layer of one, and of the statement about it.
    assert_eq!((other.blob_count(), other.layer_count()), (7, 1));
    // The rest comes with a later load.
    other.load(&whole);
    assert_eq!(here(&other, "app:1").0.len(), 3);
    // And what was here stays when less is loaded.
    other.store.load(&whole[..], &wanted, &mut |_| {}).unwrap();
    assert_eq!(here(&other, "app:1").0.len(), 3);

    let absent = [platform("linux/mips64le")];
    let error = Lab::new()
        .store
        .load(&whole[..], &absent, &mut |_| {})
        .unwrap_err();
    assert!(error.to_string().contains("linux/mips64le"), "{error}");
}

#[test]
fn a_platform_is_removed_with_what_only_it_needed() {
    let lab = Lab::new();
    let host = host();
    let index = several(&lab, "app:1", &[&host, "linux/s390x"]);
    lab.store.resolve("app:1", None).unwrap();
    let used = |_: &Digest| {
        vec![User {
            container: "0123456789abcdef".to_owned(),
            is_running: false,
            platform: Platform::host().to_string(),
        }]
    };
    let error = lab
        .store
        .remove_platforms("app:1", &[Platform::host()], &used)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let removed = lab
        .store
        .remove_platforms("app:1", &[platform("linux/s390x")], &used)
        .unwrap();
    assert!(matches!(
        &removed[..],
        [Removed::Deleted(_), Removed::Deleted(_)]
    ));
    assert_eq!(here(&lab, "app:1"), (vec![host], 1));
    assert_eq!(lab.blob_count(), 7);
    assert_eq!(lab.store.id("app:1").unwrap(), index.digest);
    let error = lab
        .store
        .remove_platforms("app:1", &[platform("linux/s390x")], &used)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn a_platform_that_is_pulled_at_the_moment_is_not_removed() {
    let lab = Lab::new();
    let host = host();
    several(&lab, "app:1", &[&host, "linux/s390x"]);
    let manifests = lab.store.manifests_of("app:1").unwrap();
    let remove = || {
        let wanted = [platform("linux/s390x")];
        lab.store
            .remove_platforms("app:1", &wanted, &|_| Vec::new())
    };
    let pull = lab.store.lease();
    // The statement about it, of which the pull has only just found that it is here.
    pull.protect(&manifests[3]);
    let error = remove().unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("pulled or pushed"), "{error}");
    assert_eq!(here(&lab, "app:1").0.len(), 2, "all or nothing");
    drop(pull);
    assert_eq!(remove().unwrap().len(), 2);
    assert_eq!(here(&lab, "app:1"), (vec![host], 1));
}

#[test]
fn what_a_pull_relies_on_stays_when_less_is_loaded() {
    let lab = Lab::new();
    let host = host();
    several(&lab, "app:1", &[&host, "linux/s390x"]);
    let manifests = lab.store.manifests_of("app:1").unwrap();
    let mut whole = Vec::new();
    lab.store.save(&["app:1"], &[], &mut whole).unwrap();
    let other = Lab::new();
    let pull = other.store.lease();
    pull.protect(&manifests[2]);
    let wanted = [Platform::host()];
    other.store.load(&whole[..], &wanted, &mut |_| {}).unwrap();
    assert!(other.store.has_blob(&manifests[2]));
    assert!(
        !other.store.has_blob(&manifests[3]),
        "nobody wants that one"
    );
}

#[test]
fn a_manifest_another_image_needs_is_not_removed() {
    let lab = Lab::new();
    let host = host();
    let index = several(&lab, "app:1", &[&host]);
    let document: Index =
        serde_json::from_slice(&lab.store.read_blob(&index.digest).unwrap()).unwrap();
    let sole = document.manifests[0].clone();
    lab.store
        .publish(Some(&"other:1".parse().unwrap()), sole, None)
        .unwrap();
    let error = lab
        .store
        .remove_platforms("app:1", &[Platform::host()], &|_| Vec::new())
        .unwrap_err();
    assert!(
        error.to_string().contains("another image needs it"),
        "{error}"
    );
    assert!(lab.store.resolve("other:1", None).is_ok());
}

#[test]
fn statements_about_an_image_are_found() {
    let lab = Lab::new();
    let host = host();
    several(&lab, "app:1", &[&host, "linux/s390x"]);
    let ask = |platform: Option<&Platform>, kinds: &[&str], with_text| {
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        lab.store.attestations("app:1", platform, &kinds, with_text)
    };
    let found = ask(None, &[], true).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].predicate_type, "https://slsa.dev/provenance/v0.2");
    assert_eq!(found[0].text.as_ref().unwrap().get(), STATEMENT);
    let other = platform("linux/s390x");
    let found = ask(Some(&other), &["https://slsa.dev/provenance/v0.2"], false).unwrap();
    assert!(found.len() == 1 && found[0].text.is_none());
    assert!(
        ask(None, &["https://spdx.dev/Document"], true)
            .unwrap()
            .is_empty()
    );
    assert!(ask(Some(&platform("linux/mips64le")), &[], true).is_err());
}

#[test]
fn images_become_one_list() {
    use hull_image::store::{ListMember, PlatformChange};
    let lab = Lab::new();
    let host = host();
    several(&lab, "app:here", &[&host]);
    several(&lab, "app:there", &["linux/arm"]);
    let name = "app:1".parse().unwrap();
    let members = ["app:here", "app:there"].map(|name| ListMember::Here(name.to_owned()));
    let first = lab
        .store
        .create_list(&name, &members, false, &|_| Vec::new())
        .unwrap();
    assert_eq!(
        here(&lab, "app:1"),
        (vec![host.clone(), "linux/arm/v7".to_owned()], 2)
    );
    let error = lab
        .store
        .create_list(&name, &members, false, &|_| Vec::new())
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    // Adding what is there changes nothing but the order.
    lab.store
        .create_list(&name, &members[..1], true, &|_| Vec::new())
        .unwrap();
    assert_eq!(here(&lab, "app:1").0.len(), 2);
    lab.store
        .create_list(&name, &members, true, &|_| Vec::new())
        .unwrap();

    let change = PlatformChange {
        variant: Some("v6".to_owned()),
        ..PlatformChange::default()
    };
    let annotate = |member: &str| {
        let own = lab.store.manifests_of(member).unwrap();
        lab.store
            .annotate_list("app:1", member, &own, &change, &|_| Vec::new())
    };
    let changed = annotate("app:there").unwrap();
    assert_ne!(changed, first);
    assert_eq!(here(&lab, "app:1").0[1], "linux/arm/v6");
    let error = annotate("app:1").unwrap_err();
    assert!(
        error.to_string().contains("stands for 2 manifests"),
        "{error}"
    );
    // Earlier lists are gone, the images are not.
    assert_eq!(
        lab.store
            .list(&hull_image::store::ListFilter::default())
            .unwrap()
            .len(),
        3
    );
    assert!(lab.store.resolve("app:1", None).is_ok());
    let missing = [ListMember::Here("nosuch".to_owned())];
    let error = lab
        .store
        .create_list(&"x".parse().unwrap(), &missing, false, &|_| Vec::new());
    assert_eq!(error.unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_container_that_runs_from_a_list_keeps_its_image() {
    use hull_image::store::{ListMember, Removal, User};
    let lab = Lab::new();
    several(&lab, "app:here", &[&host()]);
    several(&lab, "app:there", &["linux/arm"]);
    let name = "app:1".parse().unwrap();
    let members = ["app:here", "app:there"].map(|name| ListMember::Here(name.to_owned()));
    let nobody = |_: &hull_oci::Digest| Vec::new();
    let first = lab
        .store
        .create_list(&name, &members[..1], false, &nobody)
        .unwrap();
    let used = |id: &hull_oci::Digest| match *id == first {
        true => vec![User {
            container: "c".repeat(64),
            is_running: true,
            platform: String::new(),
        }],
        false => Vec::new(),
    };
    let removal = Removal {
        force: true,
        users: &used,
    };
    let second = lab.store.create_list(&name, &members, true, &used).unwrap();
    assert_ne!(first, second);
    for name in ["app:1", "app:here", "app:there"] {
        lab.store.remove(name, &removal).unwrap();
    }
    assert!(lab.store.resolve(&first.to_string(), None).is_ok());
    assert!(lab.store.resolve(&second.to_string(), None).is_err());
}
