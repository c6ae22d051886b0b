//! Plugins of the daemon's that are installed from a registry. Hull has none, and says so; other daemons may have some.

pub(super) mod ls;
