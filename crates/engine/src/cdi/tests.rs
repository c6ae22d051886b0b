use super::*;

const VENDOR: &str = r#"
cdiVersion: 0.6.0
kind: vendor.com/device
annotations: {org.mobyproject.buildkit.device.class: small}
containerEdits:
  env: ["ALL=1"]
devices:
- name: 0
  annotations:
    org.mobyproject.buildkit.device.autoallow: "true"
  containerEdits:
    deviceNodes:
    - path: /dev/vendor0
      hostPath: /dev/null
      fileMode: 0660
- name: "one"
  containerEdits:
    mounts:
    - {hostPath: /usr/lib/vendor, containerPath: /opt/vendor, options: [ro, nosuid, bind]}
    hooks:
    - hookName: createContainer
      path: /usr/bin/vendor-hook
      args: [vendor-hook, --all]
    additionalGids: [44]
"#;

/// Directories with these files, each `directory/name` and its text.
fn catalogue(files: &[(&str, &str)]) -> (tempfile::TempDir, Catalogue) {
    let root = tempfile::tempdir().unwrap();
    let directories = ["low", "high"].map(|name| root.path().join(name));
    for directory in &directories {
        fs::create_dir(directory).unwrap();
    }
    for (path, text) in files {
        fs::write(root.path().join(path), text).unwrap();
    }
    let catalogue = Catalogue::read(&directories);
    (root, catalogue)
}

fn names(list: Vec<Listed>) -> Vec<String> {
    list.into_iter().map(|listed| listed.name).collect()
}

fn edits(catalogue: &Catalogue, name: &str) -> Vec<ContainerEdits> {
    catalogue.resolve(&[name.to_owned()]).unwrap().0
}

#[test]
fn a_file_s_own_edits_come_once_and_first() {
    let (_root, catalogue) = catalogue(&[("low/vendor.yaml", VENDOR)]);
    assert_eq!(catalogue.problems, [""; 0]);
    let both = [
        "vendor.com/device=one",
        "vendor.com/device=0",
        "vendor.com/device=one",
    ];
    let Edits(edits) = catalogue.resolve(&both.map(str::to_owned)).unwrap();
    let [all, one, zero] = &edits[..] else {
        panic!("{edits:?}");
    };
    assert_eq!(all.env, ["ALL=1"]);
    assert_eq!(one.additional_gids, [44]);
    assert_eq!(one.mounts[0].options, ["ro", "nosuid", "bind"]);
    assert_eq!(one.hooks[0].hook_name, HookName::CreateContainer);
    assert_eq!(zero.device_nodes[0].file_mode, Some(0o660));
}

#[test]
fn a_later_directory_wins_and_equals_are_contested() {
    let json = |value: &str| {
        format!(
            r#"{{"cdiVersion":"1.0.0","kind":"v.com/d","devices":[{{"name":"x","containerEdits":{{"env":["FROM={value}"]}}}}]}}"#
        )
    };
    let (low, high) = (json("low"), json("high"));
    let (_root, won) = catalogue(&[("low/a.json", &low), ("high/a.json", &high)]);
    assert_eq!(edits(&won, "v.com/d=x")[1].env, ["FROM=high"]);
    let (_root, contested) = catalogue(&[("low/a.json", &low), ("low/b.json", &high)]);
    let error = contested.resolve(&["v.com/d=x".to_owned()]).unwrap_err();
    assert!(
        error.to_string().contains("b.json both describe v.com/d=x"),
        "{error}"
    );
    let (_root, settled) = catalogue(&[
        ("low/a.json", &low),
        ("low/b.json", &low),
        ("high/a.json", &high),
    ]);
    assert_eq!(edits(&settled, "v.com/d=x")[1].env, ["FROM=high"]);
}

#[test]
fn what_is_missing_or_broken_is_named_with_what_there_is() {
    let (_root, catalogue) = catalogue(&[
        ("low/vendor.yaml", VENDOR),
        ("low/broken.json", "{"),
        (
            "low/new.yaml",
            "cdiVersion: 1.0.0\nkind: v.com/d\nsurprise: 1\n",
        ),
        ("low/ignored.txt", "nothing"),
    ]);
    let text = catalogue
        .resolve(&["v.com/d=x".to_owned()])
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("CDI device injection failed: unresolvable CDI devices v.com/d=x (described are vendor.com/device=0, vendor.com/device=one: "),
        "{text}"
    );
    assert!(text.contains("broken.json: EOF while parsing"), "{text}");
    assert!(
        text.contains("new.yaml: unknown field `surprise`"),
        "{text}"
    );
    assert!(!text.contains("ignored"), "{text}");
}

