//! Execute once, deliver to many: who asks the same shares one execution and one written result for each event, whatever
//! transport carries it.
//!
//! A subscription begins alone: it is checked, replays what it missed, and comes to the head of its partner's stream. There
//! it joins the group of those who ask the same: the same document, operation and variables (but for the place to begin
//! after), of one partner, with the same clients and permissions. A group's stream runs by itself, from where its first
//! member stood; a member that cannot keep up leaves it, reads the log alone from its own place, and comes back. A
//! credential that ends takes its subscription with it, never the group: the group has its members' rights and belongs to
//! none of them.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, Selection};
use async_graphql::{Executor, Name, Request, Response};
use entity::PartnerId;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;
use tokio::task::coop::unconstrained;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::graphql::{Item, written};
use crate::app::App;
use crate::auth::Scope;
use crate::events::cursor::Cursor;
use crate::feed::CursorTap;

/// Results that a group keeps for members that are a little late.
const LATE: usize = 256;

/// What makes two subscriptions the same.
type Key = [u8; 32];

/// A subscription as it was asked for: it can be begun again, anywhere in the stream.
struct Asked {
    app: Arc<App>,
    partner: PartnerId,
    key: Key,
    execute: Box<dyn Fn(CursorTap) -> BoxStream<'static, Response> + Send + Sync>,
}

impl Asked {
    /// Begins after a place of the stream at which the subscriber was told already that it caught up.
    fn resume(&self, place: i64) -> Alone {
        let tap = CursorTap::continuing(self.app.cursor(self.partner, place));
        Alone { app: self.app.clone(), responses: (self.execute)(tap.clone()), tap }
    }
}

/// The groups of a process.
#[derive(Clone, Default)]
pub(super) struct Groups(Arc<Mutex<HashMap<Key, Weak<Group>>>>);

impl Groups {
    /// Groups above this number are looked through for those without members.
    const TIDY: usize = 1024;

    /// Follows a subscription: alone until it is at the head, then with those who ask the same. `request` is parsed, and
    /// carries the transport's tap.
    pub(super) fn follow<E: Executor>(
        &self,
        app: &Arc<App>,
        executor: &E,
        scope: &Scope,
        mut request: Request,
    ) -> BoxStream<'static, Item> {
        let outer = request.data.get(&std::any::TypeId::of::<CursorTap>());
        let outer = outer.and_then(|tap| tap.downcast_ref::<CursorTap>()).cloned().unwrap_or_default();
        // What cannot be parsed is refused by the engine, in its own words.
        let Ok(document) = request.parsed_query().cloned() else {
            let request = crate::graphql::prepare(app, scope, request);
            return executor.execute_stream(request, None).map(Item::from).boxed();
        };
        let key = key(scope, &request, &document);
        let tap = outer.resumes_after().map_or_else(CursorTap::default, CursorTap::resuming);
        let execute = {
            let (app, executor, scope) = (app.clone(), executor.clone(), scope.clone());
            move |tap: CursorTap| {
                let mut again = Request::new(request.query.clone()).variables(request.variables.clone());
                again.operation_name.clone_from(&request.operation_name);
                again.introspection_mode = request.introspection_mode;
                again.set_parsed_query(document.clone());
                executor.execute_stream(crate::graphql::prepare(&app, &scope, again.data(tap)), None)
            }
        };
        let responses = execute(tap.clone());
        let asked =
            Arc::new(Asked { app: app.clone(), partner: scope.partner(), key, execute: Box::new(execute) });
        Member {
            groups: self.clone(),
            asked,
            tap: outer,
            place: 0,
            state: State::Alone { stream: Alone { app: app.clone(), responses, tap }, joining: None },
        }
        .boxed()
    }

    /// Joins those who ask the same; without them, founds the group at `place`.
    fn join(&self, asked: &Arc<Asked>, place: i64) -> Joining {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(&asked.key).and_then(Weak::upgrade)
            && let Some((results, reached)) = group.shared.subscribe()
        {
            return Joining { group, results, reached };
        }
        if groups.len() >= Self::TIDY {
            groups.retain(|_, group| group.strong_count() > 0);
        }
        let (group, results) = Group::found(asked.clone(), place);
        groups.insert(asked.key, Arc::downgrade(&group));
        Joining { group, results, reached: place }
    }
}

