//! Whether the process serves, and its counters.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

/// Counters in Prometheus' text format.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    let counters = [
        (
            "tandem_webhooks_refused_total",
            "Webhook bodies with a wrong or missing signature.",
            &app.inbox.refused,
        ),
        (
            "tandem_webhooks_accepted_total",
            "Webhook bodies that were stored and answered 200.",
            &app.inbox.accepted,
        ),
        ("tandem_webhooks_applied_total", "Webhook bodies whose fate is settled.", &app.inbox.applied),
        ("tandem_files_fetched_total", "Files that were fetched from WhatsApp.", &app.media.fetched),
        ("tandem_files_delivered_total", "Uploads that were handed to WhatsApp.", &app.media.delivered),
        (
            "tandem_files_given_up_total",
            "Files that could not be had, or not be handed over.",
            &app.media.given_up,
        ),
        (
            "tandem_subscription_results_executed_total",
            "Results of subscriptions that were executed, for one subscriber or for many.",
            &app.hub.executed,
        ),
        (
            "tandem_subscription_results_told_total",
            "Results of subscriptions that were told to a subscriber.",
            &app.hub.told,
        ),
    ];
    for (name, help, counter) in counters {
        let value = counter.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
    let backlog = app.inbox.backlog();
    let _ = writeln!(
        text,
        "# HELP tandem_webhooks_backlog Webhook bodies that wait to be applied.\n# TYPE tandem_webhooks_backlog gauge\n\
         tandem_webhooks_backlog {backlog}"
    );
    let statements = app.db.statements();
    let _ = writeln!(
        text,
        "# HELP tandem_sql_statements_total Statements run on the main database.\n\
         # TYPE tandem_sql_statements_total counter\ntandem_sql_statements_total {statements}"
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
