//! This machine's `git`, run for its user, with the user's settings: it is the user who has the right to
//! what is fetched. It runs nothing of what it fetched, asks for no password, speaks over the network only,
//! and has a limited time.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What git may say.
const WORDS_MAX: u64 = 1 << 20;

/// Runs git; what it wrote.
///
/// # Errors
/// What it said instead, or that a step took too long.
pub(crate) fn run(directory: &Path, words: &[&str], longest: Duration) -> Result<String, String> {
    let mut child = Command::new("git")
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.symlinks=true"])
        .args(words)
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "http:https:git:ssh")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("LC_ALL", "C")
        // Inside a hook of git's they name the caller's own repository.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_OBJECT_DIRECTORY")
        .env_remove("GIT_ALTERNATE_OBJECT_DIRECTORIES")
        .env_remove("GIT_COMMON_DIR")
        .env_remove("GIT_NAMESPACE")
        .env_remove("GIT_PREFIX")
        // Nor does ssh ask anything, not even of the terminal.
        .env("SSH_ASKPASS", "/bin/false")
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("git cannot be run: {error}"))?;
    let said = (reader(child.stdout.take()), reader(child.stderr.take()));
    let until = Instant::now() + longest;
    let status = loop {
        match child.try_wait().map_err(|error| format!("git: {error}"))? {
            Some(status) => break status,
            None if Instant::now() > until => {
                _ = child.kill();
                _ = child.wait();
                return Err(format!(
                    "git did not answer in {} seconds",
                    longest.as_secs()
                ));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    let (out, error) = (text(said.0), text(said.1));
    match status.success() {
        true => Ok(out),
        false => Err(format!("git: {}", error.trim().replace('\n', "; "))),
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            _ = pipe.take(WORDS_MAX).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
