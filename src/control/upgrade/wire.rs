//! What two processes say to each other when one takes a gateway over from the other: JSON behind its length, and
//! descriptors after it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use ringway_runtime::clock::Instant;
use ringway_runtime::histogram::Start;
use ringway_runtime::net::Address;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::config::Written;
use crate::control::command::PlanNote;
use crate::control::discovery::{self, Sets};
use crate::control::history::Past;
use crate::control::offers::DoorKey;
use crate::service::Histories;
use crate::tls::TicketKeys;

/// What both sides must speak.
pub(super) const VERSION: u64 = 1;
/// Bytes of a message.
const MESSAGE_MAX: usize = 16 << 20;
/// Descriptors that may be handed over: as many listening sockets as anybody has.
pub(super) const DESCRIPTORS_MAX: usize = 1 << 16;

/// All that a gateway tells of itself to the one that takes it over. Descriptors follow: the sockets of each door, the
/// upgrade socket, and those of the admin API.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// The plan that runs.
    pub(super) epoch: u64,
    /// Endpoints that are drained: upstream and endpoint.
    pub(super) drained: Vec<(Arc<str>, Arc<str>)>,
    /// Endpoints that were found while it ran. They would be found again, so a process that does not tell is understood.
    pub(super) found: Sets,
    /// The plans that can run again and the one that runs, oldest first.
    pub(super) past: Vec<Past>,
    /// How the health of things changed. A process that does not tell is understood.
    pub(super) histories: Histories,
    /// The keys of its session tickets, and since when it had them. A process that does not tell is understood.
    pub(super) tickets: Option<(Arc<TicketKeys>, Instant)>,
    /// Where its metrics files are, and whose they are.
    pub(super) metrics: Option<(PathBuf, Start)>,
    /// What it listens on.
    pub(super) doors: Vec<Door>,
    /// Where its admin API is.
    pub(super) admin: Option<(PathBuf, Option<SocketAddr>)>,
}

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) key: DoorKey,
    /// Where it is bound.
    pub(super) bound: Address,
    /// How many sockets it has.
    pub(super) sockets: usize,
}

impl Offer {
    /// How many descriptors follow.
    pub(super) fn descriptors(&self) -> usize {
        let admin = self.admin.as_ref().map_or(0, |(_, tcp)| 1 + usize::from(tcp.is_some()));
        self.doors.iter().map(|door| door.sockets).sum::<usize>() + 1 + admin
    }

    pub(super) fn to_json(&self) -> Value {
        let doors = self.doors.iter().map(|Door { key, bound, sockets }| match key {
            DoorKey::Address(address) => {
                json!({ "address": address.to_string(), "bound": bound.to_string(), "sockets": sockets })
            }
            DoorKey::AnyPort(listener, address, nth) => {
                let bound = bound.to_string();
                json!({ "listener": &**listener, "address": address, "nth": nth, "bound": bound, "sockets": sockets })
            }
        });
        let metrics = self.metrics.as_ref().map(|(dir, start)| {
            let Start { wall_ns, mono_ns, generation, .. } = start;
            json!({ "dir": dir.to_string_lossy(), "wall_ns": wall_ns, "mono_ns": mono_ns, "generation": generation })
        });
        let drained = self.drained.iter().map(|(upstream, endpoint)| json!([&**upstream, &**endpoint]));
        json!({
            "epoch": self.epoch,
            "drained": drained.collect::<Vec<_>>(),
            "found": discovery::to_json(&self.found),
            "past": self.past.iter().map(past_to_json).collect::<Vec<_>>(),
            "histories": self.histories.iter().map(|(name, told)| (name.to_string(), json!(told))).collect::<Map<_, _>>(),
            "tickets": self.tickets.as_ref().map(tickets_to_json),
            "metrics": metrics,
            "doors": doors.collect::<Vec<_>>(),
            "admin": self.admin.as_ref().map(|(socket, tcp)| json!({ "socket": socket.to_string_lossy(), "tcp": tcp })),
        })
    }

