//! Templates as people write them, with what Go prints.

use super::*;

const CONTAINER: &str = r#"{
    "Id": "abc", "Name": "/web", "RestartCount": 0,
    "State": {"Status": "running", "Running": true, "Pid": 42, "ExitCode": 0},
    "Config": {"Env": ["A=1", "B=2"], "Cmd": null, "Labels": {"b": "2", "a": "1"}, "Image": "busybox"},
    "HostConfig": {"CpuShares": 5, "Binds": null, "NanoCpus": 1500000000, "PidsLimit": null},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": null},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}, "app": {"IPAddress": "10.0.0.2"}}
    },
    "SizeRw": 1.5
}"#;

fn render(template: &str) -> Result<String, String> {
    let data = Value::from_json(CONTAINER).expect("the sample is JSON");
    let template = Template::parse(template).map_err(|error| error.to_string())?;
    template.render(&data).map_err(|error| error.to_string())
}

#[track_caller]
fn gives(template: &str, expected: &str) {
    assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn fails(template: &str, expected: &str) {
    assert_eq!(
        render(template),
        Err(format!("template: {expected}")),
        "{template}"
    );
}

#[test]
fn fields_by_json_and_by_go_name() {
    gives("{{.Id}} {{.ID}} {{ .Name }}", "abc abc /web");
    gives("{{.State.Pid}} {{.HostConfig.CPUShares}}", "42 5");
    gives(
        "{{.NetworkSettings.Networks.bridge.IPAddress}}",
        "172.17.0.2",
    );
    gives("{{.HostConfig.NanoCpus}} {{.SizeRw}}", "1500000000 1.5");
}

#[test]
fn whole_values_print_as_go_prints_them() {
    gives(
        "{{.Config.Env}} {{.Config.Cmd}} {{.HostConfig.PidsLimit}}",
        "[A=1 B=2] [] <nil>",
    );
    gives("{{.Config.Labels}}", "map[a:1 b:2]");
    gives(
        "{{.NetworkSettings.Ports}}",
        "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:[]]",
    );
    gives("{{.Config.Labels.nope}}", "<no value>");
    gives("{{index .Config.Labels \"nope\"}}|", "|");
}

#[test]
fn docker_functions() {
    gives("{{json .Config.Labels}}", r#"{"a":"1","b":"2"}"#);
    gives(
        "{{json .State}}",
        r#"{"Status":"running","Running":true,"Pid":42,"ExitCode":0}"#,
    );
    gives("{{json .Config.Cmd}} {{.Name | json}}", r#"null "/web""#);
    gives("{{join .Config.Env \", \"}}", "A=1, B=2");
    gives("{{index (split .Name \"/\") 1}}", "web");
    gives(
        "{{upper .Id}}{{lower \"ABC\"}}{{title \"a b\"}}",
        "ABCabcA B",
    );
    gives("{{pad .Id 1 2}}|{{truncate .Id 2}}", " abc  |ab");
}

#[test]
fn control_flow() {
    gives("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=2;");
    gives(
        "{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}",
        "0=A=1 1=B=2 ",
    );
    gives(
        "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}:{{$v.IPAddress}} {{end}}",
        "app:10.0.0.2 bridge:172.17.0.2 ",
    );
    gives("{{range .Config.Cmd}}x{{else}}none{{end}}", "none");
    gives("{{if .State.Running}}up{{else}}down{{end}}", "up");
    gives(
        "{{if eq .State.Status \"exited\"}}a{{else if gt .State.Pid 1}}b{{else}}c{{end}}",
        "b",
    );
    gives("{{with .State}}{{.Status}} {{$.Id}}{{end}}", "running abc");
    gives("{{with $x := .Config.Image}}{{$x}}{{end}}", "busybox");
    gives(
        "{{$n := 1}}{{range .Config.Env}}{{$n = 7}}{{end}}{{$n}}",
        "7",
    );
    gives(
        "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
        "A=1",
    );
    gives(
        "{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}",
        "B=2",
    );
    gives(
        "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{with $conf}}{{(index . 0).HostPort}}{{end}}{{end}}",
        " 80/tcp -> 8080 81/tcp -> ",
    );
    gives(
        "{{range $p, $conf := .NetworkSettings.Ports}}{{$p.Port}} {{$p.Proto}} {{end}}",
        "80 tcp 81 tcp ",
    );
}

#[test]
fn ports_are_no_texts_until_nothing_has_a_type() {
    let value = Value::from_json(
        r#"{"Id":"abc","Ports":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"None":null}"#,
    )
    .unwrap();
    let render = |text: &str, value: &Value| {
        let rendered = Template::parse(text).unwrap().render(value);
        rendered.map_err(|error| error.to_string())
    };
    let first = "{{index .Ports \"80/tcp\"}}";
    let typed = render(first, &value).unwrap_err();
    assert!(typed.contains("should be nat.Port"), "{typed}");
    let plain = value.untyped();
    assert_eq!(
        render(first, &plain).unwrap(),
        "[map[HostIp: HostPort:8080]]"
    );
    let port = "{{(index (index .Ports \"80/tcp\") 0).HostPort}}";
    assert_eq!(render(port, &plain).unwrap(), "8080");
    assert_eq!(
        render("{{index .Ports \"81/tcp\"}} {{.None}}", &plain).unwrap(),
        "<no value> <no value>"
    );
    assert!(render("{{.Nope}}", &plain).is_err());
}

#[test]
fn trim_comments_and_definitions() {
    gives("a {{- /* gone */ -}} b", "ab");
    gives("a {{- .Id -}} b{{/* x */}}", "aabcb");
    gives(
        "{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .Id}}",
        "<abc>",
    );
    gives("{{block \"y\" .Id}}[{{.}}]{{end}}", "[abc]");
}

#[test]
fn operators_and_printing() {
    gives("{{and 1 0}} {{or 0 \"x\"}} {{not 1}}", "0 x false");
    gives(
        "{{len .Config.Env}} {{len .Id}} {{slice .Id 1}} {{slice .Id 0 1}}",
        "2 3 bc a",
    );
    gives(
        "{{ne 1 2}} {{le 2 2}} {{ge 1 2}} {{eq 3 1 2 3}}",
        "true true false true",
    );
    gives(
        "{{printf \"%-5s|%05d|%q|%v|%.2f\" \"a\" 42 \"b\" true 1.5}}",
        "a    |00042|\"b\"|true|1.50",
    );
    gives("{{printf \"%[2]v-%[1]v\" \"a\" \"b\"}}", "b-a");
    gives("{{printf \"%[2]*[1]d|%[3]v\" 3 5}}", "    3|%!v(BADINDEX)");
    gives("{{printf \"%q\" 4}} {{printf \"%q\" 34}}", "'\\x04' '\"'");
    gives("{{printf \"%d %s\" \"x\"}}", "%!d(string=x) %!s(MISSING)");
    gives("{{print 1 2 \"a\" 3}} {{println \"x\" 1}}", "1 2a3 x 1\n");
    gives("{{.Id | printf \"%s-%s\" \"x\"}}", "x-abc");
    gives(
        "{{`raw \"text\"`}} {{\"a\\tb\"}} {{1.5e3}} {{0x10}} {{'a'}}",
        "raw \"text\" a\tb 1500 16 97",
    );
    gives(
        "{{0b11}} {{0x1F}} {{0o7}} {{1_000}} {{017}}",
        "3 31 7 1000 15",
    );
    gives("{{if and .State.Running (eq .State.Pid 42)}}y{{end}}", "y");
}

#[test]
fn numbers_tell_their_base_where_they_are_asked() {
    gives(
        "{{printf \"%o %#o %O %b %#b %x %#X\" 8 8 8 8 8 -8 255}}",
        "10 010 0o10 1000 0b1000 -8 0XFF",
    );
    gives(
        "{{printf \"%x|% x|%#x|%X\" \"hi\" \"hi\" \"hi\" \"ho\"}}",
        "6869|68 69|0x6869|686F",
    );
}

#[test]
fn what_the_api_leaves_out_is_empty() {
    gives("{{if .State.Health}}h{{else}}n{{end}}", "n");
    gives("{{.Config.Healthcheck}} {{len .Config.Shell}}", "<nil> 0");
    gives("{{json .State.Health}} {{.Config.OnBuild}}", "null []");
}

#[test]
fn errors_point_where_go_points() {
    fails(
        "{{.Foo}}",
        ":1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
    );
    fails(
        "{{.State.Health.Status}}",
        ":1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\"",
    );
    fails("{{.Foo", ":1:6: unclosed action");
    fails("{{foo}}", ":1:2: function \"foo\" not defined");
    fails("{{if .Id}}", ":1:8: unexpected EOF");
    fails("{{end}}", ":1:5: unexpected {{end}}");
    fails("{{$x}}", ":1:2: undefined variable \"$x\"");
    fails(
        "{{$x = 2}}",
        ":1:7: executing \"\" at <2>: undefined variable: $x",
    );
    fails(
        "{{truncate .Id -1}}",
        ":1:2: executing \"\" at <truncate .Id -1>: error calling truncate: runtime error: slice bounds out of range [:-1]",
    );
    fails(
        "{{pad .Id 1 -2}}",
        ":1:2: executing \"\" at <pad .Id 1 -2>: error calling pad: strings: negative Repeat count",
    );
    fails("{{if}}{{end}}", ":1:4: missing value for if");
    fails("{{}}", ":1:2: missing value for command");
    fails(
        "{{index .Config.Env 5}}",
        ":1:2: executing \"\" at <index .Config.Env 5>: error calling index: index out of range: 5",
    );
    fails("a\n b {{foo}}", ":2:5: function \"foo\" not defined");
    fails("{{0b12}}", ":1:2: bad number syntax: \"0b12\"");
    fails("{{\"a}}", ":1:2: unterminated quoted string");
    fails(
        "{{(.State).Foo}}",
        ":1:3: executing \"\" at <.State>: map has no entry for key \"Foo\"",
    );
    fails(
        "{{$.Foo}}",
        ":1:3: executing \"\" at <$.Foo>: map has no entry for key \"Foo\"",
    );
    fails(
        "{{- .Foo -}}",
        ":1:4: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
    );
    fails(
        "{{define \"x\"}}{{.Foo}}{{end}}{{template \"x\" .}}",
        ":1:16: executing \"x\" at <.Foo>: map has no entry for key \"Foo\"",
    );
    fails(
        "{{lt 1 \"a\"}}",
        ":1:2: executing \"\" at <lt 1 \"a\">: error calling lt: incompatible types for comparison",
    );
}

#[test]
fn what_is_wrong_is_told_in_gos_words() {
    for (template, why) in [
        ("{{..Id}}", ":1:3: unexpected . after term \".\""),
        ("{{1.5.2}}", ":1:5: unexpected \".2\" in operand"),
        ("{{print if}}", ":1:8: unexpected <if> in operand"),
        ("{{.Id@}}", ":1:2: bad character U+0040 '@'"),
        ("{{@}}", ":1:2: unexpected \"@\" in command"),
        ("{{ /* c */}}", ":1:3: unexpected \"/\" in command"),
        ("{{1+2}}", ":1:2: bad number syntax: \"1+2\""),
        ("{{'ab'}}", ":1:2: malformed character constant: 'ab'"),
        ("{{\"\\x4\"}}", ":1:2: invalid syntax"),
        ("{{$x, $y := 1}}", ":1:4: too many declarations in command"),
        ("{{break foo}}", ":1:8: unexpected \"foo\" in {{break}}"),
        (
            "{{range 2}}{{block \"b\" .}}{{break}}{{end}}{{end}}",
            ":1:33: {{break}} outside {{range}}",
        ),
        (
            "{{if 1}}{{define \"x\"}}{{end}}{{end}}",
            ":1:10: unexpected <define> in command",
        ),
        (
            "{{with 1}}{{else if 1}}{{end}}",
            ":1:17: unexpected <if> in input",
        ),
        (
            "{{define \"x\"}}a{{end}}{{define \"x\"}}b{{end}}",
            ":1:42: template: multiple definition of template \"x\"",
        ),
        // What is wrong first is told first.
        ("{{foo}}{{\"a}}", ":1:2: function \"foo\" not defined"),
    ] {
        fails(template, why);
    }
}

#[test]
fn arguments_have_types() {
    for (template, why) in [
        (
            "{{upper 1}}",
            ":1:8: executing \"\" at <1>: expected string; found 1",
        ),
        (
            "{{upper nil}}",
            ":1:8: executing \"\" at <nil>: cannot assign nil to string",
        ),
        (
            "{{.State.Pid | upper}}",
            ":1:15: executing \"\" at <upper>: wrong type for value; expected string; got int",
        ),
        (
            "{{truncate .Id .Id}}",
            ":1:15: executing \"\" at <.Id>: wrong type for value; expected int; got string",
        ),
        (
            "{{join .Id \",\"}}",
            ":1:7: executing \"\" at <.Id>: wrong type for value; expected []string; got string",
        ),
        (
            "{{split .Id}}",
            ":1:2: executing \"\" at <split>: wrong number of args for split: want 2 got 1",
        ),
        (
            "{{call .Id}}",
            ":1:2: executing \"\" at <call .Id>: error calling call: non-function .Id of type string",
        ),
        (
            "{{.Label \"x\"}}",
            ":1:2: executing \"\" at <.Label>: map has no entry for key \"Label\"",
        ),
        (
            "{{9223372036854775808}}",
            ":1:2: executing \"\" at <9223372036854775808>: 9223372036854775808 overflows int",
        ),
        (
            "{{index .Config.Env 2}}",
            ":1:2: executing \"\" at <index .Config.Env 2>: error calling index: reflect: slice index out of range",
        ),
        (
            "{{slice .Id 1 2 3}}",
            ":1:2: executing \"\" at <slice .Id 1 2 3>: error calling slice: cannot 3-index slice a string",
        ),
        (
            "{{json 1i}}",
            ":1:2: executing \"\" at <json 1i>: error calling json: json: unsupported type: complex128",
        ),
    ] {
        fails(template, why);
    }
    gives("{{truncate .Id 2.0}} {{join nil \",\"}}", "ab ");
}

#[test]
fn complex_numbers_and_rare_literals() {
    gives(
        "{{1i}} {{1+2i}} {{-1-0x1p-2i}} {{printf \"%T %.1f\" 1i 1.5i}} {{eq 1i 1i}}",
        "(0+1i) (1+2i) (-1-0.25i) complex128 (0.0+1.5i) true",
    );
    gives(
        r#"{{"\101\x41\u00e9\""}} {{'\''}} {{'\377'}}"#,
        "AA\u{e9}\" 39 255",
    );
    gives(
        "{{1e6}} {{1e5}} {{1e-5}} {{printf \"%v\" 1e21}}",
        "1e+06 100000 1e-05 1e+21",
    );
}

#[test]
fn nothing_is_told_as_go_tells_it() {
    gives(
        "{{print nil}} {{html nil}} {{printf \"%T\" nil}} {{eq nil .Config.Cmd}} {{eq nil 1}}",
        "<nil> &lt;no value&gt; <nil> true false",
    );
    gives(
        "{{define \"x\"}}{{.}}{{end}}{{template \"x\"}}",
        "<no value>",
    );
    gives("{{.Config.Labels.nope.deeper}}", "<no value>");
    gives("{{eq 1 1 \"x\"}} {{print |}}", "true ");
}

#[test]
fn parts_are_formatted_one_by_one() {
    gives(
        "{{printf \"%4s|%#v|%q\" .Config.Env .Config.Env .Config.Env}}",
        "[ A=1  B=2]|[]string{\"A=1\", \"B=2\"}|[\"A=1\" \"B=2\"]",
    );
    gives(
        "{{title \"o'neil a-b\"}} {{truncate \"\u{65e5}\u{672c}\" 3}}",
        "O'Neil A-B \u{65e5}",
    );
}

#[test]
fn rows_have_labels() {
    let row = Object {
        kind: Kind::Row("*formatter.ContainerContext"),
        fields: vec![("ID".into(), Value::text("x"))],
        labels: vec![("a".into(), "1".into())],
    };
    let row = Value::Object(std::rc::Rc::new(row));
    let render = |text: &str| Template::parse(text).and_then(|template| template.render(&row));
    assert_eq!(render("{{.Label \"a\"}}{{.Label \"b\"}}|").unwrap(), "1|");
    for (text, why) in [
        (
            "{{.Label}}",
            ":2: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 0",
        ),
        (
            "{{.Label \"a\" \"b\"}}",
            ":2: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 2",
        ),
        (
            "{{.Label 1}}",
            ":9: executing \"\" at <1>: expected string; found 1",
        ),
    ] {
        let error = render(text).unwrap_err().to_string();
        assert_eq!(error, format!("template: :1{why}"));
    }
    assert_eq!(
        render("{{.Nope}}").unwrap_err().to_string(),
        "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext"
    );
}
