//! The directories of unpacked layers as files: what they take, what is no layer, how one is replaced.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::built::BUILT;
use super::layers::{Layer, Layers, NEW, write_record};
use super::settle::sync;
use crate::account;
use crate::error::{Context as _, Result};

/// Beside a layer: the bytes of disk it takes.
const USAGE: &str = "usage";

impl Layers {
    /// What lies among the layers and is none.
    pub(super) fn foreign(&self) -> Result<Vec<PathBuf>> {
        let what = || format!("list {}", self.dir.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).context(what)? {
            names.push(entry.context(what)?.file_name());
        }
        let layers = self.all();
        let numbers = layers.iter().map(|layer| layer.number);
        let known: HashSet<u64> = numbers.chain(self.all_built()).collect();
        let last = self.lock().last;
        names.retain(|name| {
            let name = name.to_string_lossy();
            let is_known = |name: &str| name.parse().is_ok_and(|number| known.contains(&number));
            // Somebody fills it now: those of an earlier life went away when this one began.
            let is_new = |number: &str| number.parse().is_ok_and(|number: u64| number <= last);
            !is_known(&name) && !name.strip_prefix(NEW).is_some_and(is_new)
        });
        Ok(names.into_iter().map(|name| self.dir.join(name)).collect())
    }

    /// Takes away what is no layer.
    pub(super) fn discard(&self, path: &Path) -> Result<()> {
        self.trash.put(path)
    }

    /// Puts what was unpacked at `new` in the layer's place.
    pub(super) fn replace(&self, layer: &Layer, new: &Path) -> Result<()> {
        let place = self.dir.join(layer.number.to_string());
        write_record(new, &layer.record)?;
        if place.join(BUILT).exists() {
            fs::write(new.join(BUILT), "{}").context(|| format!("complete {}", place.display()))?;
        }
        sync(&self.dir)?;
        // Nobody else completes or removes a layer meanwhile.
        let mut state = self.lock();
        state.changes += 1;
        let what = || format!("complete {}", place.display());
        // At no time is nothing there: containers stand on it.
        match rustix::fs::renameat_with(CWD, new, CWD, &place, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT | Errno::INVAL) => {
                self.trash.put(&place)?;
                fs::rename(new, &place).context(what)
            }
            exchanged => {
                exchanged.context(what)?;
                self.trash.put(new)
            }
        }
    }

    /// Bytes of disk the layer with this number takes, with all that belongs to it. Its files never
    /// change, so they are measured once; what came of it is written beside them.
    pub(super) fn disk(&self, number: u64) -> u64 {
        let place = self.dir.join(number.to_string());
        let files = read_usage(&place).or_else(|| measure(&place).ok());
        let entries = fs::read_dir(&place).into_iter().flatten().flatten();
        let beside = entries
            .filter(|entry| entry.file_name() != "fs")
            .map(|entry| account::allocated_alone(&entry.path()));
        account::allocated_alone(&place) + files.unwrap_or(0) + beside.sum::<u64>()
    }

    /// The numbers of layers that only the build cache knows.
    pub(super) fn only_built(&self) -> Vec<u64> {
        let layers = self.all();
        let named: HashSet<u64> = layers.iter().map(|layer| layer.number).collect();
        let mut built = self.all_built();
        built.retain(|number| !named.contains(number));
        built
    }

    /// Bytes of disk that everything but complete layers takes.
    pub(super) fn frame_bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let others = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().parse::<u64>().is_err()
        });
        let others = others.map(|entry| account::allocated(&entry.path()).unwrap_or(0));
        account::allocated_alone(&self.dir) + others.sum::<u64>()
    }
}

/// What the layer's files take, as it was measured once.
fn read_usage(place: &Path) -> Option<u64> {
    let text = fs::read_to_string(place.join(USAGE)).ok()?;
    text.trim_end().parse().ok()
}

fn measure(place: &Path) -> Result<u64> {
    let bytes = account::allocated(&place.join("fs"))?;
    let path = place.join(USAGE);
    fs::write(&path, format!("{bytes}\n")).context(|| format!("write {}", path.display()))?;
    Ok(bytes)
}