/// A result, and its place in the stream with the cursor that says so.
type Heard = (Response, Option<(i64, String)>);

/// One execution of a subscription.
struct Alone {
    app: Arc<App>,
    responses: BoxStream<'static, Response>,
    tap: CursorTap,
}

impl Alone {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        self.responses.poll_next_unpin(context).map(|response| {
            let place = self.tap.take().and_then(|cursor| Some((Cursor::decode(&cursor)?.position, cursor)));
            let response = response?;
            self.app.hub.executed.fetch_add(1, Ordering::Relaxed);
            Some((response, place))
        })
    }

    /// Up to where everything was told, once it waits.
    fn complete(&self) -> Option<i64> {
        Some(Cursor::decode(&self.tap.take_complete()?)?.position)
    }
}

/// Those who ask the same.
struct Group {
    asked: Arc<Asked>,
    shared: Arc<Shared>,
    /// The group's stream ends with its last member.
    _stream: DropGuard,
}

/// A result, as all members get it.
struct Told {
    place: i64,
    cursor: Arc<str>,
    payload: Arc<serde_json::value::RawValue>,
}

struct Shared {
    /// None once the stream has ended.
    results: Mutex<Option<broadcast::Sender<Arc<Told>>>>,
    /// Everything up to here was told, or is not for this group.
    reached: AtomicI64,
}

impl Group {
    fn found(asked: Arc<Asked>, place: i64) -> (Arc<Self>, broadcast::Receiver<Arc<Told>>) {
        let (sender, results) = broadcast::channel(LATE);
        let shared = Arc::new(Shared { results: Mutex::new(Some(sender)), reached: AtomicI64::new(place) });
        let stop = CancellationToken::new();
        let driven = drive(asked.resume(place), shared.clone());
        let (alone, shutdown) = (stop.clone(), asked.app.tasks.stopping().clone());
        asked.app.tasks.tracker().spawn(async move {
            tokio::select! {
                () = driven => {}
                () = alone.cancelled() => {}
                () = shutdown.cancelled() => {}
            }
        });
        (Arc::new(Self { asked, shared, _stream: stop.drop_guard() }), results)
    }
}

impl Shared {
    /// A seat, and what was told before it; none when the stream has ended.
    fn subscribe(&self) -> Option<(broadcast::Receiver<Arc<Told>>, i64)> {
        // Under the lock under which results are told: between the two there is none.
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        Some((results.as_ref()?.subscribe(), self.reached.load(Ordering::Acquire)))
    }

    fn tell(&self, told: Told) {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let place = told.place;
        if let Some(results) = &*results {
            // Nobody listens only while the group ends.
            let _ = results.send(Arc::new(told));
        }
        // After it is in the channel: who reads that it was told, and finds the channel empty, has it.
        self.reached.fetch_max(place, Ordering::Release);
    }

    /// What comes next to a member; while nothing does, up to which place there is nothing.
    fn hear(
        &self,
        results: &mut BroadcastStream<Arc<Told>>,
        context: &mut Context<'_>,
    ) -> Result<Option<Result<Arc<Told>, BroadcastStreamRecvError>>, i64> {
        // Read first: what was told up to here is in the channel by then.
        let reached = self.reached.load(Ordering::Acquire);
        // Without tokio's budget: a channel that is full says that it is empty once the task has done enough, and all that
        // is in it would be passed over.
        let next = pin!(unconstrained(results.next()));
        match next.poll(context) {
            Poll::Ready(heard) => Ok(heard),
            Poll::Pending => Err(reached),
        }
    }

