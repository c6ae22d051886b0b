//! `--gpus all`, `--gpus 2`, `--gpus '"device=0,1",capabilities=compute'`.

use std::collections::BTreeMap;

use hull_api::types::DeviceRequest;

use super::csv;
use crate::flags::Item;

/// A request for graphics processors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gpus(pub(crate) DeviceRequest);

impl Item for Gpus {
    fn parse(text: &str) -> Result<Self, String> {
        let mut request = DeviceRequest::default();
        let mut capabilities = vec!["gpu".to_owned()];
        let mut options = BTreeMap::new();
        let mut seen = Vec::new();
        for field in csv::fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, value),
                None => ("count", field.as_str()),
            };
            if seen.contains(&key.to_owned()) {
                return Err(format!(
                    "gpu request key '{key}' can be specified only once"
                ));
            }
            seen.push(key.to_owned());
            match key {
                "driver" => value.clone_into(&mut request.driver),
                "count" => request.count = count(value)?,
                "device" => {
                    request.device_ids = Some(value.split(',').map(str::to_owned).collect());
                }
                "capabilities" => capabilities.extend(value.split(',').map(str::to_owned)),
                "options" => {
                    for option in csv::fields(value)? {
                        let (key, value) = option.split_once('=').unwrap_or((&option, ""));
                        options.insert(key.to_owned(), value.to_owned());
                    }
                }
                _ => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
        if !seen.iter().any(|key| key == "count" || key == "device") {
            request.count = 1;
        }
        request.capabilities = Some(vec![capabilities]);
        request.options = Some(options);
        Ok(Self(request))
    }
}

fn count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!(
            "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        assert_eq!(Gpus::parse("all").unwrap().0.count, -1);
        assert_eq!(Gpus::parse("2").unwrap().0.count, 2);
        let request = Gpus::parse("\"device=0,1\",driver=nvidia,capabilities=compute")
            .unwrap()
            .0;
        assert_eq!(request.device_ids.unwrap(), ["0", "1"]);
        assert_eq!(request.driver, "nvidia");
        assert_eq!(request.capabilities.unwrap(), [["gpu", "compute"]]);
        assert!(
            Gpus::parse("x")
                .unwrap_err()
                .starts_with("invalid count (x)")
        );
    }
}
