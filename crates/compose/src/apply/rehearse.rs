//! What `up` would do, told as if it were done. The client sends nothing that changes something; what
//! would be started does not exist, so it is told from the plan.

use super::graph::{self, Order};
use super::{Engine, Result, UpOptions};
use crate::plan::{Plan, Step};

impl Engine<'_> {
    /// Tells what bringing the project up would do, step by step.
    ///
    /// # Errors
    /// When the daemon cannot be asked, or the project cannot be had.
    pub async fn rehearse_up(&self, options: &UpOptions) -> Result<()> {
        let (plan, _) = self.difference(&options.wishes).await?;
        self.create_all(options).await?;
        self.rehearse_start(&plan).await
    }

    async fn rehearse_start(&self, plan: &Plan) -> Result<()> {
        let before = graph::of_project(self.project, Order::DependenciesFirst);
        graph::walk(before, self.parallel, |service| async move {
            for step in plan.services.get(&service).into_iter().flatten() {
                let name = match step {
                    Step::Create { name, .. } => name.as_str(),
                    Step::Recreate { old, .. } => old.name(),
                    Step::Keep(kept) | Step::Rename { old: kept, .. } if !kept.is_running() => {
                        kept.name()
                    }
                    Step::Keep(_) | Step::Rename { .. } | Step::Remove { .. } => continue,
                };
                let what = format!("Container {name}");
                self.working(&what, "Starting");
                self.done(&what, "Started");
            }
            Ok(())
        })
        .await
    }
}