    fn end(&self) {
        *self.results.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Executes for a group. Should its stream end, the members go on alone, and learn why by themselves.
async fn drive(mut stream: Alone, shared: Arc<Shared>) {
    let ended = Ended(shared.clone());
    loop {
        let heard = poll_fn(|context| {
            let heard = stream.poll(context);
            if heard.is_pending()
                && let Some(place) = stream.complete()
            {
                shared.reached.fetch_max(place, Ordering::Release);
            }
            heard
        });
        let Some((response, Some((place, cursor)))) = heard.await else { break };
        let Ok(payload) = written(response, &cursor) else { break };
        shared.tell(Told { place, cursor: cursor.into(), payload });
        // Events that need no look-up would keep the thread for as long as there are any.
        tokio::task::consume_budget().await;
    }
    drop(ended);
}

/// Ends a group's stream however its task ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A seat in a group that is not taken yet: the member still lacks what was told before.
struct Joining {
    group: Arc<Group>,
    results: broadcast::Receiver<Arc<Told>>,
    reached: i64,
}

/// One subscription.
struct Member {
    groups: Groups,
    asked: Arc<Asked>,
    /// The transport's.
    tap: CursorTap,
    /// Everything up to here was told.
    place: i64,
    state: State,
}

enum State {
    Ended,
    Alone { stream: Alone, joining: Option<Joining> },
    Together { group: Arc<Group>, results: BroadcastStream<Arc<Told>> },
}

impl Stream for Member {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Alone { stream, joining } => {
                    if let Poll::Ready(heard) = stream.poll(context) {
                        let Some((response, place)) = heard else { return Poll::Ready(None) };
                        if let Some((place, cursor)) = place {
                            this.place = place;
                            this.tap.set(cursor);
                        }
                        this.asked.app.hub.told.fetch_add(1, Ordering::Relaxed);
                        return Poll::Ready(Some(response.into()));
                    }
                    let Some(place) = stream.complete() else { return Poll::Pending };
                    this.place = place;
                    if !stream.tap.is_live() {
                        this.tap.complete(this.asked.app.cursor(this.asked.partner, place), false);
                        return Poll::Pending;
                    }
                    let joining = joining.get_or_insert_with(|| this.groups.join(&this.asked, place));
                    if joining.reached > place {
                        // The group is ahead: what it was told meanwhile comes from the own stream.
                        this.tap.complete(this.asked.app.cursor(this.asked.partner, place), true);
                        return Poll::Pending;
                    }
                    let State::Alone { joining: Some(Joining { group, results, .. }), .. } =
                        std::mem::replace(&mut this.state, State::Ended)
                    else {
                        return Poll::Ready(None);
                    };
                    this.tap.complete(this.asked.app.cursor(this.asked.partner, place), true);
                    // One copy of the question for all.
                    this.asked = group.asked.clone();
                    this.state = State::Together { group, results: BroadcastStream::new(results) };
                }
                State::Together { group, results } => match group.shared.hear(results, context) {
                    Ok(Some(Ok(told))) if told.place <= this.place => {}
                    Ok(Some(Ok(told))) => {
                        this.place = told.place;
                        this.asked.app.hub.told.fetch_add(1, Ordering::Relaxed);
                        let (payload, cursor) = (told.payload.clone(), Some(told.cursor.clone()));
                        return Poll::Ready(Some(Item::Ready { payload, cursor }));
                    }
                    // Too late for the group, or the group ended: from the log.
                    Ok(Some(Err(_)) | None) => {
                        let stream = this.asked.resume(this.place);
                        this.state = State::Alone { stream, joining: None };
                    }
                    Err(reached) => {
                        if reached > this.place {
                            this.place = reached;
                            this.tap.complete(this.asked.app.cursor(this.asked.partner, reached), true);
                        }
                        return Poll::Pending;
                    }
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// The same for all who ask the same and may see the same.
fn key(scope: &Scope, request: &Request, document: &ExecutableDocument) -> Key {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    part(scope.partner().0.as_bytes());
    for permission in scope.permissions() {
        part(permission.word().as_bytes());
    }
    match scope.clients() {
        None => part(b"all clients"),
        Some(clients) => clients.iter().for_each(|client| part(client.0.as_bytes())),
    }
    part(request.operation_name.as_deref().unwrap_or_default().as_bytes());
    part(squeezed(&request.query).as_bytes());
    let after = after_variable(document, request);
    for (name, value) in request.variables.iter() {
        if Some(name) != after.as_ref() {
            part(name.as_bytes());
            part(value.to_string().as_bytes());
        }
    }
    hash.finalize().into()
}

/// The variable that says where the subscription begins, if it says nothing else.
fn after_variable(document: &ExecutableDocument, request: &Request) -> Option<Name> {
    let operation = match &document.operations {
        DocumentOperations::Single(operation) => operation,
        DocumentOperations::Multiple(operations) => operations.get(request.operation_name.as_deref()?)?,
    };
    let [root] = operation.node.selection_set.node.items.as_slice() else { return None };
    let Selection::Field(field) = &root.node else { return None };
    let given = field.node.get_argument("after")?.node.to_string();
    let name = Name::new(given.strip_prefix('$')?);
    let uses = request.query.match_indices(&given).filter(|(at, found)| {
        !request.query[at + found.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
    });
    // Where it is declared, and here.
    (uses.count() == 2).then_some(name)
}

/// A document without what means nothing: comments, commas, and space between words.
fn squeezed(query: &str) -> String {
    let mut squeezed = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '#' => {
                rest = rest.find(['\n', '\r']).map_or("", |end| &rest[end..]);
                continue;
            }
            ',' | '\u{feff}' => 0,
            space if space.is_whitespace() => 0,
            word if word.is_alphanumeric() || word == '_' => {
                rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        let (token, others) = rest.split_at(length);
        if token.is_empty() {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        squeezed.push_str(token);
        squeezed.push(' ');
        rest = others;
    }
    squeezed
}

/// Bytes of the string that a text begins with, its quotes included.
fn string_length(text: &str) -> usize {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let mut from = 0;
        while let Some(end) = block[from..].find("\"\"\"") {
            if !block[..from + end].ends_with('\\') {
                return 3 + from + end + 3;
            }
            from += end + 3;
        }
        return text.len();
    }
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        match next {
            '"' if !escaped => return at + 1,
            _ => escaped = next == '\\' && !escaped,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_member_hears_all_that_was_told_however_much_its_task_has_done_already() {
        let (sender, results) = broadcast::channel(LATE);
        let shared = Shared { results: Mutex::new(Some(sender)), reached: AtomicI64::new(0) };
        let mut results = BroadcastStream::new(results);
        let all: Vec<i64> = (1..=LATE as i64).collect();
        for place in &all {
            let payload = serde_json::value::to_raw_value(place).unwrap().into();
            shared.tell(Told { place: *place, cursor: place.to_string().into(), payload });
        }
        let mut heard = Vec::new();
        let reached = poll_fn(|context| {
            loop {
                match shared.hear(&mut results, context) {
                    Ok(told) => heard.push(told.unwrap().unwrap().place),
                    Err(reached) => return Poll::Ready(reached),
                }
            }
        })
        .await;
        assert_eq!((heard, reached), (all, LATE as i64));
    }

    #[test]
    fn what_means_nothing_makes_no_difference() {
        let one = "subscription S($a: String) {\n  events(after: $a, filter: {types: [TEST]}) { ... on Event { id } } # all\n}";
        let two = "subscription S ( $a:String ){events(after:$a filter:{types:[TEST,]}){...on Event{id}}}";
        assert_eq!(squeezed(one), squeezed(two));
        assert_ne!(squeezed(one), squeezed(&one.replace("id", "type")));
        assert_ne!(squeezed("{ a b }"), squeezed("{ ab }"));
    }

    #[test]
    fn strings_stay_as_they_are() {
        for text in [r#""a , # b""#, r#""a \" # b""#, r#""""a " # \""" b""""#, r#""\\""#] {
            assert_eq!(
                squeezed(&format!("{{ f(x: {text}) }}")),
                format!("{{ f ( x : {text} ) }} "),
                "{text}"
            );
        }
    }

    #[test]
    fn only_the_place_to_begin_after_may_differ() {
        let after = |query: &str| {
            let mut request = Request::new(query);
            let document = request.parsed_query().unwrap().clone();
            after_variable(&document, &request).map(|name| name.to_string())
        };
        assert_eq!(
            after("subscription($c: EventCursor) { events(after: $c) { __typename } }"),
            Some("c".into())
        );
        assert_eq!(
            after(
                "subscription($c: ID, $cc: ID) { events(after: $c, filter: {clientIds: [$cc]}) { __typename } }"
            ),
            Some("c".into())
        );
        assert_eq!(
            after("subscription($c: ID) { events(after: $c, filter: {clientIds: [$c]}) { __typename } }"),
            None
        );
        assert_eq!(after("subscription { events(after: \"x\") { __typename } }"), None);
    }
}
