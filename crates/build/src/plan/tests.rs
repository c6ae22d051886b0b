use super::*;
use crate::dockerfile;
use crate::request::NamedContext;

struct Images;

impl Bases for Images {
    fn base(&self, reference: &str, platform: &Platform) -> Result<Base, String> {
        if reference == "missing" {
            return Err("missing: not found".to_owned());
        }
        let mut config = ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            ..ImageConfig::default()
        };
        config.config.env = vec!["PATH=/bin".to_owned(), "BASE=yes".to_owned()];
        config.config.cmd = Some(vec!["sh".to_owned()]);
        if reference == "foreign" {
            config.architecture = "s390x".to_owned();
        }
        if reference == "works" {
            config.config.working_dir = "/work".to_owned();
        }
        if reference == "trigger" {
            config.config.on_build = Some(vec!["RUN echo triggered".to_owned()]);
        }
        if let Some(trigger) = reference.strip_prefix("trigger-") {
            let words = match trigger {
                "copies" => "COPY --from=other /x /x",
                "begins" => "FROM a",
                _ => "ONBUILD RUN x",
            };
            config.config.on_build = Some(vec![words.to_owned()]);
        }
        Ok(Base {
            reference: reference.to_owned(),
            manifest: format!("sha256:{reference}"),
            config: Arc::new(config),
        })
    }
}

fn planned(text: &str, change: impl FnOnce(&mut BuildRequest)) -> Result<Plan> {
    let file = dockerfile::parse(text).expect("the test's Dockerfile");
    let mut request = BuildRequest::new("Dockerfile", text);
    request.has_context = true;
    change(&mut request);
    plan(&Input {
        file: &file,
        request: &request,
        bases: &Images,
        host: Platform::new("linux", "amd64", ""),
        texts: Texts::of("Dockerfile", text),
    })
}

fn names(plan: &Plan) -> Vec<&str> {
    let names = plan.vertices.iter().map(|vertex| vertex.name.as_str());
    names.filter(|name| !name.is_empty()).collect()
}

fn error(text: &str) -> String {
    planned(text, |_| {}).unwrap_err().to_string()
}

#[test]
fn only_what_the_target_needs_is_planned() {
    let text =
        "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM c AS three\nCOPY --from=one /x /x\n";
    let plan = planned(text, |_| {}).unwrap();
    assert_eq!(
        names(&plan),
        [
            "[one 1/2] FROM a",
            "[one 2/2] RUN 1",
            "[three 1/2] FROM c",
            "[three 2/2] COPY --from=one /x /x"
        ]
    );
    let plan = planned(text, |request| request.target = "TWO".to_owned()).unwrap();
    assert_eq!(names(&plan), ["[two 1/2] FROM b", "[two 2/2] RUN 2"]);
    let plan = planned(text, |request| request.target = "0".to_owned()).unwrap();
    assert_eq!(names(&plan), ["[one 1/2] FROM a", "[one 2/2] RUN 1"]);
}

#[test]
fn variables_come_from_where_they_should() {
    let text = "ARG V=1\nARG W\nFROM base:$V\nARG V\nARG LOCAL=l\nENV A=$V B=$A C=${LOCAL}$BASE\nLABEL x=$C\nRUN x\n";
    let plan = planned(text, |request| {
        request.args.insert("LOCAL".to_owned(), "given".to_owned());
        request
            .args
            .insert("HTTP_PROXY".to_owned(), "http://p".to_owned());
    })
    .unwrap();
    let target = &plan.results[0];
    // All pairs of one ENV see what was before it.
    let env = ["PATH=/bin", "BASE=yes", "A=1", "B=", "C=givenyes"];
    assert_eq!(target.config.config.env, env);
    assert_eq!(target.config.config.labels["x"], "givenyes");
    let Op::Run(run) = &plan.vertices[target.vertex].op else {
        panic!()
    };
    assert!(run.env.contains(&"LOCAL=given".to_owned()) && run.env.contains(&"V=1".to_owned()));
    assert_eq!(run.silent_env, ["HTTP_PROXY=http://p"]);
    let last = &target.history.last().unwrap().created_by;
    assert_eq!(last, "RUN |2 V=1 LOCAL=given /bin/sh -c x # buildkit");
}

