//! Projects of Compose: holding one while it is worked on. Hull's own.

use std::{sync::Arc, time::Duration};

use hull_api::types::ProjectHold;

use crate::{
    app::App,
    http::{
        answer::{Failure, Outcome, flowing},
        body,
        request::Request,
    },
};

/// How long a client's word for itself may be.
const WHO_MAX: usize = 200;

/// How often a client that is far away is written to: one that is gone without a word is found by it.
const BEAT: Duration = Duration::from_secs(10);

/// Gives a project to a client for as long as it listens to the answer.
pub(super) fn hold(request: &Request) -> Outcome {
    let who = request.query.text("who").to_owned();
    if who.chars().count() > WHO_MAX || who.chars().any(char::is_control) {
        return Err(Failure::invalid(format!(
            "who holds a project is said in one line of {WHO_MAX} letters at most"
        )));
    }
    let (sender, body) = body::channel();
    let (app, name) = (Arc::clone(&request.app), request.name().to_owned());
    tokio::spawn(async move {
        let gone = sender.clone();
        tokio::select! {
            biased;
            () = gone.gone() => {}
            _ = keep(&app, &name, &who, &sender) => {}
        }
    });
    Ok(flowing("application/json", body))
}

/// Waits for the turn, says so, and keeps it.
async fn keep(app: &App, name: &str, who: &str, sender: &body::Sender) -> Result<(), body::Gone> {
    let mut place = app.holds.place(name);
    if let Err(holder) = place.try_hold(who) {
        let waits = ProjectHold {
            waits_for: holder,
            ..ProjectHold::default()
        };
        say(sender, &waits).await?;
        tokio::select! {
            () = place.hold(who) => {}
            gone = beat(sender) => return gone,
        }
    }
    let held = ProjectHold {
        held: true,
        ..ProjectHold::default()
    };
    say(sender, &held).await?;
    beat(sender).await
}

async fn say(sender: &body::Sender, hold: &ProjectHold) -> Result<(), body::Gone> {
    let mut line = serde_json::to_vec(hold).expect("a hold always has a JSON form");
    line.push(b'\n');
    sender.send(line).await
}

async fn beat(sender: &body::Sender) -> Result<(), body::Gone> {
    loop {
        tokio::time::sleep(BEAT).await;
        sender.send("\n").await?;
    }
}