    /// Nothing where it makes no sense.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let list = |value: &Value| value.as_array().cloned();
        let address = |value: &Value| value.as_str()?.parse::<SocketAddr>().ok();
        let door = |door: &Value| {
            let any = |value: &Value| value.as_str()?.parse::<Address>().ok();
            let key = match door["listener"].as_str() {
                None => DoorKey::Address(any(&door["address"])?),
                Some(listener) => {
                    let nth = usize::try_from(door["nth"].as_u64()?).ok()?;
                    DoorKey::AnyPort(listener.into(), address(&door["address"])?, nth)
                }
            };
            let sockets = usize::try_from(door["sockets"].as_u64()?).ok().filter(|&count| count <= DESCRIPTORS_MAX)?;
            Some(Door { key, bound: any(&door["bound"])?, sockets })
        };
        let pair = |pair: &Value| Some((pair[0].as_str()?.into(), pair[1].as_str()?.into()));
        let metrics = |value: &Value| {
            let number = |name: &str| value[name].as_u64();
            let generation = u32::try_from(number("generation")?).ok()?;
            let start =
                Start { generation, wall_ns: number("wall_ns")?, mono_ns: number("mono_ns")?, ..Start::default() };
            Some((PathBuf::from(value["dir"].as_str()?), start))
        };
        let admin = |value: &Value| {
            let tcp = if value["tcp"].is_null() { None } else { Some(address(&value["tcp"])?) };
            Some((PathBuf::from(value["socket"].as_str()?), tcp))
        };
        let this = Self {
            epoch: value["epoch"].as_u64()?,
            drained: list(&value["drained"])?.iter().map(pair).collect::<Option<_>>()?,
            found: if value["found"].is_null() { Sets::default() } else { discovery::from_json(&value["found"])? },
            // A gateway that knows nothing of it, or says it in another way, has none: there is only less to go back to.
            past: list(&value["past"]).unwrap_or_default().iter().filter_map(past_from_json).collect(),
            histories: value["histories"].as_object().into_iter().flatten().filter_map(history_from_json).collect(),
            tickets: tickets_from_json(&value["tickets"]),
            metrics: if value["metrics"].is_null() { None } else { Some(metrics(&value["metrics"])?) },
            doors: list(&value["doors"])?.iter().map(door).collect::<Option<_>>()?,
            admin: if value["admin"].is_null() { None } else { Some(admin(&value["admin"])?) },
        };
        (this.descriptors() <= DESCRIPTORS_MAX).then_some(this)
    }
}

fn tickets_to_json((keys, since): &(Arc<TicketKeys>, Instant)) -> Value {
    json!({ "keys": &**keys.to_text(), "since_mono_ns": since.as_nanos() })
}

fn tickets_from_json(value: &Value) -> Option<(Arc<TicketKeys>, Instant)> {
    let keys = TicketKeys::from_text(value["keys"].as_str()?)?;
    Some((Arc::new(keys), Instant::from_nanos(value["since_mono_ns"].as_u64()?)))
}

fn past_to_json(Past { note, written }: &Past) -> Value {
    let shown = |path: &PathBuf| path.to_string_lossy().into_owned();
    let files = written.files.iter().map(|(path, text)| json!([shown(path), &**text]));
    let found =
        written.found.iter().map(|(pattern, files)| json!([pattern, files.iter().map(shown).collect::<Vec<_>>()]));
    json!({
        "epoch": note.epoch,
        "since_unix_ns": note.since_unix_ns,
        "changes": &*note.changes,
        "files": files.collect::<Vec<_>>(),
        "found": found.collect::<Vec<_>>(),
        "environment": written.environment,
    })
}

fn history_from_json((name, told): (&String, &Value)) -> Option<(Arc<str>, Vec<[u64; 4]>)> {
    let change = |change: &Value| {
        let numbers: Vec<u64> = change.as_array()?.iter().filter_map(Value::as_u64).collect();
        numbers.try_into().ok()
    };
    Some((name.as_str().into(), told.as_array()?.iter().map(change).collect::<Option<_>>()?))
}

fn past_from_json(value: &Value) -> Option<Past> {
    let path = |value: &Value| value.as_str().map(PathBuf::from);
    let file = |file: &Value| Some((path(&file[0])?, file[1].as_str()?.into()));
    let found = |found: &Value| {
        let files: Option<Vec<PathBuf>> = found[1].as_array()?.iter().map(path).collect();
        Some((found[0].as_str()?.to_owned(), files?))
    };
    let set = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str().map(str::to_owned)));
    let note = PlanNote {
        epoch: value["epoch"].as_u64()?,
        since_unix_ns: value["since_unix_ns"].as_u64()?,
        changes: value["changes"].as_str()?.into(),
        runs: false,
    };
    let written = Written {
        files: value["files"].as_array()?.iter().map(file).collect::<Option<_>>()?,
        found: value["found"].as_array()?.iter().map(found).collect::<Option<_>>()?,
        environment: value["environment"].as_object()?.iter().map(set).collect::<Option<_>>()?,
    };
    Some(Past { note, written })
}

pub(super) fn send(mut stream: &UnixStream, message: &Value) -> io::Result<()> {
    // Keys may be in it.
    let text = Zeroizing::new(message.to_string());
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(text.as_bytes())
}

