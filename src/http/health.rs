//! Whether the process serves, and its counters.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new().route("/healthz", get(health)).route("/metrics", get(metrics)).with_state(app)
}

/// 200 once everything is up; in development that includes that the simulator knows where to post.
async fn health(State(app): State<Arc<App>>) -> Response {
    if app.ready.load(Ordering::Relaxed) {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response()
}

/// Counters in Prometheus' text format. They cost no statement, however often they are asked for.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (inbox, deliveries) = (&app.inbox, &app.deliveries);
    let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let backlog = u64::try_from(inbox.backlog()).unwrap_or(0);
    let all = [
        (
            "tandem_webhooks_refused_total",
            "Webhook bodies with a wrong or missing signature.",
            now(&inbox.refused),
        ),
        (
            "tandem_webhooks_accepted_total",
            "Webhook bodies that were stored and answered 200.",
            now(&inbox.accepted),
        ),
        ("tandem_webhooks_applied_total", "Webhook bodies whose fate is settled.", now(&inbox.applied)),
        ("tandem_webhooks_backlog", "Webhook bodies that wait to be applied.", backlog),
        (
            "tandem_subscription_results_executed_total",
            "Results of subscriptions that were executed, for one subscriber or for many.",
            now(&app.hub.executed),
        ),
        (
            "tandem_subscription_results_told_total",
            "Results of subscriptions that were told to a subscriber.",
            now(&app.hub.told),
        ),
        ("tandem_sends_accepted_total", "Sends that WhatsApp took.", now(&app.sends.accepted)),
        ("tandem_sends_failed_total", "Sends that failed for good.", now(&app.sends.failed)),
        (
            "tandem_sends_unknown_total",
            "Sends of which nobody knows whether they left.",
            now(&app.sends.unknown),
        ),
        (
            "tandem_sends_put_back_total",
            "Tries to send in vain, after which the message went back into the queue.",
            now(&app.sends.put_back),
        ),
        (
            "tandem_deliveries_taken_total",
            "Webhooks to partners that were answered 2xx.",
            now(&deliveries.taken),
        ),
        (
            "tandem_deliveries_failed_attempts_total",
            "Attempts to deliver a webhook to a partner that failed.",
            now(&deliveries.failed_attempts),
        ),
        (
            "tandem_deliveries_given_up_total",
            "Webhooks to partners that failed until their three days were over.",
            now(&deliveries.given_up),
        ),
        (
            "tandem_deliveries_pending",
            "Webhooks to partners that wait, of the endpoints that this process delivers to.",
            now(&deliveries.pending),
        ),
        ("tandem_files_fetched_total", "Files that were fetched from WhatsApp.", now(&app.media.fetched)),
        ("tandem_files_delivered_total", "Uploads that were handed to WhatsApp.", now(&app.media.delivered)),
        (
            "tandem_files_given_up_total",
            "Files that could not be had, or not be handed over.",
            now(&app.media.given_up),
        ),
        ("tandem_sql_statements_total", "Statements run on the main database.", app.db.statements()),
    ];
    let mut text = String::new();
    for (name, help, value) in all {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
