//! What a container's status text tells beside its state.

/// The health: `Up 3 seconds (healthy)`.
pub(crate) fn health(status: &str) -> Option<&str> {
    let (_, inner) = status.rsplit_once('(')?;
    match inner.trim_end_matches(')') {
        inner @ ("healthy" | "unhealthy") => Some(inner),
        "health: starting" => Some("starting"),
        _ => None,
    }
}

/// The exit code: `Exited (3) 2 seconds ago`.
pub(crate) fn exit_code(status: &str) -> Option<i64> {
    let ways = ["Exited (", "Restarting ("];
    let rest = ways.iter().find_map(|way| status.strip_prefix(way))?;
    rest.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_health_and_code() {
        assert_eq!(health("Up 3 seconds (healthy)"), Some("healthy"));
        assert_eq!(health("Up 3 seconds (health: starting)"), Some("starting"));
        assert_eq!(health("Exited (3) 2 seconds ago"), None);
        assert_eq!(exit_code("Exited (3) 2 seconds ago"), Some(3));
        assert_eq!(exit_code("Restarting (1) 2 seconds ago"), Some(1));
        assert_eq!(exit_code("Up 3 seconds"), None);
    }
}
