//! What Hull tells of its disk beyond Docker's `df`.

use hull_api::types::{DiskAccount, DiskAccountLine, DiskStanding, FsckFinding, FsckReport};
use hull_engine::{budget::Candidate, fsck::FsckOptions};
use hull_image::store::{Finding, Outcome as Mending, Standing, Trouble};

use crate::{
    convert::image::bytes,
    http::{
        answer::{Outcome, json},
        request::Request,
        router::Op,
    },
};

/// Carries an operation on the disk out.
pub(super) async fn perform(op: Op, request: Request) -> Outcome {
    match op {
        Op::Fsck => fsck(request).await,
        _ => account(request).await,
    }
}

async fn fsck(request: Request) -> Outcome {
    let options = FsckOptions {
        repair: request.query.flag("repair"),
        contents: request.query.flag_or("contents", true),
    };
    let findings = request.app.engine.fsck(options).await?;
    Ok(json(&FsckReport {
        findings: findings.into_iter().map(finding).collect(),
    }))
}

fn finding(finding: Finding) -> FsckFinding {
    let trouble = match finding.trouble {
        Trouble::Damaged => "damaged",
        Trouble::Missing => "missing",
        Trouble::Orphan => "orphan",
    };
    let (mended, remark) = match finding.outcome {
        Mending::Found => (false, String::new()),
        Mending::Mended(how) => (true, how.to_owned()),
        Mending::Unmended(why) => (false, why),
    };
    FsckFinding {
        trouble: trouble.to_owned(),
        object: finding.object,
        problem: finding.problem,
        size: bytes(finding.bytes),
        mended,
        remark,
    }
}

async fn account(request: Request) -> Outcome {
    let account = request.app.engine.account().await?;
    let line = |line: hull_engine::account::Line| DiskAccountLine {
        what: line.what,
        size: bytes(line.bytes),
        reclaimable: bytes(line.reclaimable),
        hint: line.hint.to_owned(),
    };
    Ok(json(&DiskAccount {
        lines: account.lines.into_iter().map(line).collect(),
        total: bytes(account.total),
        budget: bytes(account.budget.unwrap_or(0)),
        standings: account.standings.into_iter().map(standing).collect(),
    }))
}

fn standing((candidate, standing): (Candidate, Standing)) -> DiskStanding {
    let standing = match standing {
        Standing::InUse => "in use".to_owned(),
        Standing::Recent => "recent".to_owned(),
        Standing::Turn(turn) => turn.to_string(),
    };
    let seconds = |time: Option<jiff::Timestamp>| time.map_or(0, jiff::Timestamp::as_second);
    match candidate {
        Candidate::Image(image) => DiskStanding {
            kind: "image".to_owned(),
            id: image.id.to_string(),
            names: image.repo_tags,
            size: bytes(image.size),
            last_used: seconds(image.last_used),
            standing,
        },
        Candidate::Volume(own) => DiskStanding {
            kind: "volume".to_owned(),
            id: own.volume.id.clone(),
            names: vec![own.volume.name.clone()],
            size: bytes(own.bytes),
            last_used: seconds(own.last_used),
            standing,
        },
    }
}
