//! `compose cp`

use hull_compose::plan::state::Container;

use super::project::Scene;
use crate::commands::container;
use crate::commands::{About, Call, Command, Operands, invoke};
use crate::error::{Error, Result};
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Cp {
    all: bool,
    archive: bool,
    follow_link: bool,
    index: i64,
}

impl Command for Cp {
    const ABOUT: About = About::new(
        &["compose cp"],
        "[OPTIONS] SERVICE:SRC_PATH DEST_PATH|-",
        "Copy files/folders between a service container and the local filesystem",
        Operands::Exactly(2),
    )
    .second_usage("compose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH");

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("all", "", "Include containers created by the run command", &mut self.all);
        set.add("a,archive", "", "Archive mode (copy all uid/gid information)", &mut self.archive);
        set.add("L,follow-link", "", "Always follow symbol link in SRC_PATH", &mut self.follow_link);
        set.add("index", "int", "Index of the container if service has multiple replicas", &mut self.index);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let (from, to) = (service(call.operand(0)), service(call.operand(1)));
        let (service, into) = match (from, to) {
            (Some(_), Some(_)) => {
                return Err(Error::new("copying between services is not supported"));
            }
            (None, None) => {
                return Err(
                    Error::new("unknown copy direction").with_hint("name a service: SERVICE:PATH")
                );
            }
            (Some((service, _)), None) => (service.to_owned(), false),
            (None, Some((service, _))) => (service.to_owned(), true),
        };
        let scene = Scene::of_name(&call, std::slice::from_ref(&service)).await?;
        let mut containers = scene
            .containers(std::slice::from_ref(&service), self.all)
            .await?;
        containers.retain(|container| self.index == 0 || container.number() == self.index);
        if !into {
            containers.truncate(1);
        }
        if containers.is_empty() {
            return Err(Error::new(format!(
                "no container found for service \"{service}\""
            )));
        }
        let mut words = Vec::new();
        if self.archive {
            words.push("--archive".to_owned());
        }
        if self.follow_link {
            words.push("--follow-link".to_owned());
        }
        self.copy(call, &containers, words).await
    }
}

impl Cp {
    async fn copy(&self, call: Call, containers: &[Container], words: Vec<String>) -> Result<u8> {
        let operands = call.operands;
        for container in containers {
            let place = |operand: &String| match service(operand) {
                Some((_, path)) => format!("{}:{path}", container.id()),
                None => operand.clone(),
            };
            let words: Vec<String> = words
                .iter()
                .cloned()
                .chain(operands.iter().map(place))
                .collect();
            invoke::<container::cp::Cp>(call.globals.clone(), "compose cp", &words).await?;
        }
        Ok(0)
    }
}

/// `SERVICE:PATH`; a path that begins with `.` or `/` is a local one.
fn service(operand: &str) -> Option<(&str, &str)> {
    if operand.starts_with(['.', '/']) {
        return None;
    }
    operand.split_once(':')
}
