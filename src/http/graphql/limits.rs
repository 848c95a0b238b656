//! How much one may ask for at once.

use std::time::Duration;

/// Bounds of the GraphQL door.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one document.
    pub query_bytes: usize,
    /// Bytes of an HTTP body.
    pub body_bytes: usize,
    /// Brackets of any kind, open at once in a document. The parser recurses on them.
    pub nesting: usize,
    /// Fragment definitions in a document. Validation is quadratic in them.
    pub fragments: usize,
    /// Selections of a document once every fragment spread is replaced by what it stands for.
    pub expanded_fields: usize,
    /// Requests in one HTTP batch.
    pub batch: usize,
    /// Whether a document may ask for the schema. A request can be prepared without it as well; the engine itself
    /// would answer `null`.
    pub introspection: bool,
    /// Documents that are kept parsed, under the hash of their text; automatic persisted queries are found among them.
    pub cached_documents: usize,
    /// Memory for documents that are kept parsed, as estimated from their text.
    pub cached_bytes: usize,
    /// From an HTTP request's head to its answer; on a socket, of one query or mutation.
    pub request_timeout: Duration,
    /// From a socket's opening to its `connection_init`.
    pub init_timeout: Duration,
    /// Between two pings of the server; a peer that says nothing from one to the next is gone.
    pub ping_interval: Duration,
    /// Bytes of one WebSocket message from the client.
    pub message_bytes: usize,
    /// Operations that run at once on one socket.
    pub operations_per_socket: usize,
    /// Server-sent events that wait to be taken. The operation pauses when it is full.
    pub outgoing_queue: usize,
    /// How long a socket may take nothing while messages wait.
    pub slow_reader: Duration,
    /// How long a closed socket may take to say goodbye.
    pub close_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query_bytes: 64 * 1024,
            body_bytes: 1024 * 1024,
            nesting: 64,
            fragments: 100,
            expanded_fields: 10_000,
            batch: 10,
            introspection: true,
            cached_documents: 1_000,
            cached_bytes: 32 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            init_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            message_bytes: 1024 * 1024,
            operations_per_socket: 100,
            outgoing_queue: 32,
            slow_reader: Duration::from_secs(30),
            close_grace: Duration::from_secs(3),
        }
    }
}
