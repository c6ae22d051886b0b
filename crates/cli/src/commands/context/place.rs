//! `--docker host=…,ca=…,cert=…,key=…,skip-tls-verify=…,from=…`: the endpoint of a context.

use std::fs;

use super::{keys, metadata};
use crate::context::Globals;
use crate::context::store::{Keys, Place};
use crate::error::{Error, Result};
use crate::flags;

/// What the help says of the endpoint.
pub(super) const HELP: &str = "Docker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\nhost                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\ncert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\nExample:\n\n$ docker context VERB my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"";

/// The words of the flag.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Words(Vec<(String, String)>);

impl flags::Value for Words {
    fn set(&mut self, text: &str) -> std::result::Result<(), String> {
        if text.is_empty() {
            return Err(" must be formatted as key=value".to_owned());
        }
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("{pair} must be formatted as key=value"))?;
            self.0.push((
                key.trim_matches('"').to_owned(),
                value.trim_matches('"').to_owned(),
            ));
        }
        Ok(())
    }
}

impl Words {
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The endpoint and its keys, read from their files.
    ///
    /// # Errors
    /// A word that is not known, or a file that cannot be read.
    pub(super) fn endpoint(&self, globals: &Globals) -> Result<(Place, Keys)> {
        let failed =
            |why: &str| Error::new(format!("unable to create docker endpoint config: {why}"));
        self.read(globals).map_err(|error| failed(error.message()))
    }

    fn read(&self, globals: &Globals) -> Result<(Place, Keys)> {
        const KNOWN: [&str; 6] = ["from", "host", "ca", "cert", "key", "skip-tls-verify"];
        if let Some((key, _)) = self
            .0
            .iter()
            .find(|(key, _)| !KNOWN.contains(&key.as_str()))
        {
            return Err(Error::new(format!("unrecognized config key: {key}")));
        }
        if let Some(from) = self.get("from") {
            return Ok((metadata(globals, from)?.place(), keys(globals, from)?));
        }
        let mut keys = Keys::new();
        for (key, file) in [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")] {
            if let Some(path) = self.get(key) {
                let bytes = fs::read(path).map_err(|error| Error::io("open", path, &error))?;
                keys.insert(file.to_owned(), bytes);
            }
        }
        let skip = match self.get("skip-tls-verify") {
            None | Some("") => false,
            Some(text) => flags::parse_bool(text).map_err(|_| {
                Error::new(format!("skip-tls-verify: parsing {text:?}: invalid syntax"))
            })?,
        };
        let host = self.get("host").unwrap_or_default();
        if !host.is_empty()
            && host
                .split_once("://")
                .is_none_or(|(_, place)| place.is_empty())
        {
            return Err(Error::new(format!(
                "unable to apply docker endpoint options: unable to parse docker host `{host}`"
            )));
        }
        let place = Place {
            host: self.get("host").unwrap_or_default().to_owned(),
            skip_tls_verify: skip,
        };
        Ok((place, keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Value;

    #[test]
    fn the_last_word_of_a_kind_counts() {
        let mut words = Words::default();
        words.set("host=tcp://a,host=tcp://b").unwrap();
        assert_eq!(words.get("host"), Some("tcp://b"));
        assert!(words.set("").is_err());
        assert_eq!(
            words.set("host").unwrap_err(),
            "host must be formatted as key=value"
        );
    }
}
