//! Services along their dependencies: each as soon as those before it are done.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Result;
use crate::model::Project;

/// Which of the two ends comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// What is depended on.
    DependenciesFirst,
    /// What depends on others.
    DependentsFirst,
}

/// Names, each with those that must be done before.
pub(super) type Before = BTreeMap<String, BTreeSet<String>>;

/// What must be done before each service of a project.
pub(super) fn of_project(project: &Project, order: Order) -> Before {
    let edges = project.services.values().flat_map(|service| {
        service
            .depends_on
            .keys()
            .map(|dependency| (service.name.clone(), dependency.clone()))
    });
    before(project.services.keys().cloned(), edges, order)
}

/// What must be done before each name; an edge goes from the one that depends.
pub(super) fn before(
    names: impl Iterator<Item = String>,
    edges: impl Iterator<Item = (String, String)>,
    order: Order,
) -> Before {
    let mut before: Before = names.map(|name| (name, BTreeSet::new())).collect();
    for (dependent, dependency) in edges {
        let (later, earlier) = match order {
            Order::DependenciesFirst => (dependent, dependency),
            Order::DependentsFirst => (dependency, dependent),
        };
        if before.contains_key(&earlier)
            && let Some(set) = before.get_mut(&later)
        {
            set.insert(earlier);
        }
    }
    before
}

/// Runs `act` for each name as soon as those before it are done, at most `parallel` at once. After
/// a failure nothing new begins; what has begun is finished.
///
/// # Errors
/// The first failure.
pub(super) async fn walk<F, Fut>(mut before: Before, parallel: usize, act: F) -> Result<()>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        while failure.is_none() && running.len() < parallel.max(1) {
            let ready = before
                .iter()
                .find(|(_, open)| open.is_empty())
                .map(|(name, _)| name.clone());
            let Some(name) = ready else {
                break;
            };
            before.remove(&name);
            let work = act(name.clone());
            running.push(async move { (name, work.await) });
        }
        let Some((name, result)) = running.next().await else {
            break;
        };
        match result {
            Ok(()) => before.values_mut().for_each(|open| _ = open.remove(&name)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Runs all at once, at most `parallel` at a time, and all to their end.
///
/// # Errors
/// The first failure.
pub(super) async fn each<I, F, Fut>(items: I, parallel: usize, act: F) -> Result<()>
where
    I: IntoIterator,
    F: Fn(I::Item) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut items = items.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        while running.len() < parallel.max(1) {
            match items.next() {
                Some(item) => running.push(act(item)),
                None => break,
            }
        }
        match running.next().await {
            None => break,
            Some(Ok(())) => {}
            Some(Err(error)) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::apply::ApplyError;

    fn walked(order: Order, fails: &str) -> (Vec<String>, bool) {
        let names = ["a", "b", "c", "d"].map(str::to_owned).into_iter();
        let edges = [("a", "b"), ("b", "c"), ("d", "c"), ("d", "absent")];
        let edges = edges
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .into_iter();
        let before = before(names, edges, order);
        let seen = RefCell::new(Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let result = runtime.block_on(walk(before, 2, |name| {
            seen.borrow_mut().push(name.clone());
            async move {
                match name == fails {
                    true => Err(ApplyError::Other("no".into())),
                    false => Ok(()),
                }
            }
        }));
        (seen.into_inner(), result.is_ok())
    }

    #[test]
    fn what_is_depended_on_comes_first() {
        let (order, ok) = walked(Order::DependenciesFirst, "");
        assert!(ok);
        assert_eq!(order[0], "c");
        assert_eq!(order.len(), 4);
        let at = |name: &str| order.iter().position(|seen| seen == name);
        assert!(at("b") < at("a"));
    }

    #[test]
    fn what_depends_comes_first_on_the_way_back() {
        let (order, _) = walked(Order::DependentsFirst, "");
        assert_eq!(order.last().map(String::as_str), Some("c"));
    }

    #[test]
    fn nothing_begins_after_a_failure() {
        let (order, ok) = walked(Order::DependenciesFirst, "c");
        assert!(!ok);
        assert_eq!(order, ["c"]);
    }
}
