//! Linux, one module per facility, with safe signatures. No policy, nothing asynchronous.

pub mod beneath;
pub mod bpf;
pub mod capability;
pub mod cgroup;
pub mod child;
pub mod fdpass;
pub mod files;
pub mod host_process;
pub mod idmap;
pub mod keyring;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod nftables;
pub mod overlay;
pub mod process;
pub mod quota;
pub mod seccomp;
pub mod spawn;
pub mod xattr;
