//! Any text is a Dockerfile or a syntax error; what is parsed is planned or refused; and whatever is told about
//! it can be shown at its place.

#![no_main]

use std::sync::Arc;

use hull_build::plan::{Base, Bases, Input, plan};
use hull_build::{BuildRequest, Place, dockerfile};
use hull_oci::{ImageConfig, Platform};
use libfuzzer_sys::fuzz_target;

/// Each image is there, and has a trigger.
struct Images;

impl Bases for Images {
    fn base(&self, reference: &str, platform: &Platform) -> Result<Base, String> {
        let mut config = ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            ..ImageConfig::default()
        };
        config.config.env = vec!["PATH=/bin".to_owned()];
        config.config.on_build = Some(vec!["RUN true".to_owned()]);
        Ok(Base {
            reference: reference.to_owned(),
            manifest: format!("sha256:{reference}"),
            config: Arc::new(config),
        })
    }
}

fuzz_target!(|text: &str| {
    let file = match dockerfile::parse(text) {
        Ok(file) => file,
        Err(located) => {
            let place = Place {
                file: "Dockerfile".to_owned(),
                span: located.span,
                text: text.into(),
            };
            let _ = (located.error.to_string(), place.excerpt());
            return;
        }
    };
    let mut request = BuildRequest::new("Dockerfile", text);
    request.has_context = true;
    let planned = plan(&Input {
        file: &file,
        request: &request,
        bases: &Images,
        host: Platform::new("linux", "amd64", ""),
        texts: hull_build::Texts::of("Dockerfile", text),
    });
    match planned {
        Ok(plan) => plan.warnings.iter().for_each(|warning| drop(warning.place.excerpt())),
        Err(error) => {
            let _ = (error.to_string(), error.place().map(Place::excerpt));
        }
    }
});
