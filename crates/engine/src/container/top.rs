//! The processes of a container.

use std::sync::Arc;

use crate::{
    Engine,
    error::{Error, Result},
    state::Command,
    top::{Table, top},
};

impl Engine {
    /// The processes of a container, as `ps` with these arguments shows them. Nothing of the image
    /// is run.
    pub async fn top(&self, reference: &str, arguments: &str) -> Result<Table> {
        let record = self.find(reference)?.record();
        if record.state.permits(Command::Kill).is_err() {
            let id = &record.id;
            return Err(Error::State(match record.state.word() {
                "restarting" => {
                    format!("Container {id} is restarting, wait until the container is running")
                }
                _ => format!("container {id} is not running"),
            }));
        }
        let (services, arguments) = (Arc::clone(self.services()), arguments.to_owned());
        self.services()
            .block(move || {
                let pids = services.cgroup_of(&record)?.processes()?;
                top(&pids, &arguments).map_err(|error| Error::Invalid(error.to_string()))
            })
            .await?
    }
}