#[test]
fn the_configuration_is_what_the_instructions_say() {
    let text = "FROM base\nWORKDIR /a\nWORKDIR b\nUSER u:g\nEXPOSE 80 8000-8001/udp\nVOLUME /v\n\
                STOPSIGNAL SIGINT\nSHELL [\"/bin/ash\", \"-c\"]\nENTRYPOINT run\n\
                HEALTHCHECK --interval=1m30s --retries=2 CMD true\nMAINTAINER me\nONBUILD RUN y\n";
    let plan = planned(text, |request| {
        request.labels.insert("k".to_owned(), "v".to_owned());
    })
    .unwrap();
    let image = &plan.results[0].config;
    let config = &image.config;
    assert_eq!(config.working_dir, "/a/b");
    assert_eq!(config.user, "u:g");
    let ports: Vec<_> = config.exposed_ports.iter().cloned().collect();
    assert_eq!(ports, ["80/tcp", "8000/udp", "8001/udp"]);
    assert!(config.volumes.contains("/v"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(
        config.entrypoint.as_deref().unwrap(),
        ["/bin/ash", "-c", "run"]
    );
    assert_eq!(config.cmd, None, "an entrypoint drops the base's command");
    let check = config.healthcheck.as_ref().unwrap();
    assert_eq!(
        (check.test[0].as_str(), check.interval, check.retries),
        ("CMD-SHELL", 90_000_000_000, 2)
    );
    assert_eq!(config.on_build.as_deref().unwrap(), ["RUN y"]);
    assert_eq!(config.labels["k"], "v");
    assert_eq!(image.author, "me");
}

#[test]
fn triggers_of_the_base_come_first_and_are_gone_afterwards() {
    let plan = planned("FROM trigger\nRUN own", |_| {}).unwrap();
    assert_eq!(
        names(&plan),
        [
            "[1/3] FROM trigger",
            "[2/3] RUN echo triggered",
            "[3/3] RUN own"
        ]
    );
    assert_eq!(plan.results[0].config.config.on_build, None);
}

#[test]
fn each_platform_has_its_own_result() {
    let text = "FROM --platform=$BUILDPLATFORM go AS build\nARG TARGETARCH\nRUN make $TARGETARCH\nFROM base\nCOPY --from=build /x /\n";
    let plan = planned(text, |request| {
        request.platforms = vec![
            Platform::new("linux", "amd64", ""),
            Platform::new("linux", "arm64", ""),
        ];
    })
    .unwrap();
    assert_eq!(plan.results.len(), 2);
    let runs: Vec<_> = plan
        .vertices
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Run(run) => Some((
                vertex.platform.architecture.as_str(),
                run.env.last().unwrap().as_str(),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        runs,
        [("amd64", "TARGETARCH=amd64"), ("amd64", "TARGETARCH=arm64")]
    );
}

#[test]
fn what_cannot_be_planned_says_why() {
    for (text, expected) in [
        ("FROM $NOTHING", "base name ($NOTHING) should not be blank"),
        ("FROM missing", "missing: not found"),
        (
            "FROM a\nCOPY a b c",
            "When using COPY with more than one source file, the destination must be a directory and end with a /",
        ),
        (
            "FROM a\nRUN --network=host x",
            "network.host is not allowed: grant it with --allow network.host",
        ),
        (
            "FROM a\nRUN --security=insecure x",
            "security.insecure is not allowed: grant it with --allow security.insecure",
        ),
        ("FROM a\nEXPOSE 70000", "invalid containerPort: 70000"),
        ("FROM a\nEXPOSE 80/xyz", "invalid proto: xyz"),
        (
            "FROM a\nSTOPSIGNAL SIGNOTHING",
            "Invalid signal: SIGNOTHING",
        ),
        (
            "FROM a\nENV X=${",
            "failed to process \"${\": syntax error: missing '}'",
        ),
        (
            "FROM a\nCOPY --from=3 a b",
            "invalid stage index 3: the last one is 0",
        ),
        (
            "FROM a\nADD --checksum=sha256:xx http://localhost/x /x",
            "invalid checksum \"sha256:xx\": expected sha256: and 64 hexadecimal digits",
        ),
        (
            "FROM a\nCOPY --chmod=999 a b",
            "invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
        ),
        (
            "FROM a\nRUN --mount=type=bind,from=$X,target=/x y",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    let unknown = planned("FROM a AS one", |request| request.target = "x".to_owned());
    let text = "target stage \"x\" could not be found (the stages are: one)";
    assert_eq!(unknown.unwrap_err().to_string(), text);
}

#[test]
fn errors_name_the_line_with_a_caret() {
    let failure = planned("FROM a\nRUN ok\n  EXPOSE what\nRUN x\n", |_| {}).unwrap_err();
    let excerpt = failure.place().unwrap().excerpt();
    assert!(
        excerpt.contains("   3 | >>>   EXPOSE what\n     |       ^^^^^^\n"),
        "{excerpt}"
    );
}

#[test]
fn the_linter_tells_what_it_thinks() {
    let text = "from a AS Build\nENV password 1\nMAINTAINER m\nWORKDIR rel\nCMD x\nCMD y\nRUN $undefined\nLABEL l=$undefined\nFROM --platform=linux/amd64 b AS build\n";
    let rules: Vec<String> = planned(&format!("{text}COPY --from=0 / /\n"), |request| {
        request.target = "0".to_owned();
    })
    .unwrap()
    .warnings
    .into_iter()
    .map(|warning| format!("{} {}", warning.place.first(), warning.rule))
    .collect();
    for expected in [
        "1 ConsistentInstructionCasing",
        "1 FromAsCasing",
        "1 StageNameCasing",
        "2 LegacyKeyValueFormat",
        "2 SecretsUsedInArgOrEnv",
        "3 MaintainerDeprecated",
        "4 WorkdirRelativePath",
        "5 JSONArgsRecommended",
        "5 MultipleInstructionsDisallowed",
        "8 UndefinedVar",
        "9 DuplicateStageName",
        "9 FromPlatformFlagConstDisallowed",
    ] {
        assert!(
            rules.iter().any(|rule| rule == expected),
            "{expected} in {rules:?}"
        );
    }
    assert!(
        !rules.iter().any(|rule| rule.starts_with('7')),
        "the shell's variables are its own"
    );
    let quiet = planned(&format!("# check=skip=all\n{text}"), |_| {}).unwrap();
    assert!(quiet.warnings.is_empty());
    let strict = planned("# check=error=true\nFROM a\nMAINTAINER m", |_| {});
    assert!(strict.is_err());
    let loose = planned("# check=error=true\nFROM a\nMAINTAINER m", |request| {
        let name = "BUILDKIT_DOCKERFILE_CHECK".to_owned();
        request
            .args
            .insert(name, "skip=JSONArgsRecommended".to_owned());
    });
    assert_eq!(loose.unwrap().warnings.len(), 1);
    let odd = planned("# check=skipp=x\nFROM a\n", |_| {}).unwrap_err();
    assert!(odd.to_string().contains("invalid check option"), "{odd}");
}

/// What the linter says of a file: the line, the rule, the words.
fn lints(text: &str, change: impl FnOnce(&mut BuildRequest)) -> Vec<(usize, String, String)> {
    let warnings = planned(text, change).unwrap().warnings.into_iter();
    let told = |warning: Warning| (warning.place.first(), warning.rule, warning.message);
    warnings.map(told).collect()
}

/// A file, the line and the rule, and what is said.
const RULES: [(&str, &str, &str); 15] = [
    // A line that goes on, and then nothing.
    (
        "FROM a\nRUN x \\\n\n  y\n",
        "2 NoEmptyContinuation",
        "Empty continuation line",
    ),
    (
        "FROM a AS scratch\n",
        "1 ReservedStageName",
        "reserved stage \"scratch\"",
    ),
    (
        "FROM a AS Context\n",
        "1 ReservedStageName",
        "reserved stage \"context\"",
    ),
    (
        "FROM a$nothing\n",
        "1 UndefinedArgInFrom",
        "FROM argument 'nothing' is not declared",
    ),
    (
        "ARG VERSION=1\nFROM a:$VERSOIN\n",
        "2 UndefinedArgInFrom",
        "did you mean VERSION?",
    ),
    (
        "FROM foreign\n",
        "1 InvalidBaseImagePlatform",
        "with platform \"linux/s390x\", expected \"linux/amd64\"",
    ),
    (
        "FROM --platform=$TARGETPLATFORM a\n",
        "1 RedundantTargetPlatform",
        "predefined $TARGETPLATFORM",
    ),
    (
        "ARG TAG\nFROM a:$TAG\n",
        "2 InvalidDefaultArgInFrom",
        "Default value for ARG a:$TAG",
    ),
    ("FROM a\nEXPOSE 80/TCP\n", "2 ExposeProtoCasing", "'80/TCP'"),
    (
        "FROM a\nEXPOSE 127.0.0.1:80:80\n",
        "2 ExposeInvalidFormat",
        "'127.0.0.1:80:80'",
    ),
    (
        "FROM a\nCOPY hidden/x /\n",
        "2 CopyIgnoredFile",
        "Attempting to Copy file \"hidden/x\"",
    ),
    (
        "FROM a\nADD ./hidden /\n",
        "2 CopyIgnoredFile",
        "Attempting to Add file \"hidden\"",
    ),
    (
        "FROM a\nENV TOOL=x\nRUN --mount=type=tmpfs,target=$TOLO/x y\n",
        "3 UndefinedVar",
        "(did you mean $TOOL?)",
    ),
    // Whatever the image says: it may say something else tomorrow.
    (
        "FROM works\nWORKDIR x\nWORKDIR y\n",
        "2 WorkdirRelativePath",
        "Relative workdir \"x\"",
    ),
    (
        "# check=experimental=all\n\n# wrong\nFROM a AS b\n",
        "4 InvalidDefinitionDescription",
        "`# b <description>`",
    ),
];

#[test]
fn each_rule_has_its_case() {
    for (text, rule, words) in RULES {
        let said = lints(text, |request| {
            request.ignore = "hidden".to_owned();
            if text.contains(":$TAG") {
                request.args.insert("TAG".to_owned(), "1".to_owned());
            }
        });
        let fits = |(line, name, message): &(usize, String, String)| {
            format!("{line} {name}") == rule && message.contains(words)
        };
        assert!(said.iter().any(fits), "{text}: {said:?}");
        // The rule, its page, and what it is about.
        let said = said
            .iter()
            .filter(|(_, name, _)| rule.ends_with(name.as_str()));
        assert_eq!(said.count(), 1, "{text}");
    }
}

#[test]
fn what_is_meant_is_not_warned_of() {
    for text in [
        // Who chose a shell wants it.
        "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nCMD x\n",
        "FROM a\nWORKDIR /x\nWORKDIR y\n",
        "FROM a AS one\nWORKDIR /x\nFROM one\nWORKDIR y\n",
        "FROM a\nCOPY . /\nCOPY --from=b hidden /\n",
        "# check=experimental=all\n\n# b builds\nFROM a AS b\n\n# x, y\nRUN x\n",
        "# b builds, and nobody asked\nFROM a AS c\n",
        "FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER m\n",
        "From a as b\nFrom b AS c\n# check=skip=all\nRun x\n",
    ] {
        let said = lints(text, |request| request.ignore = "hidden".to_owned());
        let said: Vec<_> = said
            .iter()
            .filter(|(_, name, _)| name != "ConsistentInstructionCasing")
            .collect();
        assert!(said.is_empty(), "{text}: {said:?}");
    }
    // What is taken back may be in it.
    let said = lints("FROM a\nCOPY hidden /\n", |request| {
        request.ignore = "hidden\n!hidden/shown".to_owned();
    });
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn heredocs_are_scripts_or_files() {
    let plan = planned("FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\nRUN <<X\n#!/usr/bin/env python3\nprint(1)\nX\nRUN cat <<Y\ny\nY\nCOPY <<f <<'g' /d/\n$BASE\nf\n$BASE\ng\n", |_| {}).unwrap();
    let ops: Vec<&Op> = plan.vertices.iter().map(|vertex| &vertex.op).collect();
    let Op::Run(run) = ops[1] else { panic!() };
    assert_eq!(run.args, ["/bin/sh", "-c", "echo 1\necho 2\n"]);
    let Op::Run(run) = ops[2] else { panic!() };
    assert_eq!(run.args, ["/dev/pipes/X"]);
    assert!(
        run.script
            .as_ref()
            .unwrap()
            .1
            .starts_with("#!/usr/bin/env python3")
    );
    let Op::Run(run) = ops[3] else { panic!() };
    assert_eq!(run.args[2], "cat <<Y\ny\nY");
    let Op::Copy(copy) = ops[4] else { panic!() };
    let shell = planned("FROM a\nRUN <<EOT sh -eux\nfalse\nEOT\n", |_| {}).unwrap();
    let Op::Run(run) = &shell.vertices[1].op else {
        panic!()
    };
    assert_eq!(run.args[2], "<<EOT sh -eux\nfalse\nEOT");
    let expected = vec![
        ("f".to_owned(), "yes\n".to_owned()),
        ("g".to_owned(), "$BASE\n".to_owned()),
    ];
    assert_eq!(copy.sources[0].origin, Origin::Inline(expected));
}

#[test]
fn stages_are_found_when_variables_or_triggers_name_them() {
    let text = "FROM a AS other\nRUN 1\nFROM trigger-copies\n";
    let plan = planned(text, |_| {}).unwrap();
    assert!(names(&plan).iter().any(|name| name.ends_with("RUN 1")));
    let text = "FROM a AS other\nRUN 1\nFROM b\nARG X=from=other\nRUN --mount=type=bind,target=/x,$X true\n";
    let plan = planned(text, |_| {}).unwrap();
    assert!(names(&plan).iter().any(|name| name.ends_with("RUN 1")));
    for image in ["trigger-begins", "trigger-chains"] {
        let error = error(&format!("FROM {image}\n"));
        assert!(error.contains("isn't allowed as a trigger"), "{error}");
    }
}

#[test]
fn a_stage_that_stands_later_can_be_copied_from() {
    let text = "FROM a AS one\nCOPY --from=two /x /x\nCOPY --from=2 /y /y\nRUN 1\n\
                FROM b AS two\nRUN 2\nFROM c\nRUN 3\n";
    let plan = planned(text, |request| request.target = "one".to_owned()).unwrap();
    let names = names(&plan);
    let at = |name: &str| names.iter().position(|one| one.ends_with(name)).unwrap();
    assert!(at("RUN 2") < at("RUN 1") && at("RUN 3") < at("RUN 1"));
    // However many wait for one another.
    let many: String = (0..60)
        .map(|at| format!("FROM a AS s{at}\nCOPY --from=s{} /x /x\n", at + 1))
        .collect();
    let target = |request: &mut BuildRequest| request.target = "s0".to_owned();
    assert!(planned(&format!("{many}FROM a AS s60\n"), target).is_ok());
}

#[test]
fn stages_that_need_each_other_are_refused_at_their_line() {
    for (text, name, line) in [
        ("FROM a AS one\nCOPY --from=one /x /x\n", "one", 1),
        (
            "FROM a AS one\nCOPY --from=two /x /x\nFROM one AS two\n",
            "one",
            3,
        ),
        (
            "FROM a\nRUN --mount=type=bind,from=0,target=/x y\n",
            "stage-0",
            1,
        ),
        // Named by a variable: seen only when the stage is walked.
        (
            "FROM a AS one\nARG F=from=one\nRUN --mount=type=bind,target=/x,$F y\n",
            "one",
            3,
        ),
    ] {
        let failure = planned(text, |_| {}).unwrap_err();
        let expected = format!("circular dependency detected on stage: {name}");
        assert_eq!(failure.to_string(), expected, "{text}");
        assert_eq!(failure.place().unwrap().first(), line, "{text}");
    }
}

#[test]
fn names_of_images_and_of_contexts_mean_the_same_however_they_are_written() {
    use crate::request::context_name;
    for name in [
        "busybox",
        "busybox:latest",
        "docker.io/library/busybox",
        "docker.io/library/busybox:latest",
    ] {
        assert_eq!(context_name(name), "busybox");
        let text = format!("FROM {name}\nRUN x\n");
        let plan = planned(&text, |request| {
            let other = NamedContext::Image("other:1".to_owned());
            request
                .named_contexts
                .insert(context_name("busybox"), other);
        });
        assert!(names(&plan.unwrap())[0].ends_with("FROM other:1"), "{name}");
    }
    assert_eq!(context_name("busybox:1"), "busybox:1");
    assert_eq!(context_name("Build"), "build");
}

#[test]
fn a_check_looks_at_all_stages_unless_one_is_named() {
    let text = "FROM a AS unused\nMAINTAINER m\nLABEL l=$nothing\nFROM b AS last\nRUN x\n";
    let rules = |target: &str| -> Vec<String> {
        let file = dockerfile::parse(text).unwrap();
        let mut request = BuildRequest::new("Dockerfile", text);
        request.target = target.to_owned();
        let warnings = check(&Input {
            file: &file,
            request: &request,
            bases: &Images,
            host: Platform::new("linux", "amd64", ""),
            texts: Texts::of("Dockerfile", text),
        });
        let warnings = warnings.unwrap().into_iter();
        warnings.map(|warning| warning.rule).collect()
    };
    assert_eq!(rules(""), ["MaintainerDeprecated", "UndefinedVar"]);
    assert_eq!(rules("last"), ["MaintainerDeprecated"]);
}

#[test]
fn a_stage_has_the_arguments_of_the_one_it_begins_with() {
    let text = "FROM a AS base\nARG NAME=joe\nFROM base\nENV SEEN=$NAME\nRUN x\n";
    let plan = planned(text, |_| {}).unwrap();
    let target = &plan.results[0];
    assert!(target.config.config.env.contains(&"SEEN=joe".to_owned()));
    let Op::Run(run) = &plan.vertices[target.vertex].op else {
        panic!()
    };
    assert!(run.env.contains(&"NAME=joe".to_owned()));
}

#[test]
fn a_few_lines_do_not_fill_the_memory() {
    let doubling = format!(
        "FROM a\nENV a=xxxxxxxxxxxxxxxx\n{}",
        "ENV a=$a$a\n".repeat(40)
    );
    assert!(error(&doubling).contains("too long"));
    let long = "ENV a=$a$a\n".repeat(15);
    let large = format!(
        "FROM a\nENV a=xxxxxxxxxxxxxxxx\n{long}{}",
        "USER x\n".repeat(600)
    );
    assert!(error(&large).contains("too large"));
}
