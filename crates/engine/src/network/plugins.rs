//! The way from networks to the plugins that take part in them.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use hull_network::{PluginError, PluginKind};
use hull_plugin::{Directories, Plugin};
use serde_json::Value;

use crate::config::EngineConfig;

/// How much longer than a plugin's deadline is waited: the deadline itself is held elsewhere.
const SLACK: Duration = Duration::from_secs(10);

/// Finds plugins and waits for their answers.
#[derive(Debug)]
pub(super) struct Way {
    directories: Directories,
    within: Duration,
    runtime: tokio::runtime::Handle,
}

impl Way {
    pub(super) fn of(config: &EngineConfig) -> Arc<dyn hull_network::Plugins> {
        Arc::new(Self {
            directories: config.plugins.clone(),
            within: config.plugin_answers_within,
            runtime: tokio::runtime::Handle::current(),
        })
    }
}

impl hull_network::Plugins for Way {
    fn ask(
        &self,
        name: &str,
        kind: PluginKind,
        question: &'static str,
        body: &Value,
    ) -> Result<Value, PluginError> {
        let (directories, within) = (self.directories.clone(), self.within);
        let (name, body) = (name.to_owned(), body.clone());
        let (answer, answered) = mpsc::sync_channel(1);
        // Whoever asks blocks, and may himself be a thread of the runtime: no `block_on` here.
        self.runtime.spawn(async move {
            let opened = Plugin::open(&name, kind.as_str(), &directories, within).await;
            let outcome = match opened {
                Ok(plugin) => plugin.ask(question, &body).await,
                Err(error) => Err(error),
            };
            // One who waits no longer needs no answer.
            let _ = answer.send(outcome);
        });
        let outcome = answered.recv_timeout(within * 2 + SLACK);
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(hull_plugin::Error::NotFound(_))) => Err(PluginError::NotFound),
            Ok(Err(error)) => Err(PluginError::Failed(error.into())),
            Err(error) => Err(PluginError::Failed(error.into())),
        }
    }
}
