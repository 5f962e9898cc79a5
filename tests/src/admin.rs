//! The admin REST, as seen from outside.

use std::net::SocketAddr;

use serde_json::Value;

use crate::wire::{Connection, Reply};

/// How many events are asked for at once.
const PAGE: usize = 1000;

/// A client of the admin REST.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// The bearer token.
    pub token: String,
}

impl Admin {
    /// Sends one request with these headers and nothing added but what HTTP needs.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut connection = Connection::open(self.address).await.expect("the admin port listens");
        connection.write(&self.head(method, path, headers, body.len())).await.expect("the request goes out");
        connection.write(body).await.expect("the body goes out");
        connection.reply(method).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Begins a request whose answer is a stream, and leaves the reading to the caller.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn stream(&self, path: &str, accept: &str) -> Connection {
        let mut connection = Connection::open(self.address).await.expect("the admin port listens");
        let bearer = self.bearer();
        let headers = [("authorization", bearer.as_str()), ("accept", accept)];
        connection.write(&self.head("GET", path, &headers, 0)).await.expect("the request goes out");
        connection
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let host = self.address;
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n"
        )
        .into_bytes()
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// GET with the token.
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[("authorization", &self.bearer())], b"").await
    }

    /// GET with the token and a media type.
    pub async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.send("GET", path, &[("authorization", &self.bearer()), ("accept", accept)], b"").await
    }

    /// POST or PUT of JSON with the token.
    pub async fn give(&self, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [("authorization", self.bearer()), ("content-type", "application/json".to_owned())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(method, path, &headers, body.to_string().as_bytes()).await
    }

    /// As [`Admin::give`] to a gateway that may end at any time: nothing when no answer comes.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Reply> {
        let bearer = self.bearer();
        let (headers, body) = ([("authorization", &*bearer), ("content-type", "application/json")], body.to_string());
        let mut connection = Connection::open(self.address).await.ok()?;
        connection.write(&self.head(method, path, &headers, body.len())).await.ok()?;
        connection.write(body.as_bytes()).await.ok()?;
        connection.reply(method).await.ok()
    }

    /// All events behind a number, page by page.
    ///
    /// # Panics
    /// When a page is refused or has a gap.
    pub async fn events(&self, since: u64) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        let mut last = since;
        loop {
            let reply = self.get(&format!("/v1/events?since={last}&limit={PAGE}")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let page = list_of(&reply.json(), "events");
            if page.is_empty() {
                return events;
            }
            for event in &page {
                let sequence = event["sequence"].as_u64().expect("an event has a number");
                assert_eq!(sequence, last + 1, "the log is gapless");
                last = sequence;
            }
            events.extend(page);
        }
    }

    /// The packages of a producer; of that name if one is given.
    ///
    /// # Panics
    /// When the answer is no list.
    pub async fn packages(&self, producer: &str, name: Option<&str>) -> Vec<Value> {
        let filter = name.map(|name| format!("?name={name}")).unwrap_or_default();
        let reply = self.get(&format!("/v1/producers/{producer}/packages{filter}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        list_of(&reply.json(), "packages")
    }
}

/// The list in an answer: the answer itself, or its member of that name.
///
/// # Panics
/// When there is neither.
#[must_use]
pub fn list_of(answer: &Value, member: &str) -> Vec<Value> {
    let list = if answer.is_array() { answer } else { &answer[member] };
    list.as_array().unwrap_or_else(|| panic!("a list of {member} in {answer}")).clone()
}
