use super::*;

fn meant(method: &Method, path: &str) -> Result<Meaning, Failure> {
    route(method, path, ApiVersion::MIN)
}

fn op(method: &Method, path: &str) -> Op {
    meant(method, path)
        .unwrap_or_else(|failure| panic!("{method} {path}: {failure:?}"))
        .op
}

/// Every operation of the Engine API, and whether it is served. `false`: answered with a message
/// that says what is missing.
#[rustfmt::skip]
const OPERATIONS: &[(&str, &str, bool)] = &[
    ("HEAD", "/_ping", true),
    ("GET", "/_ping", true),
    ("GET", "/version", true),
    ("GET", "/info", true),
    ("GET", "/events", true),
    ("GET", "/system/df", true),
    ("POST", "/auth", true),
    ("OPTIONS", "/{anyroute}", true),
    ("GET", "/containers/json", true),
    ("POST", "/containers/create", true),
    ("GET", "/containers/{id}/json", true),
    ("GET", "/containers/{id}/top", true),
    ("GET", "/containers/{id}/logs", true),
    ("GET", "/containers/{id}/changes", true),
    ("GET", "/containers/{id}/export", true),
    ("GET", "/containers/{id}/stats", true),
    ("POST", "/containers/{id}/resize", true),
    ("POST", "/containers/{id}/start", true),
    ("POST", "/containers/{id}/stop", true),
    ("POST", "/containers/{id}/restart", true),
    ("POST", "/containers/{id}/kill", true),
    ("POST", "/containers/{id}/update", true),
    ("POST", "/containers/{id}/rename", true),
    ("POST", "/containers/{id}/pause", true),
    ("POST", "/containers/{id}/unpause", true),
    ("POST", "/containers/{id}/attach", true),
    ("GET", "/containers/{id}/attach/ws", true),
    ("POST", "/containers/{id}/wait", true),
    ("DELETE", "/containers/{id}", true),
    ("HEAD", "/containers/{id}/archive", true),
    ("GET", "/containers/{id}/archive", true),
    ("PUT", "/containers/{id}/archive", true),
    ("POST", "/containers/prune", true),
    ("POST", "/commit", true),
    ("POST", "/containers/{id}/exec", true),
    ("POST", "/exec/{id}/start", true),
    ("POST", "/exec/{id}/resize", true),
    ("GET", "/exec/{id}/json", true),
    ("GET", "/images/json", true),
    ("POST", "/images/create", true),
    ("GET", "/images/{name}/json", true),
    ("GET", "/images/{name}/history", true),
    ("GET", "/images/{name}/attestations", true),
    ("POST", "/images/{name}/push", true),
    ("POST", "/images/{name}/tag", true),
    ("DELETE", "/images/{name}", true),
    ("GET", "/images/search", true),
    ("GET", "/images/{name}/get", true),
    ("GET", "/images/get", true),
    ("POST", "/images/load", true),
    ("POST", "/images/prune", true),
    ("GET", "/distribution/{name}/json", true),
    ("POST", "/build", true),
    ("POST", "/build/prune", true),
    ("POST", "/build/cancel", true),
    ("POST", "/session", true),
    ("POST", "/grpc", true),
    ("GET", "/networks", true),
    ("GET", "/networks/{id}", true),
    ("POST", "/networks/create", true),
    ("POST", "/networks/{id}/connect", true),
    ("POST", "/networks/{id}/disconnect", true),
    ("DELETE", "/networks/{id}", true),
    ("POST", "/networks/prune", true),
    ("GET", "/networks/", true),
    ("GET", "/volumes", true),
    ("POST", "/volumes/create", true),
    ("GET", "/volumes/{name}", true),
    ("PUT", "/volumes/{name}", false),
    ("DELETE", "/volumes/{name}", true),
    ("POST", "/volumes/prune", true),
    ("GET", "/swarm", false),
    ("POST", "/swarm/init", false),
    ("POST", "/swarm/join", false),
    ("POST", "/swarm/leave", false),
    ("POST", "/swarm/update", false),
    ("GET", "/swarm/unlockkey", false),
    ("POST", "/swarm/unlock", false),
    ("GET", "/nodes", false),
    ("GET", "/nodes/{id}", false),
    ("DELETE", "/nodes/{id}", false),
    ("POST", "/nodes/{id}/update", false),
    ("GET", "/services", false),
    ("POST", "/services/create", false),
    ("GET", "/services/{id}", false),
    ("DELETE", "/services/{id}", false),
    ("POST", "/services/{id}/update", false),
    ("GET", "/services/{id}/logs", false),
    ("GET", "/tasks", false),
    ("GET", "/tasks/{id}", false),
    ("GET", "/tasks/{id}/logs", false),
    ("GET", "/secrets", false),
    ("POST", "/secrets/create", false),
    ("GET", "/secrets/{id}", false),
    ("DELETE", "/secrets/{id}", false),
    ("POST", "/secrets/{id}/update", false),
    ("GET", "/configs", false),
    ("POST", "/configs/create", false),
    ("GET", "/configs/{id}", false),
    ("DELETE", "/configs/{id}", false),
    ("POST", "/configs/{id}/update", false),
    ("GET", "/plugins", true),
    ("GET", "/plugins/privileges", false),
    ("POST", "/plugins/pull", false),
    ("GET", "/plugins/{name}/json", true),
    ("DELETE", "/plugins/{name}", true),
    ("POST", "/plugins/{name}/enable", true),
    ("POST", "/plugins/{name}/disable", true),
    ("POST", "/plugins/{name}/upgrade", true),
    ("POST", "/plugins/create", false),
    ("POST", "/plugins/{name}/push", true),
    ("POST", "/plugins/{name}/set", true),
    ("GET", "/containers/{id}/checkpoints", false),
    ("POST", "/containers/{id}/checkpoints", false),
    ("DELETE", "/containers/{id}/checkpoints/{checkpoint}", false),
];

