//! What there is to show, as it comes.

use std::time::Duration;

use hull_api::Client;
use hull_api::client::{ContainerListOptions, LogsOptions};
use hull_api::stream::FrameReader;
use hull_api::types::ContainerSummary;
use tokio::sync::mpsc;

use crate::commands::container::stats::Figures;
use crate::connection::failure;
use crate::error::Error;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Items that wait to be shown.
const QUEUE: usize = 64;
/// Lines of a log.
const LINES: &str = "200";

/// An item.
pub(super) enum News {
    Listed(Vec<ContainerSummary>),
    Measured(Box<Figures>),
    /// The daemon is gone.
    Lost(Error),
}

/// Looks until nobody listens.
pub(super) fn begin(client: &Client) -> mpsc::Receiver<News> {
    let (sender, news) = mpsc::channel(QUEUE);
    tokio::spawn(look(client.clone(), sender));
    news
}

async fn look(client: Client, news: mpsc::Sender<News>) {
    let options = ContainerListOptions {
        all: true,
        ..ContainerListOptions::default()
    };
    let mut clock = tokio::time::interval(PERIOD);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let containers = match client.containers(&options).await {
            Ok(containers) => containers,
            Err(error) => {
                _ = news.send(News::Lost(failure(error))).await;
                return;
            }
        };
        for container in containers
            .iter()
            .filter(|container| container.state == "running")
        {
            tokio::spawn(measure(client.clone(), container.id.clone(), news.clone()));
        }
        if news.send(News::Listed(containers)).await.is_err() {
            return;
        }
    }
}

/// One sample; a container that ended meanwhile has none.
async fn measure(client: Client, id: String, news: mpsc::Sender<News>) {
    if let Ok(mut samples) = client.container_stats(&id, false, false).await
        && let Some(Ok(sample)) = samples.next_item().await
    {
        _ = news
            .send(News::Measured(Box::new(Figures::of(&id, &sample))))
            .await;
    }
}

/// What a container wrote last.
pub(super) async fn last_lines(client: &Client, id: &str) -> Vec<String> {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: LINES.to_owned(),
        ..LogsOptions::default()
    };
    let (Ok(container), Ok(mut stream)) = (
        client.container(id).await,
        client.container_logs(id, &options).await,
    ) else {
        return vec!["(its log cannot be read)".to_owned()];
    };
    let mut frames = FrameReader::new();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = stream.next_piece().await {
        if container.config.tty {
            bytes.extend_from_slice(&piece);
            continue;
        }
        frames.push(&piece);
        while let Ok(Some(frame)) = frames.next_frame() {
            bytes.extend_from_slice(&frame.bytes);
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let plain = |line: &str| line.chars().filter(|letter| !letter.is_control()).collect();
    text.lines().map(plain).collect()
}