pub(super) fn receive(mut stream: &UnixStream) -> io::Result<Value> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is more than {MESSAGE_MAX}")));
    }
    let mut text = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_comes_through_as_it_was() {
        let start = Start { generation: 7, wall_ns: u64::MAX, mono_ns: 3, ..Start::default() };
        let any: SocketAddr = "[::]:0".parse().unwrap();
        let offer = Offer {
            epoch: 41,
            drained: vec![("users".into(), "ü:1".into())],
            found: [("users".into(), ("registration".to_owned(), Vec::new()))].into(),
            past: vec![Past {
                note: PlanNote { epoch: 40, since_unix_ns: 5, changes: "the first".into(), runs: false },
                written: Written {
                    files: vec![("/etc/ringway.toml".into(), "# ü\n".into()), ("/etc/b.toml".into(), "".into())],
                    found: [("/etc/*.toml".to_owned(), vec!["/etc/b.toml".into()])].into(),
                    environment: [("A".to_owned(), Some("b".to_owned())), ("C".to_owned(), None)].into(),
                },
            }],
            histories: [("health".into(), vec![[1, 2, u64::MAX, 4], [5, 0, 0, 8]])].into(),
            tickets: Some((Arc::new(TicketKeys::new().unwrap().rotated().unwrap()), Instant::from_nanos(77))),
            metrics: Some(("/run/ringway/metrics".into(), start)),
            doors: vec![
                Door {
                    key: DoorKey::Address("1.2.3.4:80".parse().unwrap()),
                    bound: "1.2.3.4:80".parse().unwrap(),
                    sockets: 3,
                },
                Door {
                    key: DoorKey::Address("unix:/run/web.sock".parse().unwrap()),
                    bound: "unix:/run/web.sock".parse().unwrap(),
                    sockets: 1,
                },
                Door { key: DoorKey::AnyPort("web".into(), any, 2), bound: "[::]:4711".parse().unwrap(), sockets: 3 },
            ],
            admin: Some(("/run/a.sock".into(), Some("127.0.0.1:9901".parse().unwrap()))),
        };
        assert_eq!(offer.descriptors(), 10);
        let (one, two) = UnixStream::pair().unwrap();
        send(&one, &offer.to_json()).unwrap();
        let found = Offer::from_json(&receive(&two).unwrap()).unwrap();
        assert_eq!(format!("{found:?}"), format!("{offer:?}"));
        let nothing = Offer::from_json(&Offer::default().to_json()).unwrap();
        assert_eq!((&found.past, &found.histories), (&offer.past, &offer.histories));
        assert_eq!((nothing.descriptors(), nothing.doors.len()), (1, 0));
        let text = |offer: &Offer| offer.tickets.as_ref().map(|(keys, since)| (keys.to_text(), since.as_nanos()));
        assert_eq!((text(&found), text(&nothing)), (text(&offer), None));
        // One of another version may say less of the past, or nothing, and is taken over all the same.
        let mut less = offer.to_json();
        less["past"][0]["files"] = json!("somewhere");
        assert!(Offer::from_json(&less).is_some_and(|offer| offer.past.is_empty()));
        for strange in [Value::Null, json!("00"), json!("zz".repeat(96)), json!("00".repeat(48))] {
            less["tickets"]["keys"] = strange;
            assert!(Offer::from_json(&less).is_some_and(|offer| offer.tickets.is_none()));
        }
        less["past"] = Value::Null;
        assert!(Offer::from_json(&less).is_some_and(|offer| offer.past.is_empty() && offer.epoch == 41));
        for strange in [Value::Null, json!({ "health": [[1, 2, 3]] }), json!({ "health": [["1", 2, 3, 4]] })] {
            less["histories"] = strange;
            assert!(Offer::from_json(&less).is_some_and(|offer| offer.histories.is_empty() && offer.epoch == 41));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_offer() {
        let sound = Offer {
            doors: vec![Door {
                key: DoorKey::Address("1.2.3.4:80".parse().unwrap()),
                bound: "1.2.3.4:80".parse().unwrap(),
                sockets: 1,
            }],
            ..Offer::default()
        };
        for (pointer, wrong) in [
            ("/epoch", json!(-1)),
            ("/drained", json!([["one"]])),
            ("/doors/0/bound", json!("nowhere")),
            ("/doors/0/sockets", json!(70_000)),
            ("/metrics", json!({ "dir": "x" })),
            ("/admin", json!({ "socket": 3 })),
        ] {
            let mut value = sound.to_json();
            *value.pointer_mut(pointer).unwrap() = wrong;
            assert!(Offer::from_json(&value).is_none(), "{pointer}");
        }
        let (one, two) = UnixStream::pair().unwrap();
        (&one).write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(receive(&two).unwrap_err().to_string().contains("is more than"));
    }
}
