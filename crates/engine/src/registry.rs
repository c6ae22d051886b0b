//! Which containers there are, by id, name and prefix. Reads never wait for a container.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    actor::Handle,
    error::{Error, Result},
    model::{ContainerId, ExecId, Name},
};

/// Which containers there are.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    handles: BTreeMap<ContainerId, Arc<Handle>>,
    names: HashMap<Name, ContainerId>,
    execs: HashMap<ExecId, ContainerId>,
}

impl Registry {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container, before there is one under that id.
    pub(crate) fn reserve(&self, name: &Name, id: &ContainerId) -> Result<()> {
        let mut tables = self.write();
        if let Some(owner) = tables.names.get(name) {
            let (name, owner) = (name.to_string(), owner.to_string());
            return Err(Error::NameTaken { name, owner });
        }
        tables.names.insert(name.clone(), id.clone());
        Ok(())
    }

    /// Gives a name back, if it belongs to `id`.
    pub(crate) fn release(&self, name: &Name, id: &ContainerId) {
        let mut tables = self.write();
        if tables.names.get(name) == Some(id) {
            tables.names.remove(name);
        }
    }

    /// Makes a container findable.
    pub(crate) fn insert(&self, handle: Arc<Handle>) {
        self.write().handles.insert(handle.id.clone(), handle);
    }

    /// Makes a container and its names unfindable.
    pub(crate) fn remove(&self, id: &ContainerId) {
        let mut tables = self.write();
        tables.handles.remove(id);
        tables.names.retain(|_, owner| owner != id);
        tables.execs.retain(|_, owner| owner != id);
    }

    /// By full id, name or unique prefix of an id, in this order.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Handle>> {
        let tables = self.read();
        if let Some(id) = ContainerId::parse(reference)
            && let Some(handle) = tables.handles.get(&id)
        {
            return Ok(Arc::clone(handle));
        }
        if let Ok(name) = Name::parse(reference)
            && let Some(handle) = tables
                .names
                .get(&name)
                .and_then(|id| tables.handles.get(id))
        {
            return Ok(Arc::clone(handle));
        }
        let mut found = tables
            .handles
            .iter()
            .filter(|(id, _)| !reference.is_empty() && id.as_str().starts_with(reference));
        match (found.next(), found.next()) {
            (Some((_, handle)), None) => Ok(Arc::clone(handle)),
            (Some(_), Some(_)) => Err(Error::AmbiguousContainer(reference.to_owned())),
            (None, _) => Err(Error::NoSuchContainer(reference.to_owned())),
        }
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.read().handles.values().cloned().collect()
    }

    /// Remembers whose an exec session is.
    pub(crate) fn insert_exec(&self, exec: ExecId, owner: ContainerId) {
        let mut tables = self.write();
        // Its container may be gone by now.
        if tables.handles.contains_key(&owner) {
            tables.execs.insert(exec, owner);
        }
    }

    /// Forgets an exec session.
    pub(crate) fn remove_exec(&self, exec: &ExecId) {
        self.write().execs.remove(exec);
    }

    /// The container of an exec session, by its full id or a unique prefix.
    pub(crate) fn find_exec(&self, reference: &str) -> Result<(ExecId, Arc<Handle>)> {
        let tables = self.read();
        let mut found = tables
            .execs
            .iter()
            .filter(|(id, _)| !reference.is_empty() && id.as_str().starts_with(reference));
        let (Some((exec, owner)), None) = (found.next(), found.next()) else {
            return Err(Error::NoSuchExec(reference.to_owned()));
        };
        let handle = tables.handles.get(owner);
        let handle = handle.ok_or_else(|| Error::NoSuchExec(reference.to_owned()))?;
        Ok((exec.clone(), Arc::clone(handle)))
    }
}
