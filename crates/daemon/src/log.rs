//! The daemon's own log, on standard error.

use std::io::{IsTerminal, stderr};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry, filter::filter_fn, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{Config, LogFormat};

/// Changes the level of a log that is being written.
#[derive(Debug, Clone)]
pub(crate) struct LevelSwitch(reload::Handle<LevelFilter, Registry>);

/// Begins to write.
pub(crate) fn start(config: &Config) -> LevelSwitch {
    let (level, handle) = reload::Layer::new(config.log_level);
    let colours = stderr().is_terminal() && !config.switch("raw-logs", false);
    let plain = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(colours);
    let lines = match config.log_format {
        LogFormat::Text => plain.boxed(),
        LogFormat::Json => plain.json().flatten_event(true).boxed(),
    };
    // What a library says to itself, frame by frame, would drown what the daemon says.
    let lines = lines.with_filter(filter_fn(|event| {
        event.target().starts_with("hull") || *event.level() <= Level::INFO
    }));
    // A second start (in tests) keeps the first one's log.
    let _ = tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .try_init();
    LevelSwitch(handle)
}

impl LevelSwitch {
    /// From now on this level.
    pub(crate) fn set(&self, level: LevelFilter) {
        let _ = self.0.reload(level);
    }
}
