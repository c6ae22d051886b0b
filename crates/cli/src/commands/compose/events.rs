//! `compose events`

use hull_api::Filters;
use hull_api::types::Event;

use super::project::Scene;
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::time::{api_timestamp, local_microseconds, local_nanoseconds};
use crate::ui;

#[derive(Default)]
pub(crate) struct Events {
    json: bool,
    since: String,
    until: String,
}

impl Command for Events {
    const ABOUT: About = About::new(
        &["compose events"],
        "[OPTIONS] [SERVICE...]",
        "Receive real time events from containers",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Told(
        "One object a line, as they come: time, type, action, id, service and attributes, as Docker's Compose prints them.",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "json",
            "",
            "Output events as a stream of json objects",
            &mut self.json,
        );
        set.add(
            "since",
            "string",
            "Show all events created since timestamp",
            &mut self.since,
        );
        set.add(
            "until",
            "string",
            "Stream events until this timestamp",
            &mut self.until,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &[]).await?;
        let mut filters = Filters::default();
        filters.add("type", "container");
        filters.add(
            "label",
            format!("com.docker.compose.project={}", scene.project.name),
        );
        let moment = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                api_timestamp(text)
            }
        };
        let mut events = scene
            .client
            .events(&moment(&self.since), &moment(&self.until), &filters)
            .await
            .map_err(failure)?;
        while let Some(event) = events.next_item().await {
            let event = event.map_err(failure)?;
            let attributes = &event.actor.attributes;
            let service = attributes
                .get("com.docker.compose.service")
                .cloned()
                .unwrap_or_default();
            if attributes
                .get("com.docker.compose.oneoff")
                .is_some_and(|one_off| one_off == "True")
            {
                continue;
            }
            if call.operands.is_empty() || call.operands.contains(&service) {
                ui::line(&self.text(&event, &service))?;
            }
        }
        Ok(0)
    }
}

impl Events {
    fn text(&self, event: &Event, service: &str) -> String {
        let own: Vec<(&String, &String)> = event
            .actor
            .attributes
            .iter()
            .filter(|(key, _)| !key.starts_with("com.docker.compose."))
            .collect();
        if self.json {
            return serde_json::json!({
                "time": local_nanoseconds(event.time_nano), "type": "container", "service": service,
                "id": event.actor.id, "action": event.action,
                "attributes": own.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            })
            .to_string();
        }
        let attributes: Vec<String> = own
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!(
            "{} container {} {} ({})",
            local_microseconds(event.time_nano),
            event.action,
            event.actor.id,
            attributes.join(", ")
        )
    }
}