#[test]
fn what_cannot_be_done_makes_a_file_worthless() {
    let with = |edits: &str| {
        let text = format!("cdiVersion: 0.7.0\nkind: v.com/d\ncontainerEdits: {edits}\n");
        file::parse(&text, false).unwrap_err()
    };
    for (edits, complaint) in [
        ("{env: [NAME]}", "invalid variable"),
        ("{deviceNodes: [{path: dev/x}]}", "must be absolute"),
        ("{deviceNodes: [{path: /dev/x, type: q}]}", "unknown type"),
        (
            "{deviceNodes: [{path: /dev/x, permissions: rq}]}",
            "invalid permissions",
        ),
        ("{mounts: [{containerPath: /x}]}", "has no hostPath"),
        (
            "{hooks: [{hookName: poststop, path: /bin/true}]}",
            "are not run here",
        ),
        (
            "{hooks: [{hookName: whenever, path: /bin/true}]}",
            "unknown variant",
        ),
        ("{intelRdt: {}}", "intelRdt"),
        ("&anchor {env: *anchor}", "aliases"),
    ] {
        let text = with(edits);
        assert!(text.contains(complaint), "{edits}: {text}");
    }
    for text in [
        "",
        "cdiVersion: 9.0.0\nkind: v.com/d\n",
        "cdiVersion: 0.5.0\nkind: nothing\n",
    ] {
        assert!(file::parse(text, false).is_err(), "{text}");
    }
}

#[test]
fn builds_name_devices_by_kind_by_class_and_all_at_once() {
    let (_root, catalogue) = catalogue(&[("low/vendor.yaml", VENDOR)]);
    let matching = |wish: &str| names(catalogue.matching(wish).unwrap());
    let (zero, one) = ("vendor.com/device=0", "vendor.com/device=one");
    assert_eq!(matching("vendor.com/device"), [zero]);
    assert_eq!(matching("vendor.com/device=one"), [one]);
    assert_eq!(matching("vendor.com/device=*"), [zero, one]);
    assert_eq!(matching("vendor.com/device=small"), [zero, one]);
    assert_eq!(matching("vendor.com/device=two"), [""; 0]);
    assert!(catalogue.matching("small").is_err());
    let allowed: Vec<bool> = catalogue.list().iter().map(|one| one.auto_allow).collect();
    assert_eq!(allowed, [true, false]);
}

#[test]
fn requests_for_graphics_processors_are_served_by_a_vendor_s_file() {
    let text = VENDOR.replace("vendor.com/device", "nvidia.com/gpu");
    let (_root, catalogue) = catalogue(&[("low/nvidia.yaml", &text)]);
    let request = |driver: &str, count, ids: &[&str]| {
        let request = DeviceRequest {
            driver: driver.to_owned(),
            count,
            device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            capabilities: vec![vec!["gpu".to_owned()]],
            ..DeviceRequest::default()
        };
        catalogue.named(&request).map_err(|error| error.to_string())
    };
    let (zero, one) = (
        "nvidia.com/gpu=0".to_owned(),
        "nvidia.com/gpu=one".to_owned(),
    );
    assert_eq!(request("", -1, &[]), Ok(vec![zero.clone(), one.clone()]));
    assert_eq!(request("nvidia", 1, &[]), Ok(vec![zero.clone()]));
    assert_eq!(request("", 0, &["one"]), Ok(vec![one]));
    assert_eq!(request("cdi", 0, &["nvidia.com/gpu=0"]), Ok(vec![zero]));
    assert_eq!(
        request("cdi", 2, &["nvidia.com/gpu=0"]).unwrap_err(),
        "unexpected count in CDI device request"
    );
    assert_eq!(
        request("other", 1, &[]).unwrap_err(),
        "could not select device driver \"other\" with capabilities: [[gpu]]"
    );
}
