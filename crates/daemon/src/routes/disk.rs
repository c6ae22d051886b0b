//! What Hull tells of its disk beyond Docker's `df`.

use hull_api::types::{DiskAccount, DiskAccountLine, FsckFinding, FsckReport, ImageStanding};
use hull_engine::fsck::FsckOptions;
use hull_image::store::{Finding, Outcome as Mending, Standing, Summary, Trouble};

use crate::{
    convert::image::bytes,
    http::{
        answer::{Outcome, json},
        request::Request,
    },
};

pub(super) async fn fsck(request: Request) -> Outcome {
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

pub(super) async fn account(request: Request) -> Outcome {
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
        images: account.images.into_iter().map(standing).collect(),
    }))
}

fn standing((image, standing): (Summary, Standing)) -> ImageStanding {
    ImageStanding {
        id: image.id.to_string(),
        names: image.repo_tags,
        size: bytes(image.size),
        last_used: image.last_used.map_or(0, jiff::Timestamp::as_second),
        standing: match standing {
            Standing::InUse => "in use".to_owned(),
            Standing::Recent => "recent".to_owned(),
            Standing::Turn(turn) => turn.to_string(),
        },
    }
}
