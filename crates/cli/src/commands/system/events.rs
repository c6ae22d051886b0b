//! `system events`

use hull_api::types::Event;

use crate::commands::filters::{Conditions, filters};
use crate::commands::inspection::FORMAT;
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::{EXIT_BAD_FORMAT, parse_for};
use crate::format::template::{Template, Value};
use crate::format::time::{api_timestamp, local_nanoseconds};
use crate::ui;

#[derive(Default)]
pub(crate) struct Events {
    conditions: Conditions,
    format: String,
    since: String,
    until: String,
}

impl Command for Events {
    const ABOUT: About = About::new(
        &["system events", "events"],
        "[OPTIONS]",
        "Get real time events from the server",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One object a line, as they come: EventMessage of the Engine API; time is seconds and timeNano nanoseconds since the epoch.",
    ));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,filter", "filter", "Filter output based on conditions provided", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("since", "string", "Show all events created since timestamp", &mut self.since);
        set.add("until", "string", "Stream events until this timestamp", &mut self.until);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let template = match self.format.as_str() {
            "" => None,
            "json" => Some(parse_for("Error parsing format: ", "{{json .}}")?),
            text => Some(parse_for("Error parsing format: ", text)?),
        };
        if let Some(template) = &template {
            check(template)?;
        }
        let moment = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                api_timestamp(text)
            }
        };
        let client = connect(&call.globals).await?;
        let mut events = client
            .events(
                &moment(&self.since),
                &moment(&self.until),
                &filters(&self.conditions),
            )
            .await
            .map_err(|error| match error.to_string() {
                // Docker's client reads times itself.
                text if text.starts_with("failed to parse value as time") => Error::new(text),
                _ => failure(error),
            })?;
        while let Some(event) = events.next_item().await {
            let event = event.map_err(failure)?;
            let line = match &template {
                None => plain(&event),
                Some(template) => formatted(template, &event)?,
            };
            ui::line(&line)?;
        }
        Ok(0)
    }
}

/// Tries a template on an event with nothing in it, before any is waited for.
fn check(template: &Template) -> Result<()> {
    formatted(template, &Event::default())
        .map(drop)
        .map_err(|error| {
            let mut text = error.message().to_owned();
            if let Some((before, name)) = text.split_once("map has no entry for key ") {
                let name = name.trim_matches('"');
                text = format!("{before}can't evaluate field {name} in type *events.Message");
            }
            Error::new(format!("Error parsing format: {text}")).with_code(EXIT_BAD_FORMAT)
        })
}

fn formatted(template: &Template, event: &Event) -> Result<String> {
    let mut json = serde_json::to_value(event).unwrap_or_default();
    let value = Value::from_json(&json.to_string()).unwrap_or_default();
    template.render(&value).or_else(|error| {
        // What only containers and images have is empty with others, and in no JSON of theirs.
        for (name, shown) in [("id", "ID"), ("status", "Status"), ("from", "From")] {
            if json.get(name).is_none() {
                json[shown] = "".into();
            }
        }
        let value = Value::from_json(&json.to_string()).unwrap_or_default();
        template
            .render(&value)
            .map_err(|_| Error::new(error.to_string()))
    })
}

/// `2024-05-30T12:07:14.000000000Z container start 4f… (image=busybox, name=x)`
fn plain(event: &Event) -> String {
    let nanoseconds = match event.time_nano {
        0 => event.time.saturating_mul(1_000_000_000),
        nanoseconds => nanoseconds,
    };
    let time = local_nanoseconds(nanoseconds);
    let mut line = format!("{time} {} {} {}", event.kind, event.action, event.actor.id);
    if !event.actor.attributes.is_empty() {
        let pairs = event
            .actor
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        line.push_str(&format!(" ({})", pairs.collect::<Vec<_>>().join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let mut event = Event {
            kind: "container".into(),
            action: "start".into(),
            time: 1_717_070_834,
            time_nano: 1_717_070_834_000_000_005,
            ..Event::default()
        };
        event.actor.id = "abc".into();
        event.actor.attributes.insert("name".into(), "x".into());
        event
            .actor
            .attributes
            .insert("image".into(), "busybox".into());
        let line = plain(&event);
        assert!(
            line.ends_with(" container start abc (image=busybox, name=x)"),
            "{line}"
        );
        assert!(line.contains(".000000005"), "{line}");
        let render = |text| formatted(&Template::parse(text).unwrap(), &event).unwrap();
        let refused = check(&Template::parse("{{.Nope}}").unwrap()).unwrap_err();
        assert!(
            refused
                .message()
                .ends_with("can't evaluate field Nope in type *events.Message")
        );
        assert!(check(&Template::parse("{{.Actor.Attributes.name}}{{.Status}}").unwrap()).is_ok());
        assert_eq!(
            render("{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Time}}"),
            "container start x 1717070834"
        );
    }
}
