//! `--filter`, as listing and pruning commands take it.

use hull_api::Filters;

use crate::flags::List;
use crate::options::filter::Condition;

/// Conditions given on the command line.
pub(super) type Conditions = List<Condition>;

/// The conditions as the API takes them.
pub(super) fn filters(conditions: &Conditions) -> Filters {
    let mut filters = Filters::default();
    for condition in conditions
        .0
        .iter()
        .filter(|condition| **condition != Condition::default())
    {
        filters.add(&condition.key, condition.value.as_str());
    }
    filters
}
