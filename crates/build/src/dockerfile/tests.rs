use super::*;

fn error(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("{text:?} is taken for a Dockerfile"),
        Err(located) => format!("{}: {}", located.span.first, located.error),
    }
}

fn steps(text: &str) -> Vec<Instruction> {
    let file = parse(&format!("FROM x\n{text}")).unwrap_or_else(|e| panic!("{text}: {}", e.error));
    file.stages[0]
        .steps
        .iter()
        .map(|step| step.instruction.clone())
        .collect()
}

/// What is wrong with each text: the line, and BuildKit's words.
const INVALID: &[(&str, &str)] = &[
    ("", "1: file with no instructions"),
    ("# only a comment\n", "1: file with no instructions"),
    ("RUN x", "1: no build stage in current context"),
    (
        "FROM x\n\nRNU true",
        "3: unknown instruction: RNU (did you mean RUN?)",
    ),
    ("FROM x\nxyzzy", "2: unknown instruction: xyzzy"),
    ("FROM", "1: FROM requires either one or three arguments"),
    ("FROM a b", "1: FROM requires either one or three arguments"),
    (
        "FROM a AS 1x",
        "1: invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
    ),
    ("FROM x\nRUN", "2: RUN requires at least one argument"),
    (
        "FROM x\nRUN --mont=type=bind x",
        "2: unknown flag: --mont (did you mean --mount?)",
    ),
    (
        "FROM x\nCOPY a",
        "2: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    ),
    (
        "FROM x\nCOPY",
        "2: COPY requires at least two arguments, but none were provided",
    ),
    (
        "FROM x\nCOPY --from a b",
        "2: missing a value on flag: --from",
    ),
    (
        "FROM x\nCOPY --link=maybe a b",
        "2: expecting boolean value for flag link, not: maybe",
    ),
    ("FROM x\nENV A", "2: ENV must have two arguments"),
    (
        "FROM x\nENV A=1 B",
        "2: Syntax error - can't find = in \"B\". Must be of the form: name=value",
    ),
    ("FROM x\nENV =x", "2: ENV names can not be blank"),
    ("FROM x\nLABEL", "2: LABEL requires at least one argument"),
    (
        "FROM x\nWORKDIR",
        "2: WORKDIR requires exactly one argument",
    ),
    (
        "FROM x\nVOLUME [\"\"]",
        "2: VOLUME specified can not be an empty string",
    ),
    (
        "FROM x\nONBUILD ONBUILD RUN x",
        "2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    ),
    (
        "FROM x\nONBUILD FROM y",
        "2: FROM isn't allowed as an ONBUILD trigger",
    ),
    (
        "FROM x\nSHELL sh",
        "2: SHELL requires the arguments to be in JSON form",
    ),
    (
        "FROM x\nHEALTHCHECK NONE x",
        "2: HEALTHCHECK NONE takes no arguments",
    ),
    (
        "FROM x\nHEALTHCHECK CMD",
        "2: Missing command after HEALTHCHECK CMD",
    ),
    (
        "FROM x\nHEALTHCHECK FOO x",
        "2: Unknown type \"FOO\" in HEALTHCHECK (try CMD)",
    ),
    (
        "FROM x\nHEALTHCHECK --interval=1us CMD x",
        "2: Interval \"interval\" cannot be less than 1ms",
    ),
    (
        "FROM x\nHEALTHCHECK --interval=soon CMD x",
        "2: time: invalid duration \"soon\"",
    ),
    ("FROM x\nRUN <<EOF\necho", "2: unterminated heredoc"),
    (
        "# escape=x\nFROM x",
        "1: invalid escape token 'x' does not match ` or \\",
    ),
    (
        "# escape=`\n# escape=`\nFROM x",
        "2: only one escape parser directive can be used",
    ),
];

#[test]
fn what_is_no_dockerfile_says_why_and_where() {
    for (text, expected) in INVALID {
        assert_eq!(error(text), *expected, "{text:?}");
    }
}

#[test]
fn lines_go_on_and_comments_between_them_do_not_count() {
    let file = parse("FROM x\nRUN a \\\n  # comment\n\n  && b \\  \n  && c\nRUN d\n").unwrap();
    let steps = &file.stages[0].steps;
    let Instruction::Run(run) = &steps[0].instruction else {
        panic!()
    };
    assert_eq!(run.command, Command::Shell("a   && b   && c".to_owned()));
    assert_eq!(steps[0].span, Span { first: 2, last: 6 });
    assert_eq!(steps[1].span, Span::line(7));
    assert_eq!(file.empty_continuations.len(), 1);
}

#[test]
fn directives_stand_at_the_top_only() {
    let file =
        parse("# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\nFROM x\nRUN a `\n b")
            .unwrap();
    assert_eq!(
        file.directives.syntax.as_deref(),
        Some("docker/dockerfile:1")
    );
    assert_eq!(file.directives.escape, '`');
    assert_eq!(file.directives.check.as_deref(), Some("skip=all"));
    assert_eq!(file.stages[0].steps.len(), 1);
    let late = parse("# a comment\n# escape=`\nFROM x").unwrap();
    assert_eq!(late.directives.escape, '\\');
}

#[test]
fn commands_are_json_or_for_the_shell() {
    let shell = |text: &str| Command::Shell(text.to_owned());
    for (text, expected) in [
        ("CMD echo hi", shell("echo hi")),
        (
            "CMD [\"a\", \"b c\"]",
            Command::Exec(vec!["a".to_owned(), "b c".to_owned()]),
        ),
        ("CMD ['a']", shell("['a']")),
        ("CMD []", Command::Exec(Vec::new())),
        ("cmd   x", shell("x")),
    ] {
        assert_eq!(steps(text), [Instruction::Cmd(expected)], "{text}");
    }
}

#[test]
fn pairs_keep_their_quotes_until_they_are_substituted() {
    let pair = |name: &str, value: &str, legacy| Pair {
        name: name.to_owned(),
        value: value.to_owned(),
        legacy,
    };
    for (text, expected) in [
        (
            "ENV a=1 b=\"two three\"",
            vec![pair("a", "1", false), pair("b", "\"two three\"", false)],
        ),
        ("ENV a b  c", vec![pair("a", "b  c", true)]),
        ("ENV a=x\\ y", vec![pair("a", "x\\ y", false)]),
        ("ENV a==", vec![pair("a", "=", false)]),
    ] {
        assert_eq!(steps(text), [Instruction::Env(expected)], "{text}");
    }
}

#[test]
fn heredocs_belong_to_their_instruction() {
    let file = parse("FROM x\nRUN <<A cat <<-'B'\none\nA\n\t$two\n\tB\nCOPY <<f /d/\n$x\nf\nCMD x")
        .unwrap();
    let run = &file.stages[0].steps[0];
    let found: Vec<_> = run
        .heredocs
        .iter()
        .map(|doc| {
            (
                doc.name.as_str(),
                doc.content.as_str(),
                doc.expand,
                doc.chomp,
            )
        })
        .collect();
    assert_eq!(
        found,
        [("A", "one\n", true, false), ("B", "$two\n", false, true)]
    );
    assert_eq!(run.span, Span { first: 2, last: 6 });
    assert_eq!(file.stages[0].steps[1].heredocs[0].content, "$x\n");
    assert_eq!(file.stages[0].steps.len(), 3);
}

#[test]
fn mounts_say_what_they_are() {
    let secret = mount_of("type=secret,id=key,env=KEY").unwrap();
    assert!(
        matches!(&secret, RunMount::Secret { target: None, env: Some(name), .. } if name == "KEY")
    );
    let cache = mount_of("type=cache,target=/c,sharing=locked,mode=0700,uid=5").unwrap();
    assert!(matches!(
        cache,
        RunMount::Cache {
            sharing: Sharing::Locked,
            mode: 0o700,
            uid: 5,
            read_only: false,
            ..
        }
    ));
    assert!(matches!(
        mount_of("target=/x").unwrap(),
        RunMount::Bind {
            writable: false,
            ..
        }
    ));
    assert!(matches!(
        mount_of("target=/x,rw").unwrap(),
        RunMount::Bind { writable: true, .. }
    ));
    assert!(
        matches!(mount_of("type=tmpfs,target=/x,size=64m").unwrap(), RunMount::Tmpfs { size, .. } if size == 64 << 20)
    );
    for (text, expected) in [
        ("type=bind", "target required for mount type \"bind\""),
        ("type=volume,target=/x", "unsupported mount type \"volume\""),
        (
            "type=cache,target=/x,shring=locked",
            "unexpected key 'shring' for mount type 'cache' (did you mean sharing?)",
        ),
        (
            "type=cache,target=/x,sharing=never",
            "invalid value for sharing: never",
        ),
        (
            "type=secret",
            "secret mount without an id: give id= or target=",
        ),
        (
            "type=bind,target",
            "invalid field 'target' must be a key=value pair",
        ),
    ] {
        assert_eq!(mount_of(text).unwrap_err().to_string(), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~\n\t`é]{0,300}") {
        let _ = parse(&text);
        let _ = parse(&format!("FROM x\nRUN {text}"));
        let _ = mount_of(&text);
    }
}
