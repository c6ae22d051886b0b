//! What the container is called and labelled, and what becomes of it.

use hull_api::types::{Config, HostConfig, LogConfig};

use crate::flags::{FlagSet, List, Map};
use crate::options::environment::{self, Label};

#[derive(Default)]
pub(super) struct IdentityFlags {
    pub(super) cidfile: String,
    annotations: Map,
    hostname: String,
    domainname: String,
    labels: List<Label>,
    label_files: Vec<String>,
    pub(super) restart: String,
    pub(super) rm: bool,
    runtime: String,
    isolation: String,
    log_driver: String,
    log_options: Vec<String>,
    init: Option<bool>,
}

impl IdentityFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("cidfile", "string", "Write the container ID to the file", &mut self.cidfile);
        set.add("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime) (default map[])", &mut self.annotations);
        set.add("h,hostname", "string", "Container host name", &mut self.hostname);
        set.add("domainname", "string", "Container NIS domain name", &mut self.domainname);
        set.add("l,label", "list", "Set meta data on a container", &mut self.labels);
        set.add("label-file", "list", "Read in a line delimited file of labels", &mut self.label_files);
        set.add("restart", "string", "Restart policy to apply when a container exits (default \"no\")", &mut self.restart);
        set.add("rm", "", "Automatically remove the container and its associated anonymous volumes when it exits", &mut self.rm);
        set.add("runtime", "string", "Runtime to use for this container", &mut self.runtime);
        set.add("isolation", "string", "Container isolation technology", &mut self.isolation);
        set.add("log-driver", "string", "Logging driver for the container", &mut self.log_driver);
        set.add("log-opt", "list", "Log driver options", &mut self.log_options);
        set.add("init", "", "Run an init inside the container that forwards signals and reaps processes", &mut self.init);
    }

    pub(super) fn apply(&self, config: &mut Config, host: &mut HostConfig) -> Result<(), String> {
        self.hostname.clone_into(&mut config.hostname);
        self.domainname.clone_into(&mut config.domainname);
        config.labels = Some(environment::labels(&self.label_files, &self.labels.0)?);
        host.annotations = self.annotations.0.clone();
        self.cidfile.clone_into(&mut host.container_id_file);
        host.auto_remove = self.rm;
        self.runtime.clone_into(&mut host.runtime);
        self.isolation.clone_into(&mut host.isolation);
        host.init = self.init;
        if self.log_driver == "none" && !self.log_options.is_empty() {
            return Err("invalid logging opts for driver none".to_owned());
        }
        host.log_config = LogConfig {
            driver: self.log_driver.clone(),
            config: Some(environment::map(&self.log_options)),
        };
        Ok(())
    }
}
