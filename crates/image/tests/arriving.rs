//! Blobs that arrive piece by piece, and layers unpacked meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read, Write as _};

use hull_image::Error;
use hull_oci::{Descriptor, Digest, ImageConfig, Manifest, RootFs, media_type};
use support::{Lab, Tar};

fn layer(name: &str) -> Vec<u8> {
    Tar::new()
        .dir("etc/")
        .file(&format!("etc/{name}"), &[b'x'; 100_000])
        .end()
}

fn image(layers: &[&Vec<u8>]) -> (Manifest, ImageConfig) {
    let config = ImageConfig {
        rootfs: RootFs {
            diff_ids: layers.iter().map(|layer| Digest::of(layer)).collect(),
            ..RootFs::default()
        },
        ..ImageConfig::default()
    };
    let describe = |layer: &&Vec<u8>| Descriptor::of(media_type::LAYER, layer);
    let layers = layers.iter().map(describe).collect();
    (
        Manifest::new(Descriptor::of(media_type::CONFIG, b"{}"), layers),
        config,
    )
}

#[test]
fn what_arrived_is_kept_for_the_next_attempt() {
    let mut lab = Lab::new();
    let bytes = layer("a");
    let digest = Digest::of(&bytes);
    let lease = lab.store.lease();
    let mut first = lab.store.resume_blob(&lease, &digest).unwrap().unwrap();
    first.write_all(&bytes[..5000]).unwrap();
    assert!(
        lab.store.resume_blob(&lease, &digest).unwrap().is_none(),
        "one at a time"
    );
    drop(first);
    lab.reopen();
    let mut second = lab.store.resume_blob(&lease, &digest).unwrap().unwrap();
    assert_eq!(second.arrived(), 5000);
    second.write_all(&bytes[5000..]).unwrap();
    assert!(!lab.store.has_blob(&digest));
    assert_eq!(second.commit().unwrap(), bytes.len() as u64);
    assert!(lab.store.has_blob(&digest));
}

#[test]
fn a_blob_that_came_by_another_way_stays() {
    use std::os::unix::fs::MetadataExt as _;
    let lab = Lab::new();
    let bytes = layer("a");
    let digest = Digest::of(&bytes);
    let lease = lab.store.lease();
    let mut slow = lab.store.resume_blob(&lease, &digest).unwrap().unwrap();
    slow.write_all(&bytes).unwrap();
    let mut arriving = slow.reader().unwrap();
    let mut quick = lab.store.write_blob(&lease, &digest).unwrap();
    quick.write_all(&bytes).unwrap();
    quick.commit().unwrap();
    let inode = || {
        lab.store
            .open_blob(&digest)
            .unwrap()
            .metadata()
            .unwrap()
            .ino()
    };
    let before = inode();
    assert_eq!(slow.commit().unwrap(), bytes.len() as u64);
    assert_eq!(inode(), before, "the disk may have that one");
    let mut read = Vec::new();
    arriving.read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    let left = std::fs::read_dir(lab.path("image/partial")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_wrong_digest_is_refused_and_not_gone_on_with() {
    let lab = Lab::new();
    let digest = Digest::of(b"right");
    let lease = lab.store.lease();
    let mut partial = lab.store.resume_blob(&lease, &digest).unwrap().unwrap();
    let mut reader = partial.reader().unwrap();
    partial.write_all(b"wrong").unwrap();
    assert!(matches!(partial.commit(), Err(Error::Mismatch { .. })));
    let mut seen = Vec::new();
    let error = reader.read_to_end(&mut seen).unwrap_err();
    assert!(error.to_string().contains("digest mismatch"), "{error}");
    assert!(!lab.store.has_blob(&digest));
    let next = lab.store.resume_blob(&lease, &digest).unwrap().unwrap();
    assert_eq!(next.arrived(), 0);
}

#[test]
fn layers_are_unpacked_while_they_arrive() {
    let lab = Lab::new();
    let layers = [layer("a"), layer("b"), layer("c")];
    let (manifest, config) = image(&layers.iter().collect::<Vec<_>>());
    let lease = lab.store.lease();
    let partials: Vec<_> = layers
        .iter()
        .map(|bytes| {
            lab.store
                .resume_blob(&lease, &Digest::of(bytes))
                .unwrap()
                .unwrap()
        })
        .collect();
    let readers: Vec<_> = partials
        .iter()
        .map(|partial| std::sync::Mutex::new(partial.reader().ok()))
        .collect();
    let directories = std::thread::scope(|scope| {
        // The last layer comes first.
        scope.spawn(|| {
            for (mut partial, bytes) in partials.into_iter().zip(&layers).rev() {
                bytes
                    .chunks(7000)
                    .for_each(|piece| partial.write_all(piece).unwrap());
                partial.commit().unwrap();
            }
        });
        let arriving =
            |descriptor: &Descriptor| -> hull_image::Result<Option<Box<dyn Read + Send>>> {
                let at = layers
                    .iter()
                    .position(|bytes| Digest::of(bytes) == descriptor.digest)
                    .unwrap();
                Ok(readers[at]
                    .lock()
                    .unwrap()
                    .take()
                    .map(|reader| Box::new(reader) as _))
            };
        lab.store
            .unpack(&lease, &manifest, &config, &arriving, &mut |_| {})
            .unwrap()
    });
    assert_eq!(directories.len(), 3);
    assert!(directories[2].join("etc/c").exists());
}

#[test]
fn a_transfer_that_breaks_off_leaves_no_layer() {
    let lab = Lab::new();
    let bytes = layer("a");
    let (manifest, config) = image(&[&bytes]);
    let lease = lab.store.lease();
    let mut partial = lab
        .store
        .resume_blob(&lease, &Digest::of(&bytes))
        .unwrap()
        .unwrap();
    partial.write_all(&bytes[..bytes.len() - 1]).unwrap();
    let reader = std::sync::Mutex::new(partial.reader().ok());
    let arriving = |_: &Descriptor| -> hull_image::Result<Option<Box<dyn Read + Send>>> {
        Ok(reader
            .lock()
            .unwrap()
            .take()
            .map(|reader| Box::new(reader) as _))
    };
    drop(partial);
    let error = lab
        .store
        .unpack(&lease, &manifest, &config, &arriving, &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, Error::Interrupted(_)), "{error}");
    let left = std::fs::read_dir(lab.path("layers")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn images_with_the_same_layers_in_other_orders_do_not_wait_for_one_another() {
    let lab = Lab::new();
    // Files below a directory that is not described: such a layer needs those below it.
    let bare = |name: &str| Tar::new().file(&format!("etc/{name}"), b"x").end();
    let layers = [layer("a"), bare("b"), bare("c"), bare("d")];
    let lease = lab.store.lease();
    for bytes in &layers {
        let mut partial = lab
            .store
            .resume_blob(&lease, &Digest::of(bytes))
            .unwrap()
            .unwrap();
        partial.write_all(bytes).unwrap();
        partial.commit().unwrap();
    }
    std::thread::scope(|scope| {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            let (lab, layers) = (&lab, &layers);
            scope.spawn(move || {
                let (manifest, config) = image(&order.map(|at| &layers[at]));
                let lease = lab.store.lease();
                let nothing = |_: &Descriptor| Ok(None);
                let directories = lab
                    .store
                    .unpack(&lease, &manifest, &config, &nothing, &mut |_| {})
                    .unwrap();
                assert_eq!(directories.len(), 4);
            });
        }
    });
}
