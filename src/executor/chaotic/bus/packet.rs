//! What nodes of Moleculer say to each other, as text and back. Values only.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The version of Moleculer's protocol that is spoken until another is heard: that of 0.15.
pub const NEWEST: &str = "5";
/// What channels begin with where nobody has set a namespace.
const PREFIX: &str = "MOL";
/// What Chaotic Manager calls the version of what its nodes agree on; it asks every node for it.
const INTERNAL_API: u64 = 3;

/// What is told of that we want to hear.
const EVENTS: [&str; 2] = ["builds.*", "database.*"];

/// The kinds of packets that are sent or listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks who is there.
    Discover,
    /// Says who somebody is.
    Info,
    /// Says that somebody is still there.
    Heartbeat,
    /// Says that somebody goes.
    Disconnect,
    /// Asks for an answer at once.
    Ping,
    /// Is that answer.
    Pong,
    /// Calls an action.
    Request,
    /// Is the answer of an action.
    Response,
    /// Tells of something that happened.
    Event,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Discover,
        Self::Info,
        Self::Heartbeat,
        Self::Disconnect,
        Self::Ping,
        Self::Pong,
        Self::Request,
        Self::Response,
        Self::Event,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Discover => "DISCOVER",
            Self::Info => "INFO",
            Self::Heartbeat => "HEARTBEAT",
            Self::Disconnect => "DISCONNECT",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Request => "REQ",
            Self::Response => "RES",
            Self::Event => "EVENT",
        }
    }

    /// The channel of these packets: to one node, or to all.
    pub fn channel(self, node: Option<&str>) -> String {
        let word = self.word();
        node.map_or_else(|| format!("{PREFIX}.{word}"), |node| format!("{PREFIX}.{word}.{node}"))
    }

    /// What comes through a channel.
    pub fn of(channel: &str) -> Option<Self> {
        let word = channel.strip_prefix(PREFIX)?.strip_prefix('.')?.split('.').next()?;
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The channels that a node listens to.
pub fn channels(node: &str) -> Vec<String> {
    let to_all = [Kind::Discover, Kind::Info, Kind::Heartbeat, Kind::Disconnect, Kind::Ping];
    let to_us = [Kind::Discover, Kind::Info, Kind::Ping, Kind::Request, Kind::Response, Kind::Event];
    let to_us = to_us.map(|kind| kind.channel(Some(node)));
    to_all.map(|kind| kind.channel(None)).into_iter().chain(to_us).collect()
}

/// What every packet says, whatever else it says.
#[derive(Debug, Clone, Deserialize)]
pub struct Envelope {
    /// The version of the protocol.
    pub ver: String,
    /// Who says it.
    pub sender: String,
    /// The rest.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What a node says of itself that is of use here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The services that it has.
    pub services: Vec<String>,
    /// The class of a builder.
    pub class: Option<u64>,
    /// Whether it takes builds from the coordinators that there are today.
    pub is_current: bool,
}

impl Envelope {
    /// The packet in a text.
    pub fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// A field that is text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.rest.get(field)?.as_str()
    }

    /// A field, or null.
    pub fn value(&self, field: &str) -> &Value {
        self.rest.get(field).unwrap_or(&Value::Null)
    }

    /// Of an `INFO`: what the node says of itself.
    pub fn node(&self) -> Node {
        let services = self.value("services").as_array().into_iter().flatten();
        let metadata = self.value("metadata");
        Node {
            services: services.filter_map(|service| Some(service["name"].as_str()?.to_owned())).collect(),
            class: metadata["build_class"].as_u64(),
            is_current: metadata["version"].as_u64() == Some(INTERNAL_API),
        }
    }
}

/// Who we are among the nodes.
#[derive(Debug, Clone)]
pub struct Us {
    /// Our id.
    pub node: String,
    /// Another one for each process, so that a node that begins anew is known for it.
    pub instance: String,
}

