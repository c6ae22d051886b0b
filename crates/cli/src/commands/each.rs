//! One operation on several things at once.

use std::future::Future;

use hull_api::Client;

use crate::error::{Error, Result};
use crate::ui;

/// Does `act` for every name at the same time, prints what each returns in the order of the names,
/// and goes on after failures, all of which are reported.
///
/// # Errors
/// All failures, a line each.
pub(super) async fn each<F>(
    client: &Client,
    names: &[String],
    act: impl Fn(Client, String) -> F,
) -> Result<u8>
where
    F: Future<Output = Result<String>> + Send + 'static,
{
    let tasks: Vec<_> = names
        .iter()
        .map(|name| tokio::spawn(act(client.clone(), name.clone())))
        .collect();
    let mut failures: Vec<Error> = Vec::new();
    for task in tasks {
        match task.await {
            Ok(Ok(line)) if line.is_empty() => {}
            Ok(Ok(line)) => ui::line(&line)?,
            Ok(Err(error)) => failures.push(error),
            Err(error) => failures.push(Error::new(error.to_string())),
        }
    }
    all_of(failures)
}

/// All failures as one.
///
/// # Errors
/// If there are any.
pub(super) fn all_of(mut failures: Vec<Error>) -> Result<u8> {
    match failures.len() {
        0 => Ok(0),
        1 => Err(failures.remove(0)),
        _ => {
            let lines: Vec<&str> = failures.iter().map(Error::message).collect();
            Err(Error::new(lines.join("\n")))
        }
    }
}
