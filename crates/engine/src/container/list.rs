//! All containers, newest first.

use std::sync::Arc;

use crate::{Engine, record::Record};

impl Engine {
    /// All containers as they are now, newest first; not those of builds. Waits for none of them.
    pub fn containers(&self) -> Vec<Arc<Record>> {
        let mut records: Vec<_> = self
            .services()
            .registry
            .all()
            .iter()
            .map(|handle| handle.record())
            .filter(|record| !record.is_build_step)
            .collect();
        records.sort_by(|a, b| b.created_at_ns.cmp(&a.created_at_ns).then(a.id.cmp(&b.id)));
        records
    }
}
