//! `container stats`: a live table, or one sample.

mod figures;

use std::collections::BTreeMap;
use std::time::Duration;

use hull_api::client::ContainerListOptions;
use hull_api::{Client, Filters};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(in crate::commands) use self::figures::FIELDS;
pub(super) use self::figures::Figures;
use self::figures::{HEADINGS, TABLE};
use super::ls::FORMAT;
use crate::commands::json::{self, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::Listing;
use crate::settings::Settings;
use crate::ui;

/// How often the table is drawn.
const PERIOD: Duration = Duration::from_millis(500);
/// Samples that wait to be shown.
const QUEUE: usize = 64;

#[derive(Default)]
pub(crate) struct Stats {
    all: bool,
    format: String,
    no_stream: bool,
    no_trunc: bool,
}

impl Command for Stats {
    const ABOUT: About = About::new(
        &["container stats", "stats"],
        "[OPTIONS] [CONTAINER...]",
        "Display a live stream of container(s) resource usage statistics",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Lines(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Show all containers (default shows just running)", &mut self.all);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("no-stream", "", "Disable streaming stats and only pull the first result", &mut self.no_stream);
        set.add("no-trunc", "", "Do not truncate output", &mut self.no_trunc);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.format.is_empty() && !call.json {
            self.format = Settings::read(&call.globals.config_directory).stats_format;
        }
        self.listing().render(&[])?;
        let client = connect(&call.globals).await?;
        let names = match call.operands.is_empty() {
            true => self.listed(&client).await?,
            false => call.operands.clone(),
        };
        if self.no_stream {
            self.once(&client, names, &call).await
        } else {
            self.live(&client, &call, names).await
        }
    }
}

/// What arrives while the table lives.
enum News {
    Figures(String, Box<Figures>),
    Gone(String, Option<Error>),
    Come(String),
    /// The daemon tells no more, or broke off.
    Over(Option<Error>),
}

impl Stats {
    fn listing(&self) -> Listing<'_> {
        Listing {
            format: &self.format,
            table: TABLE,
            headings: &HEADINGS,
        }
    }

    async fn listed(&self, client: &Client) -> Result<Vec<String>> {
        let options = ContainerListOptions {
            all: self.all,
            ..ContainerListOptions::default()
        };
        let containers = client.containers(&options).await.map_err(failure)?;
        Ok(containers
            .into_iter()
            .map(|container| container.id)
            .collect())
    }

    fn text(&self, shown: &[Figures]) -> Result<String> {
        let rows: Vec<_> = shown
            .iter()
            .map(|figures| figures.row(self.no_trunc))
            .collect();
        self.listing().shown(&rows, self.no_trunc)
    }

    async fn once(&self, client: &Client, names: Vec<String>, call: &Call) -> Result<u8> {
        let tasks: Vec<_> = names
            .into_iter()
            .map(|name| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut samples = client
                        .container_stats(&name, false, false)
                        .await
                        .map_err(failure)?;
                    match samples.next_item().await {
                        Some(sample) => Ok(Figures::of(&name, &sample.map_err(failure)?)),
                        None => Ok(Figures::unknown(&name)),
                    }
                })
            })
            .collect();
        let mut shown = Vec::new();
        let (mut failures, mut hints) = (Vec::new(), Vec::new());
        for task in tasks {
            let figures = task.await.map_err(|error| Error::new(error.to_string()));
            match figures.and_then(|figures| figures) {
                Ok(figures) => shown.push(figures),
                Err(error) => {
                    hints.extend(error.hint().map(str::to_owned));
                    failures.push(error.message().to_owned());
                }
            }
        }
        // As Docker has it, one of those named that is missing is told alone; of all, one may just have
        // gone.
        let named = !call.operands.is_empty();
        if !failures.is_empty() && (named || shown.is_empty()) {
            return Err(Error::new(failures.join("\n")).with_hints(&hints));
        }
        if call.json {
            for figures in &shown {
                json::object(&figures.record())?;
            }
        } else {
            ui::out(&self.text(&shown)?)?;
        }
        Ok(0)
    }

    async fn live(&self, client: &Client, call: &Call, names: Vec<String>) -> Result<u8> {
        let (sender, mut news) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let mut order = names.clone();
        let mut figures: BTreeMap<String, Figures> = BTreeMap::new();
        for name in names {
            figures.insert(name.clone(), Figures::unknown(&name));
            tasks.spawn(follow(client.clone(), name, sender.clone()));
        }
        let named = !call.operands.is_empty();
        if !named {
            tasks.spawn(arrivals(client.clone(), sender.clone()));
        }
        let mut clock = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                Some(item) = news.recv() => match item {
                    News::Figures(_, sample) if call.json => _ = json::object(&sample.record())?,
                    News::Figures(name, sample) => _ = figures.insert(name, *sample),
                    News::Gone(_, Some(error)) if named => return Err(error),
                    News::Gone(name, _) => {
                        order.retain(|known| *known != name);
                        figures.remove(&name);
                        if named && order.is_empty() {
                            return Ok(0);
                        }
                    }
                    News::Come(name) if !order.contains(&name) => {
                        order.push(name.clone());
                        figures.insert(name.clone(), Figures::unknown(&name));
                        tasks.spawn(follow(client.clone(), name, sender.clone()));
                    }
                    News::Come(_) => {}
                    News::Over(None) => return Ok(0),
                    News::Over(Some(error)) => return Err(error),
                },
                _ = clock.tick(), if !call.json => {
                    let shown: Vec<Figures> = order.iter().filter_map(|name| figures.get(name).cloned()).collect();
                    draw(&self.text(&shown)?)?;
                }
            }
        }
    }
}

/// Draws over what was drawn before.
fn draw(text: &str) -> Result<()> {
    if !ui::out_is_terminal() {
        return ui::out(text);
    }
    ui::out(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")))
}

async fn follow(client: Client, name: String, news: mpsc::Sender<News>) {
    let result = match client.container_stats(&name, true, false).await {
        Err(error) => Some(failure(error)),
        Ok(mut samples) => loop {
            match samples.next_item().await {
                None => break None,
                Some(Err(error)) => break Some(failure(error)),
                Some(Ok(sample)) => {
                    let figures = Box::new(Figures::of(&name, &sample));
                    if news
                        .send(News::Figures(name.clone(), figures))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        },
    };
    _ = news.send(News::Gone(name, result)).await;
}

/// Tells of containers that start, and of those that end.
async fn arrivals(client: Client, news: mpsc::Sender<News>) {
    let mut wanted = Filters::default();
    wanted.add("type", "container");
    wanted.add("event", "start");
    wanted.add("event", "die");
    let mut events = match client.events("", "", &wanted).await {
        Ok(events) => events,
        Err(error) => {
            _ = news.send(News::Over(Some(failure(error)))).await;
            return;
        }
    };
    let ended = loop {
        let item = match events.next_item().await {
            None => break None,
            Some(Err(error)) => break Some(failure(error)),
            Some(Ok(event)) if event.action == "start" => News::Come(event.actor.id),
            Some(Ok(event)) => News::Gone(event.actor.id, None),
        };
        if news.send(item).await.is_err() {
            return;
        }
    };
    _ = news.send(News::Over(ended)).await;
}