#[test]
fn every_operation_is_known_and_what_is_missing_says_so() {
    for (method, path, served) in OPERATIONS {
        let method: Method = method.parse().unwrap();
        let path = path
            .replace("{name}", "team%2Fapp:1")
            .replace("{anyroute}", "x");
        let path = path.replace("{id}", "0123").replace("{checkpoint}", "c");
        let missing = |op| matches!(op, Op::Absent(_) | Op::NoSwarm);
        assert_eq!(!missing(op(&method, &path)), *served, "{method} {path}");
        assert_eq!(op(&method, &format!("/v1.44{path}")), op(&method, &path));
    }
}

#[test]
fn what_docker_does_not_know_is_not_found() {
    for (method, path) in [
        (GET, "/"),
        (GET, ""),
        (GET, "/containers"),
        (POST, "/containers/json"),
        (POST, "/containers//start"),
        (PUT, "/containers/a/start"),
        (HEAD, "/containers/json"),
        (POST, "/containers/a/copy"),
        (POST, "/containers/a/b/start"),
        (DELETE, "/images/"),
        (GET, "/version/"),
        (GET, "/vx/info"),
        (GET, "/v1.44"),
    ] {
        let failure = meant(method, path).unwrap_err();
        assert_eq!(
            (failure.status.as_u16(), failure.message.as_str()),
            (404, "page not found"),
            "{path}"
        );
    }
}

#[test]
fn names_may_hold_slashes_and_escapes() {
    let names = |method, path| meant(method, path).unwrap().names;
    assert_eq!(
        names(GET, "/v1.44/images/reg:5000/team/app:1/json"),
        ["reg:5000/team/app:1"]
    );
    assert_eq!(
        names(GET, "/images/a%2Fb%40sha256%3A0/json"),
        ["a/b@sha256:0"]
    );
    assert_eq!(names(GET, "/images/json/json"), ["json"]);
    assert_eq!(names(DELETE, "/images/a/b"), ["a/b"]);
    assert_eq!(names(POST, "/containers/a+b/start"), ["a+b"]);
}

#[test]
fn the_version_must_be_one_that_is_spoken() {
    assert_eq!(meant(GET, "/info").unwrap().version, ApiVersion::MAX);
    assert_eq!(
        meant(GET, "/v1.30/info").unwrap().version,
        ApiVersion::new(30)
    );
    let refused = |path| {
        let failure = meant(GET, path).unwrap_err();
        assert_eq!(failure.status.as_u16(), 400);
        failure.message
    };
    assert_eq!(
        refused("/v1.99/info"),
        "client version 1.99 is too new. Maximum supported API version is 1.55"
    );
    assert_eq!(
        refused("/v1.12/info"),
        "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade \
         your client to a newer version"
    );
    assert_eq!(
        refused("/v1.4.4/info"),
        "API version has invalid format: 1.4.4"
    );
}
