//! `--ssh`: the agents that steps may use, each connection carried by the daemon's own.

use std::path::PathBuf;

use hull_api::Client;
use hull_api::types::BuildExtras;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// Bytes of a token that nobody guesses.
const TOKEN_BYTES: usize = 32;

/// An agent: its id, and its socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agent {
    id: String,
    socket: PathBuf,
}

/// Offers that last as long as the build.
pub(super) struct Offers(#[expect(dead_code, reason = "ends the tasks when dropped")] JoinSet<()>);

/// `default`, `ID` or `ID=SOCKET`, each.
pub(super) fn parse(texts: &[String]) -> Result<Vec<Agent>> {
    texts.iter().map(|text| agent(text)).collect()
}

fn agent(text: &str) -> Result<Agent> {
    let (id, path) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let socket = match path {
        "" => std::env::var_os("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| {
                Error::new(format!(
                    "--ssh {text}: no agent runs here (SSH_AUTH_SOCK is not set): start one with \
                     `eval $(ssh-agent)` and `ssh-add`, or name its socket"
                ))
            })?,
        path => PathBuf::from(path),
    };
    let is_socket = std::fs::metadata(&socket)
        .map(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()))
        .map_err(|error| Error::io("open", &socket.to_string_lossy(), &error))?;
    if !is_socket {
        return Err(Error::new(format!(
            "--ssh {text}: {} is no agent's socket: add the key to an agent (ssh-add {}) and give \
             --ssh {id}",
            socket.display(),
            socket.display()
        )));
    }
    Ok(Agent { id, socket })
}

/// Offers the agents to the daemon.
pub(super) fn offer(client: &Client, agents: Vec<Agent>, extras: &mut BuildExtras) -> Offers {
    let mut tasks = JoinSet::new();
    if agents.is_empty() {
        return Offers(tasks);
    }
    let mut token = [0u8; TOKEN_BYTES];
    // The kernel has as many as are wanted here.
    let _ = rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty());
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    extras.agent_token.clone_from(&token);
    for agent in agents {
        extras.ssh.push(agent.id.clone());
        tasks.spawn(keep_offering(client.clone(), token.clone(), agent));
    }
    Offers(tasks)
}

/// Keeps one connection waiting at the daemon, as long as it takes any.
async fn keep_offering(client: Client, token: String, agent: Agent) {
    let mut joined = JoinSet::new();
    while let Ok(mut waiting) = client.build_agent(&token, &agent.id).await {
        let mut sign = [0u8; 1];
        if !matches!(waiting.read(&mut sign).await, Ok(1)) {
            return;
        }
        let socket = agent.socket.clone();
        joined.spawn(async move {
            match UnixStream::connect(&socket).await {
                Ok(mut agent) => {
                    // The step hears of a connection that breaks off by its end.
                    let _ = tokio::io::copy_bidirectional(&mut waiting, &mut agent).await;
                }
                Err(_) => drop(waiting.shutdown().await),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_a_socket_and_a_key_is_none() {
        let directory = std::env::temp_dir().join(format!("hull-ssh-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (socket, key) = (directory.join("agent"), directory.join("key"));
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&key, "a key").unwrap();
        let found = agent(&format!("mine={}", socket.display()));
        let refused = agent(&format!("mine={}", key.display()));
        std::fs::remove_dir_all(&directory).unwrap();
        let expected = Agent {
            id: "mine".into(),
            socket,
        };
        assert_eq!(found.unwrap(), expected);
        assert!(format!("{:?}", refused.unwrap_err()).contains("ssh-add"));
    }
}
