//! `INCLUDE path`: another file of the main context stands in its place. Opt-in.
//!
//! Lines of an included file are reported with the number they have in the whole.

use crate::error::{Error, Result};
use crate::plan::MAIN_CONTEXT;
use crate::request::BuildRequest;

/// Files within files within files: nobody nests them deeper.
const DEPTH_MAX: usize = 8;
/// Bytes of the whole.
const BYTES_MAX: usize = 4 << 20;

/// Files of the whole: empty ones that include each other take no bytes, but time.
const FILES_MAX: usize = 1000;

/// The Dockerfile with what it includes.
pub(crate) fn resolve(request: &BuildRequest) -> Result<String> {
    let mut whole = Whole::default();
    add(request, &request.dockerfile, 0, &mut whole)?;
    Ok(whole.text)
}

#[derive(Default)]
struct Whole {
    text: String,
    /// How many files are in it.
    files: usize,
}

fn add(request: &BuildRequest, text: &str, depth: usize, whole: &mut Whole) -> Result<()> {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let is_include = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("INCLUDE"));
        let Some(path) = words.next().filter(|_| is_include) else {
            whole.text.push_str(line);
            whole.text.push('\n');
            continue;
        };
        whole.files += 1;
        if depth >= DEPTH_MAX || whole.text.len() > BYTES_MAX || whole.files > FILES_MAX {
            let message = format!("INCLUDE {path}: files include each other without end");
            return Err(Error::invalid(message, None));
        }
        let failed = |cause: String| Error::invalid(format!("INCLUDE {path}: {cause}"), None);
        let content = request.contexts.file(MAIN_CONTEXT, path).map_err(failed)?;
        let content = content.ok_or_else(|| failed("not found in the build context".to_owned()))?;
        add(
            request,
            &String::from_utf8_lossy(&content),
            depth + 1,
            whole,
        )?;
    }
    Ok(())
}
