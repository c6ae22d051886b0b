//! Layers and images that are made here, not loaded.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use hull_image::store::{LayerCompression, PackOptions, Removal};
use hull_oci::{Digest, ImageConfig, Platform, RootFs};
use support::Lab;

fn config(diff_ids: Vec<Digest>) -> ImageConfig {
    let host = Platform::host();
    ImageConfig {
        architecture: host.architecture,
        os: host.os,
        rootfs: RootFs {
            diff_ids,
            ..RootFs::default()
        },
        ..ImageConfig::default()
    }
}

#[test]
fn layers_become_images_for_several_platforms() {
    let lab = Lab::new();
    let lease = lab.store.lease();
    let tree = lab.path("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("file"), "content").unwrap();
    let layer = lab
        .store
        .pack_layer(&lease, &tree, &PackOptions::default())
        .unwrap()
        .unwrap();
    let mut members = Vec::new();
    for architecture in ["amd64", "arm64", "riscv64"] {
        let mut config = config(vec![layer.diff_id.clone()]);
        config.architecture = architecture.into();
        let layers = vec![layer.descriptor.clone()];
        members.push(lab.store.put_image(&lease, &config, layers).unwrap());
    }
    let index = lab.store.put_index(&lease, members.clone()).unwrap();
    let name = "made:1".parse().unwrap();
    lab.store.publish(Some(&name), index.clone(), None).unwrap();
    drop(lease);
    lab.store.collect_garbage().unwrap();
    let details = lab
        .store
        .inspect("made:1", Some(&"linux/riscv64".parse().unwrap()))
        .unwrap();
    assert_eq!(
        (details.id, details.manifest),
        (index.digest, members[2].digest.clone())
    );
    assert_eq!(details.manifests.len(), 3);
    let image = lab
        .store
        .resolve("made:1", Some(&"linux/arm64".parse().unwrap()))
        .unwrap();
    assert_eq!(
        std::fs::read(image.layers[0].join("file")).unwrap(),
        b"content"
    );
}

#[test]
fn equal_trees_make_equal_layers_in_every_compression() {
    let lab = Lab::new();
    let lease = lab.store.lease();
    let mut packed = Vec::new();
    for name in ["one", "two"] {
        let tree = lab.path(name);
        std::fs::create_dir_all(tree.join("sub")).unwrap();
        std::fs::write(tree.join("sub/b"), "b").unwrap();
        std::fs::write(tree.join("a"), "a").unwrap();
        for compression in [
            LayerCompression::Gzip,
            LayerCompression::Zstd,
            LayerCompression::None,
        ] {
            let options = PackOptions {
                compression,
                mtime_max: Some(1_000_000_000),
            };
            let layer = lab.store.pack_layer(&lease, &tree, &options).unwrap();
            packed.push(layer.unwrap());
        }
    }
    assert_eq!(packed[..3], packed[3..]);
    for layer in &packed[..3] {
        let directories = lab
            .store
            .unpack_layers(
                &lease,
                std::slice::from_ref(&layer.descriptor),
                std::slice::from_ref(&layer.diff_id),
                &|_| Ok(None),
                &mut |_| {},
            )
            .unwrap();
        assert_eq!(support::tree(&directories[0]), ["a", "sub", "sub/b"]);
    }
    std::fs::create_dir(lab.path("empty")).unwrap();
    let nothing = lab
        .store
        .pack_layer(&lease, &lab.path("empty"), &PackOptions::default());
    assert_eq!(nothing.unwrap(), None);
}

#[test]
fn what_somebody_held_when_it_became_nobody_s_goes_once_they_let_go() {
    let lab = Lab::new();
    let lease = lab.store.lease();
    let image = lab
        .store
        .put_image(&lease, &config(Vec::new()), Vec::new())
        .unwrap();
    let name = "made:1".parse().unwrap();
    lab.store.publish(Some(&name), image, None).unwrap();
    let before = lab.blob_count();
    let removal = Removal {
        force: true,
        users: &|_| Vec::new(),
    };
    lab.store.remove("made:1", &removal).unwrap();
    assert_eq!(lab.blob_count(), before, "it is held");
    drop(lease);
    assert!(lab.store.collect_spared().unwrap() > 0);
    assert_eq!(lab.blob_count(), 0);
    assert_eq!(lab.store.collect_spared().unwrap(), 0);
}
