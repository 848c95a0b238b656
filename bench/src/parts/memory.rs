//! The page from memory: a schema of the same shape behind the service's own door. It runs as a process of its own, so
//! that it is loaded and measured as the service is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_graphql::{Context, EmptyMutation, EmptySubscription, ID, Object, Request, Schema, SimpleObject};
use serde::Deserialize;
use tandem::http::Connections;
use tandem::http::graphql::{Access, AccessError, EndReason, Limits, router};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    history: MessageConnection,
}

#[derive(Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct MessageConnection {
    edges: Vec<MessageEdge>,
    page_info: PageInfo,
}

#[derive(Deserialize, SimpleObject)]
struct MessageEdge {
    cursor: String,
    node: Message,
}

#[derive(Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: ID,
    direction: String,
    status: String,
    sent_at: String,
    text: Option<String>,
    conversation: Conversation,
}

#[derive(Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct Conversation {
    id: ID,
    unread_count: i32,
    last_activity_at: String,
    window: ServiceWindow,
    contact: Contact,
}

#[derive(Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct ServiceWindow {
    is_open: bool,
    closes_at: Option<String>,
}

#[derive(Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct Contact {
    id: ID,
    phone_number: Option<String>,
    full_name: Option<String>,
    profile_name: Option<String>,
}

struct Query;

#[Object]
impl Query {
    async fn history<'a>(
        &self,
        ctx: &Context<'a>,
        client_id: ID,
        first: Option<i32>,
    ) -> Option<&'a MessageConnection> {
        let _ = (client_id, first);
        ctx.data_opt::<Arc<MessageConnection>>().map(AsRef::as_ref)
    }
}

/// Lets one key in.
#[derive(Clone, Default)]
struct Anybody(TaskTracker, CancellationToken);

impl Access for Anybody {
    type Caller = ();
    type SocketPermit = ();

    async fn authenticate(&self, authorization: Option<&str>) -> Result<(), AccessError> {
        if authorization == Some("Bearer memory") { Ok(()) } else { Err(AccessError::Unauthenticated) }
    }

    fn prepare(&self, (): &(), request: Request) -> Request {
        request
    }

    async fn ends(&self, (): &()) -> EndReason {
        std::future::pending().await
    }

    fn admit_socket(&self, (): &()) -> Option<()> {
        None
    }

    fn shutdown(&self) -> CancellationToken {
        self.1.clone()
    }

    fn tracker(&self) -> TaskTracker {
        self.0.clone()
    }
}

/// Answers with the page in this file, until it is killed.
pub(crate) async fn serve(file: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let page: Answer = serde_json::from_slice(&std::fs::read(file)?).context("the file holds no page")?;
    let schema = Schema::build(Query, EmptyMutation, EmptySubscription)
        .data(Arc::new(page.data.history))
        .limit_depth(20)
        .limit_complexity(20_000)
        .finish();
    let access = Anybody::default();
    let stop = access.shutdown();
    let listener = tokio::net::TcpListener::bind(address).await?;
    let patience = Duration::from_secs(30);
    let bounds = Connections { most: 10_000, first: patience, next: 10 * patience, slow_reader: patience };
    tandem::http::serve(listener, router(schema, access, Limits::default()), stop, bounds).await;
    Ok(())
}
