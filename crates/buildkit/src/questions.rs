//! Answers to questions about a Dockerfile: `docker build --check` and `--call`.
//!
//! The answers are documents that clients print; their shapes are BuildKit's.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hull_build::{BuildRequest, Cancel, Place, plan::Usage, progress::Warning};
use serde::Serialize;

use crate::{
    attributes::Question,
    building,
    events::file_and_lines,
    grpc::{Code, Status},
    problem::{File, Info, Lines, Range},
    proto::Any,
    service::Front,
    solved::Solved,
};

/// The version of all answers.
const VERSION: &str = "1.0.0";

/// By this type clients know that a question is not known here. Its value is JSON.
const UNSUPPORTED: &str = "github.com/moby/buildkit/errdefs.Subrequest+json";

/// The linter's answer.
#[derive(Debug, Serialize)]
struct Lint {
    warnings: Vec<LintWarning>,
    sources: Vec<Info>,
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    error: Option<LintError>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LintWarning {
    rule_name: String,
    description: String,
    url: String,
    detail: String,
    location: Location,
}

#[derive(Debug, Serialize)]
struct LintError {
    message: String,
    location: Location,
}

#[derive(Debug, Serialize)]
struct Location {
    ranges: Vec<Range>,
}

/// What a target takes.
#[derive(Debug, Serialize)]
struct Outline {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    args: Vec<OutlineArg>,
    secrets: Vec<Needed>,
    ssh: Vec<Needed>,
    sources: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OutlineArg {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
}

#[derive(Debug, Serialize)]
struct Needed {
    name: String,
    required: bool,
}

/// Which targets there are.
#[derive(Debug, Serialize)]
struct Targets {
    targets: Vec<TargetRow>,
    sources: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TargetRow {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    default: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    base: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    platform: String,
    location: Location,
}

/// Which questions there are.
#[derive(Debug, Serialize)]
struct Described {
    name: &'static str,
    version: &'static str,
    r#type: &'static str,
    description: &'static str,
}

/// Answers a question instead of building.
pub(crate) async fn answer(
    front: &Front,
    question: &Question,
    request: BuildRequest,
) -> Result<Solved, Status> {
    let builder = Arc::clone(front.builder());
    let (name, text) = (request.dockerfile_name.clone(), request.dockerfile.clone());
    let file = File {
        name: &name,
        text: &text,
    };
    let blocking =
        |job: &'static str| move |_| Status::new(Code::Internal, format!("{job} broke off"));
    let metadata = match question {
        Question::Describe => document(&described(), describe_text(), 0),
        Question::Lint => {
            let checked =
                tokio::task::spawn_blocking(move || builder.check(&request, &Cancel::new())).await;
            lint(file, checked.map_err(blocking("the check"))?)
        }
        Question::Outline | Question::Targets => {
            let usage = tokio::task::spawn_blocking(move || builder.outline(&request)).await;
            let usage = usage
                .map_err(blocking("reading the Dockerfile"))?
                .map_err(|error| building::status(&error))?;
            match question {
                Question::Outline => outline(file, &usage),
                _ => targets(file, &usage),
            }
        }
        Question::Unknown(request) => return Err(unsupported(request)),
    };
    Ok(Solved {
        metadata,
        ..Solved::default()
    })
}

/// The answer to a check, as clients print it for programs.
pub fn check_document(request: &BuildRequest, warnings: &[Warning]) -> String {
    json_of(lint(file_of(request), Ok(warnings.to_vec())))
}

/// The answer to what a target takes, or to which targets there are, as clients print it for
/// programs.
pub fn usage_document(request: &BuildRequest, usage: &Usage, is_targets: bool) -> String {
    let file = file_of(request);
    json_of(match is_targets {
        true => targets(file, usage),
        false => outline(file, usage),
    })
}

fn file_of(request: &BuildRequest) -> File<'_> {
    File {
        name: &request.dockerfile_name,
        text: &request.dockerfile,
    }
}

fn json_of(mut answer: HashMap<String, Vec<u8>>) -> String {
    let json = answer.remove("result.json").unwrap_or_default();
    String::from_utf8(json).unwrap_or_default()
}

fn unsupported(request: &str) -> Status {
    let mut status = Status::unimplemented(format!("unsupported request {request}"));
    let value = serde_json::json!({ "name": request });
    status.details.push(Any {
        type_url: UNSUPPORTED.to_owned(),
        value: value.to_string().into_bytes(),
    });
    status
}

/// An answer in all its forms.
fn document(value: &impl Serialize, text: String, code: u8) -> HashMap<String, Vec<u8>> {
    let json = serde_json::to_vec_pretty(value).expect("plain values have a JSON form");
    HashMap::from([
        ("result.json".to_owned(), json),
        ("result.txt".to_owned(), text.into_bytes()),
        (
            "result.statuscode".to_owned(),
            code.to_string().into_bytes(),
        ),
        ("version".to_owned(), VERSION.as_bytes().to_vec()),
    ])
}

fn lint(
    file: File<'_>,
    checked: Result<Vec<Warning>, hull_build::Error>,
) -> HashMap<String, Vec<u8>> {
    let mut text = String::new();
    let (warnings, error) = match checked {
        Ok(warnings) => (warnings, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    for warning in &warnings {
        text.push_str(&format!(
            "\nWARNING: {} - {}\n{}\n{}",
            warning.rule,
            warning.url,
            warning.message,
            warning.place.excerpt()
        ));
    }
    if let Some(error) = &error {
        text.push_str(&format!("{error}\n"));
    }
    let answer = Lint {
        warnings: warnings.into_iter().map(lint_warning).collect(),
        sources: vec![Info::of(file)],
        error: error.as_ref().map(|error| LintError {
            message: error.to_string(),
            location: location(error.place()),
        }),
    };
    let is_clean = answer.warnings.is_empty() && answer.error.is_none();
    document(&answer, text, u8::from(!is_clean))
}

fn lint_warning(warning: Warning) -> LintWarning {
    LintWarning {
        location: location(Some(&warning.place)),
        rule_name: warning.rule,
        description: warning.description,
        url: warning.url,
        detail: warning.message,
    }
}

fn location(place: Option<&Place>) -> Location {
    let ranges = place.map(|place| Range::of(file_and_lines(place).1));
    Location {
        ranges: ranges.into_iter().collect(),
    }
}

fn outline(file: File<'_>, usage: &Usage) -> HashMap<String, Vec<u8>> {
    let target = usage.stages.get(usage.target);
    let needed = |(name, required): &(String, bool)| Needed {
        name: name.clone(),
        required: *required,
    };
    let answer = Outline {
        name: target.map(|stage| stage.name.clone()).unwrap_or_default(),
        description: target
            .map(|stage| stage.description.clone())
            .unwrap_or_default(),
        args: usage.args.iter().map(outline_arg).collect(),
        secrets: usage.secrets.iter().map(needed).collect(),
        ssh: usage.ssh.iter().map(needed).collect(),
        sources: vec![STANDARD.encode(file.text)],
    };
    let mut text = String::from("BUILD ARG   VALUE   DESCRIPTION\n");
    for arg in &answer.args {
        text.push_str(&format!(
            "{}   {}   {}\n",
            arg.name, arg.value, arg.description
        ));
    }
    document(&answer, text, 0)
}

fn outline_arg((name, value, description): &(String, Option<String>, String)) -> OutlineArg {
    // A comment begins with the name of what it describes.
    let description = description
        .strip_prefix(name.as_str())
        .unwrap_or(description);
    OutlineArg {
        name: name.clone(),
        description: description.trim().to_owned(),
        value: value.clone().unwrap_or_default(),
    }
}

fn targets(file: File<'_>, usage: &Usage) -> HashMap<String, Vec<u8>> {
    let row = |(index, stage): (usize, &hull_build::plan::StageInfo)| TargetRow {
        name: stage.name.clone(),
        default: index + 1 == usage.stages.len(),
        description: stage.description.clone(),
        base: stage.base.clone(),
        platform: stage.platform.clone(),
        location: Location {
            ranges: vec![Range::of(Lines {
                first: stage.span.first,
                last: stage.span.last,
            })],
        },
    };
    let answer = Targets {
        targets: usage.stages.iter().enumerate().map(row).collect(),
        sources: vec![STANDARD.encode(file.text)],
    };
    let mut text = String::from("TARGET   DESCRIPTION\n");
    for target in &answer.targets {
        let default = if target.default { " (default)" } else { "" };
        text.push_str(&format!(
            "{}{default}   {}\n",
            target.name, target.description
        ));
    }
    document(&answer, text, 0)
}

fn described() -> Vec<Described> {
    let row = |name, description| Described {
        name,
        version: VERSION,
        r#type: "rpc",
        description,
    };
    vec![
        row("frontend.lint", "Lint a Dockerfile"),
        row(
            "frontend.outline",
            "List all parameters current build target supports",
        ),
        row(
            "frontend.targets",
            "List all targets current build supports",
        ),
        row(
            "frontend.subrequests.describe",
            "List available subrequest types",
        ),
    ]
}

fn describe_text() -> String {
    let rows = described();
    let rows = rows
        .iter()
        .map(|row| format!("{}  {}  {}\n", row.name, row.version, row.description));
    rows.collect()
}
