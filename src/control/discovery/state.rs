//! What was found as JSON: for a process that takes over, and for a file that outlives this one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use ringway_runtime::net::Address;
use serde_json::{Map, Value, json};

use crate::config::{EndpointSays, is_name};
use crate::plan::{DiscoverIn, Endpoint};

const VERSION: u64 = 1;
/// Bytes of such a file.
const FILE_MAX: u64 = 64 << 20;

/// The last good sets by the names of their upstreams, each with what it was found in.
pub(in crate::control) type Sets = BTreeMap<Arc<str>, (String, Vec<Endpoint>)>;

/// What a set was found in: one of another place says nothing.
pub(super) fn place(place: &DiscoverIn) -> String {
    match place {
        DiscoverIn::Dns(dns) => format!("dns {}:{}", dns.name, dns.port),
        DiscoverIn::Srv(dns) => format!("dns-srv {}", dns.name),
        DiscoverIn::File(path) => format!("file {}", path.display()),
        DiscoverIn::Registration(_) => "registration".to_owned(),
    }
}

pub(in crate::control) fn to_json(sets: &Sets) -> Value {
    let set = |(upstream, (place, endpoints)): (&Arc<str>, &(String, Vec<Endpoint>))| {
        let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
        (upstream.to_string(), json!({ "place": place, "endpoints": endpoints }))
    };
    let upstreams: Map<String, Value> = sets.iter().map(set).collect();
    json!({ "version": VERSION, "upstreams": upstreams })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let Endpoint { name, address, weight, priority, zone, metadata, max_requests, max_connections } = endpoint;
    let metadata: Map<String, Value> =
        metadata.iter().map(|(name, value)| (name.to_string(), json!(**value))).collect();
    json!({
        "name": &**name, "address": address.to_string(), "weight": weight, "priority": priority, "zone": zone.as_deref(),
        "metadata": metadata, "max_requests": max_requests, "max_connections": max_connections,
    })
}

/// Nothing where it makes no sense.
pub(in crate::control) fn from_json(value: &Value) -> Option<Sets> {
    if value["version"] != VERSION {
        return None;
    }
    let set = |(upstream, set): (&String, &Value)| {
        let endpoints = set["endpoints"].as_array()?.iter().map(from_one).collect::<Option<_>>()?;
        Some((upstream.as_str().into(), (set["place"].as_str()?.to_owned(), endpoints)))
    };
    value["upstreams"].as_object()?.iter().map(set).collect()
}

fn from_one(value: &Value) -> Option<Endpoint> {
    let number = |name: &str, least: u64, most: u64| {
        value[name]
            .as_u64()
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| u32::try_from(number).ok())
    };
    let maybe = |name: &str| if value[name].is_null() { Some(None) } else { number(name, 1, 1_000_000).map(Some) };
    let zone = match &value["zone"] {
        Value::Null => None,
        zone => Some(zone.as_str().filter(|zone| is_name(zone))?.into()),
    };
    let mut metadata = Vec::new();
    for (name, value) in value["metadata"].as_object()? {
        metadata.push((Arc::from(name.as_str()), Arc::from(value.as_str()?)));
    }
    metadata.sort();
    let says = EndpointSays {
        weight: number("weight", 1, 1000)?,
        priority: number("priority", 0, 15)?,
        zone,
        metadata: metadata.into(),
        max_requests: maybe("max_requests")?,
        max_connections: maybe("max_connections")?,
    };
    let address: Address = value["address"].as_str()?.parse().ok()?;
    Some(says.at(value["name"].as_str()?.into(), address))
}

/// Writes what was found so that whoever reads the file finds all of this or all of what was there before, whenever the
/// machine stops.
pub(super) fn write(path: &Path, sets: &Sets) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = directory.join(name);
    let mut file = File::create(&new)?;
    file.write_all(to_json(sets).to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// Reads it; nothing where there is no such file.
pub(super) fn read(path: &Path) -> Result<Sets, String> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sets::default()),
        Err(error) => return Err(error.to_string()),
    };
    if length > FILE_MAX {
        return Err(format!("it has more than {FILE_MAX} bytes"));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    from_json(&value).ok_or_else(|| "it is none of this program's".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> Sets {
        let says = EndpointSays {
            weight: 7,
            priority: 2,
            zone: Some("a".into()),
            metadata: [("version".into(), "2".into())].into(),
            max_requests: Some(9),
            max_connections: None,
        };
        let endpoints = vec![
            says.at("host:80".into(), "10.0.0.1:80".parse::<Address>().unwrap()),
            EndpointSays::default().at("[::1]:81".into(), "[::1]:81".parse::<Address>().unwrap()),
        ];
        [("users".into(), ("dns users:80".to_owned(), endpoints))].into()
    }

    #[test]
    fn sets_come_back_from_a_file_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("found.json");
        assert_eq!(read(&path), Ok(Sets::default()));
        write(&path, &sets()).unwrap();
        write(&path, &sets()).unwrap();
        assert_eq!(read(&path), Ok(sets()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        fs::write(&path, "{\"version\": 1").unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_a_whole() {
        for (pointer, wrong) in [
            ("/version", json!(2)),
            ("/upstreams/users/place", json!(1)),
            ("/upstreams/users/endpoints/0/address", json!("users:80")),
            ("/upstreams/users/endpoints/0/weight", json!(0)),
            ("/upstreams/users/endpoints/1/priority", json!(16)),
            ("/upstreams/users/endpoints/1/zone", json!("a b")),
            ("/upstreams/users/endpoints/1/metadata", json!({ "a": 1 })),
            ("/upstreams/users/endpoints/1/max_requests", json!(-1)),
        ] {
            let mut value = to_json(&sets());
            assert_eq!(from_json(&value), Some(sets()));
            *value.pointer_mut(pointer).unwrap() = wrong;
            assert_eq!(from_json(&value), None, "{pointer}");
        }
    }
}
