//! `--network name`, or in full `--network name=…,alias=…,ip=…`.

use std::collections::BTreeMap;

use super::csv;
use crate::flags::Item;

/// A network to join.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attachment {
    pub(crate) target: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_options: BTreeMap<String, String>,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    pub(crate) mac: String,
    pub(crate) link_local: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) gateway_priority: i64,
}

impl Item for Attachment {
    fn parse(text: &str) -> Result<Self, String> {
        let mut attachment = Self::default();
        if !is_long(text) {
            text.clone_into(&mut attachment.target);
            return Ok(attachment);
        }
        for field in csv::fields(text)? {
            let Some((key, value)) = field.split_once('=').filter(|(key, _)| !key.is_empty())
            else {
                return Err(format!("invalid field {field}"));
            };
            attachment.set(key.trim().to_lowercase().as_str(), value.trim())?;
        }
        if attachment.target.is_empty() {
            return Err("network name/id is not specified".to_owned());
        }
        Ok(attachment)
    }
}

impl Attachment {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "name" => value.clone_into(&mut self.target),
            "alias" => self.aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut self.ipv4),
            "ip6" => value.clone_into(&mut self.ipv6),
            "mac-address" => value.clone_into(&mut self.mac),
            "link-local-ip" => self.link_local.push(value.to_owned()),
            "driver-opt" => {
                let Some((key, value)) = value.split_once('=') else {
                    return Err("invalid key value pair format in driver options".to_owned());
                };
                self.driver_options
                    .insert(key.trim().to_lowercase(), value.trim().to_owned());
            }
            "gw-priority" => {
                self.gateway_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
        Ok(())
    }
}

/// Whether a word, `=` and a word stand somewhere in it.
fn is_long(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.as_bytes()
        .windows(3)
        .any(|w| is_word(w[0]) && w[1] == b'=' && is_word(w[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms() {
        assert_eq!(Attachment::parse("host").unwrap().target, "host");
        assert_eq!(
            Attachment::parse("container:x").unwrap().target,
            "container:x"
        );
        let long = Attachment::parse(
            "name=n,alias=a,alias=b,ip=10.0.0.2,\"driver-opt=k=v\",gw-priority=5",
        )
        .unwrap();
        assert_eq!(long.target, "n");
        assert_eq!(long.aliases, ["a", "b"]);
        assert_eq!(long.ipv4, "10.0.0.2");
        assert_eq!(long.driver_options["k"], "v");
        assert_eq!(long.gateway_priority, 5);
        assert_eq!(
            Attachment::parse("alias=x").unwrap_err(),
            "network name/id is not specified"
        );
        assert_eq!(
            Attachment::parse("name=x,foo=y").unwrap_err(),
            "invalid field key foo"
        );
    }
}