impl Us {
    /// A packet with nothing particular in it.
    pub fn bare(&self, ver: &str) -> Value {
        json!({"ver": ver, "sender": self.node})
    }

    /// Says who we are: a node that wants to hear of builds, and builds nothing.
    pub fn info(&self, ver: &str) -> Value {
        json!({
            "ver": ver,
            "sender": self.node,
            "services": [{
                "name": "pkgwarden",
                "fullName": "pkgwarden",
                "settings": {},
                "metadata": {},
                "actions": {},
                "events": EVENTS.map(|name| (name.to_owned(), json!({"name": name}))).into_iter().collect::<Map<_, _>>(),
            }],
            "config": {},
            "instanceID": self.instance,
            "ipList": [],
            "hostname": "pkgwarden",
            "client": {"type": "rust", "version": env!("CARGO_PKG_VERSION"), "langVersion": ""},
            "metadata": {"version": INTERNAL_API, "build_class": null},
            "seq": 1,
        })
    }

    /// Says that we are still there.
    pub fn heartbeat(&self, ver: &str) -> Value {
        json!({"ver": ver, "sender": self.node, "cpu": 0, "seq": 1, "instanceID": self.instance})
    }

    /// The answer to a `PING`.
    pub fn pong(&self, ver: &str, ping: &Envelope) -> Value {
        let (id, time) = (ping.value("id"), ping.value("time"));
        json!({"ver": ver, "sender": self.node, "id": id, "time": time, "arrived": time})
    }

    /// Calls an action.
    pub fn request(&self, ver: &str, id: &str, action: &str, params: &Value) -> Value {
        json!({
            "ver": ver,
            "sender": self.node,
            "id": id,
            "action": action,
            "params": params,
            "meta": {},
            "headers": {},
            "timeout": null,
            "level": 1,
            "tracing": false,
            "parentID": null,
            "requestID": id,
            "caller": null,
            "stream": false,
        })
    }

    /// Says to somebody who calls an action of ours that we have none.
    pub fn refusal(&self, ver: &str, request: &Envelope) -> Value {
        let action = request.text("action").unwrap_or_default();
        json!({
            "ver": ver,
            "sender": self.node,
            "id": request.value("id"),
            "meta": {},
            "success": false,
            "data": null,
            "error": {
                "name": "ServiceNotFoundError",
                "message": format!("Service '{action}' is not found."),
                "code": 404,
                "type": "SERVICE_NOT_FOUND",
                "nodeID": self.node,
                "retryable": true,
                "data": {"action": action},
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_named_as_moleculer_names_them() {
        assert_eq!(Kind::Request.channel(Some("database")), "MOL.REQ.database");
        assert_eq!(Kind::of("MOL.INFO"), Some(Kind::Info));
        assert_eq!(Kind::of("MOL.EVENT.node-a.b"), Some(Kind::Event));
        assert_eq!(Kind::of("MOLE.INFO"), None);
        assert_eq!(Kind::of("MOL.GOSSIP_REQ"), None);
    }

    #[test]
    fn a_builder_is_known_by_what_it_says_of_itself() {
        let packet = br#"{"ver":"5","sender":"rook-ab1c2","services":[{"name":"$node"},{"name":"builder"}],
            "metadata":{"build_class":9,"version":3},"seq":2}"#;
        let info = Envelope::read(packet).unwrap();
        let node = Node { services: vec!["$node".into(), "builder".into()], class: Some(9), is_current: true };
        assert_eq!((info.sender.as_str(), info.node()), ("rook-ab1c2", node));
    }

    #[test]
    fn what_is_no_packet_is_none_and_what_says_nothing_is_nobody_in_particular() {
        for text in ["", "[]", "{\"ver\":5}", "{\"ver\":\"5\"}", "null"] {
            assert!(Envelope::read(text.as_bytes()).is_none(), "{text}");
        }
        let odd = Envelope::read(br#"{"ver":"5","sender":"x","services":7,"metadata":"x"}"#).unwrap();
        assert_eq!(odd.node(), Node::default());
    }
}
