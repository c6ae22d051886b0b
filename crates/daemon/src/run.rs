//! The daemon's life: open, serve, listen to signals, end.

use std::{sync::Arc, time::Duration};

use hull_engine::Engine;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    app::App,
    config::{Config, Sources},
    engine_config,
    http::{judges, server, socket},
    log::LevelSwitch,
    metrics, notify,
    pidfile::PidFile,
};

/// How long the engine may take to store what is left: a stop must be over within a second.
const CLOSE_WITHIN: Duration = Duration::from_millis(800);

/// Any failure at the start, for people.
pub(crate) type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Runs until a signal ends it.
pub(crate) async fn run(
    sources: Sources,
    config: Config,
    level: LevelSwitch,
) -> Result<(), StartError> {
    for key in config.without_effect() {
        tracing::info!(option = key, "is accepted, and means nothing here");
    }
    let mut signals = Signals::listen()?;
    let pidfile = PidFile::write(&config.pidfile).await?;
    let engine_config = engine_config::of(&config, sources.shim.clone())?;
    // Clients may knock while the engine opens; they are answered as soon as it has.
    let listeners = socket::open(&config)?;
    let counters = counters(&config)?;
    let engine = Engine::open(engine_config).await?;
    let app = Arc::new(App::new(engine, config));
    judges::check(&app).await?;
    let (stop, stopped) = watch::channel(false);
    for listener in listeners {
        tracing::info!(address = listener.address(), "listening");
        tokio::spawn(server::serve(listener, Arc::clone(&app), stopped.clone()));
    }
    if let Some(listener) = counters {
        tokio::spawn(metrics::serve(listener, Arc::clone(&app), stopped.clone()));
    }
    notify::ready();
    hull_sys::host_process::trim_heaps();
    signals.until_end(&app, &sources, &level).await;
    tracing::info!("stopping; containers go on");
    notify::stopping();
    stop.send_replace(true);
    if tokio::time::timeout(CLOSE_WITHIN, app.engine.close())
        .await
        .is_err()
    {
        tracing::warn!("the engine took too long to close");
    }
    drop(pidfile);
    Ok(())
}

/// The port that `--metrics-addr` asks for.
fn counters(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.metrics else {
        return Ok(None);
    };
    let listener = metrics::open(address)
        .map_err(|error| format!("cannot serve metrics-addr {address}: {error}"))?;
    tracing::info!(%address, "serving counters");
    Ok(Some(listener))
}

/// The signals the daemon listens to.
struct Signals {
    reload: Signal,
    dump: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            dump: signal(SignalKind::user_defined1())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Reloads and dumps on request; returns when the daemon is to end.
    async fn until_end(&mut self, app: &Arc<App>, sources: &Sources, level: &LevelSwitch) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.reload.recv() => reload(app, sources, level).await,
                _ = self.dump.recv() => dump(app),
            }
        }
    }
}

/// Reads the file again. A wrong one changes nothing.
async fn reload(app: &Arc<App>, sources: &Sources, level: &LevelSwitch) {
    match sources.load() {
        Ok(config) => {
            app.reload(config).await;
            level.set(app.config().log_level);
            tracing::info!("the configuration was read again");
        }
        Err(error) => tracing::error!(%error, "the configuration stays as it was"),
    }
}

/// Writes what the daemon is doing to a file, for whoever wonders.
fn dump(app: &App) {
    let containers: Vec<_> = app
        .engine
        .containers()
        .iter()
        .map(|record| {
            serde_json::json!({
                "id": record.id.as_str(),
                "name": record.name.as_str(),
                "state": format!("{:?}", record.state),
                "restarts": record.restarts,
            })
        })
        .collect();
    let state = serde_json::json!({
        "version": crate::VERSION,
        "tasks": app.tasks(),
        "event_listeners": app.listeners(),
        "containers": containers,
    });
    let time = jiff::Timestamp::now().as_second();
    let path = app
        .config()
        .exec_root
        .join(format!("hulld-state-{time}.json"));
    match std::fs::write(&path, format!("{state:#}\n")) {
        Ok(()) => tracing::info!(path = %path.display(), "state written"),
        Err(error) => tracing::error!(%error, path = %path.display(), "cannot write the state"),
    }
}
