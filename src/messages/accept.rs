//! Messages on their way into the queue. Those that come while others are being committed share the next transaction, so
//! that the disk's pace, not the number of callers, sets the number of commits; each is answered when its own is done.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use entity::{ClientId, send_key};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::batch;
use super::send::{Send, Sent};
use crate::app::App;
use crate::auth::Scope;
use crate::contacts::resolve::Named;
use crate::db::HeldClients;
use crate::failure::{Failure, Outcome};

/// Callers that wait in memory, beside as many in the channel.
const WAITING: usize = 1024;
/// Messages in one transaction.
const MOST: usize = 64;
/// Batches under way that wait for clients that somebody holds. Beside them there is one that has its clients: more would
/// only be smaller, and wait for the same writer.
const HELD_UP: usize = 3;

/// What a caller wants sent, checked as far as that goes without the database.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) scope: Scope,
    /// Its client came through the scope.
    pub(super) input: Send,
    pub(super) person: Named,
    /// Of all that was asked.
    pub(super) hash: String,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Reply {
    Queued(Box<Sent>),
    /// Its key was used before.
    Known(send_key::Model),
}

struct Job {
    request: Request,
    reply: oneshot::Sender<Outcome<Reply>>,
}

/// Where messages are handed in.
pub struct Acceptor {
    queue: mpsc::Sender<Job>,
    jobs: Mutex<Option<mpsc::Receiver<Job>>>,
}

impl Default for Acceptor {
    fn default() -> Self {
        let (queue, jobs) = mpsc::channel(WAITING);
        Self { queue, jobs: Mutex::new(Some(jobs)) }
    }
}

impl Acceptor {
    /// Returns when it is on the disk, or refused.
    pub(super) async fn accept(&self, request: Request) -> Outcome<Reply> {
        let ending = || Failure::Unavailable(anyhow!("the process ends"));
        let (reply, outcome) = oneshot::channel();
        self.queue.send(Job { request, reply }).await.map_err(|_| ending())?;
        outcome.await.map_err(|_| ending())?
    }
}

/// Commits what is handed in, until the process ends; then what is still queued.
pub async fn run(app: Arc<App>) {
    let jobs = app.acceptor.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut jobs) = jobs else { return };
    let (mut waiting, mut busy) = (VecDeque::new(), HashSet::new());
    let mut under_way = FuturesUnordered::<BoxFuture<'_, (BTreeSet<ClientId>, bool)>>::new();
    let (mut is_running, mut stopping, mut closed) = (false, false, false);
    while !closed || !waiting.is_empty() || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some((clients, was_running)) = under_way.next() => {
                is_running &= !was_running;
                for client in &clients {
                    busy.remove(client);
                }
            }
            job = jobs.recv(), if !closed && waiting.len() < WAITING => match job {
                Some(job) => waiting.push_back(job),
                None => closed = true,
            },
            () = app.tasks.stopping().cancelled(), if !stopping => {
                stopping = true;
                jobs.close();
            }
        }
        while waiting.len() < WAITING
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push_back(job);
        }
        while under_way.len() <= HELD_UP {
            let Some(batch) = Batch::next(&app, &mut waiting, &busy, is_running) else { break };
            busy.extend(batch.clients.iter().copied());
            let runs = batch.held.is_some();
            is_running |= runs;
            let app = &app;
            under_way.push(async move { (batch.process(app).await, runs) }.boxed());
        }
    }
}

/// What goes into one transaction.
struct Batch {
    jobs: Vec<Job>,
    clients: BTreeSet<ClientId>,
    /// None: somebody holds them, and has to be waited for.
    held: Option<HeldClients>,
}

impl Batch {
    /// What can be begun now. Clients that somebody holds (webhooks are applied, or a lane writes) do not keep others
    /// waiting: they make a batch of their own.
    fn next(
        app: &App,
        waiting: &mut VecDeque<Job>,
        busy: &HashSet<ClientId>,
        is_running: bool,
    ) -> Option<Self> {
        let idle = waiting.iter().map(|job| job.request.input.client).filter(|client| !busy.contains(client));
        let mut ready: BTreeSet<ClientId> = idle.collect();
        let mut held = Some(app.db.hold_free(ready.iter().copied()));
        if is_running || held.as_ref().is_some_and(HeldClients::is_empty) {
            let free = held.take()?;
            ready.retain(|client| !free.holds(*client));
        } else if let Some(free) = &held {
            ready.retain(|client| free.holds(*client));
        }
        if ready.is_empty() {
            return None;
        }
        let (mut jobs, mut clients) = (Vec::new(), BTreeSet::new());
        let (mut keys, mut passed) = (HashSet::new(), HashSet::new());
        for job in std::mem::take(waiting) {
            let (client, key) = (job.request.input.client, job.request.input.idempotency_key.clone());
            // A key that is here already waits for what becomes of its first use, and whoever comes after waits behind it.
            let goes = ready.contains(&client) && !passed.contains(&client) && jobs.len() < MOST;
            if goes && keys.insert((client, key)) {
                clients.insert(client);
                jobs.push(job);
            } else {
                passed.insert(client);
                waiting.push_back(job);
            }
        }
        Some(Self { jobs, clients, held })
    }

    /// Commits it and answers. What cannot be written together is written one by one, so that only the one at fault fails.
    async fn process(self, app: &App) -> BTreeSet<ClientId> {
        let held = match self.held {
            Some(held) => held,
            None => app.db.hold(self.clients.iter().copied()).await,
        };
        let (requests, replies): (Vec<Request>, Vec<_>) =
            self.jobs.into_iter().map(|job| (job.request, job.reply)).unzip();
        let outcomes = match batch::commit(app, &held, &requests).await {
            Ok(outcomes) => outcomes,
            Err(error) => match Failure::from(error) {
                Failure::Internal(_) if requests.len() > 1 => {
                    let mut outcomes = Vec::with_capacity(requests.len());
                    for request in &requests {
                        let outcome = batch::commit(app, &held, std::slice::from_ref(request)).await;
                        outcomes.push(match outcome {
                            Ok(mut outcomes) => outcomes.pop().unwrap_or_else(|| Err(nothing())),
                            Err(error) => Err(error.into()),
                        });
                    }
                    outcomes
                }
                failure => requests.iter().map(|_| Err(again(&failure))).collect(),
            },
        };
        drop(held);
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Who went away asks again under the same key.
            let _ = reply.send(outcome);
        }
        self.clients
    }
}

fn nothing() -> Failure {
    Failure::Internal(anyhow!("a batch of one has no outcome"))
}

/// The same failure for each of a batch.
fn again(failure: &Failure) -> Failure {
    match failure {
        Failure::Refused(refusal) => Failure::Refused(refusal.clone()),
        Failure::Forbidden(scope) => Failure::Forbidden(scope),
        Failure::Unavailable(error) => Failure::Unavailable(anyhow!("{error:#}")),
        Failure::Internal(error) => Failure::Internal(anyhow!("{error:#}")),
    }
}
