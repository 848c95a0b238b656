//! `docs/coexistence.md`: every remark and step has its paragraph, and every operation in it runs as it stands.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::Tandem;

const PAGE: &str = include_str!("../../docs/coexistence.md");
const NUMBER: &str = "+4915120000901";
const LEFT: &str = "+4915120000902";
const CUSTOMER: &str = "+4915770000901";

/// The paragraphs, each with its operations.
fn paragraphs() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found = Vec::new();
    for part in PAGE.split("\n### ").skip(1) {
        let (title, text) = part.split_once('\n').unwrap();
        let operations =
            text.split("```graphql\n").skip(1).map(|block| block.split_once("\n```").unwrap().0).collect();
        found.push((title, operations));
    }
    found
}

/// A rule is proven by a test that names it: `r08_…`, or `s03_s04_…` for two.
#[test]
fn every_remark_and_every_step_has_its_test() {
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let tests: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.lines().filter_map(|line| line.strip_prefix("async fn ")?.split('(').next());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let unproven: Vec<String> = paragraphs()
        .iter()
        .map(|(title, _)| {
            let (kind, number) = title.split(':').next().unwrap().split_at(1);
            format!("{}{:02}_", kind.to_lowercase(), number.parse::<u8>().unwrap())
        })
        .filter(|rule| !tests.iter().any(|test| test.starts_with(rule) || test.contains(&format!("_{rule}"))))
        .collect();
    assert_eq!(unproven, [] as [String; 0]);
}

#[test]
fn every_remark_and_every_step_has_its_paragraph() {
    let paragraphs = paragraphs();
    let names: Vec<String> =
        paragraphs.iter().map(|(title, _)| title.split(':').next().unwrap().to_owned()).collect();
    let remarks = (1..=17).map(|n| format!("R{n}"));
    let steps = (1..=11).filter(|n| *n != 9).map(|n| format!("S{n}"));
    assert_eq!(names, remarks.chain(steps).collect::<Vec<_>>());
    assert!(paragraphs.iter().all(|(_, operations)| !operations.is_empty()), "each with something to try");
    for (title, _) in &paragraphs {
        let words = title.to_lowercase().replace(' ', "-");
        let anchor: String = words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
        assert!(PAGE.contains(&format!("](#{anchor})")), "the list at the top leads to {title:?}");
    }
    let operations = paragraphs.iter().map(|(_, operations)| operations.len()).sum::<usize>();
    assert_eq!(PAGE.matches("```graphql").count(), operations, "none outside of a paragraph");
}

/// The names of an operation's variables.
fn variables(operation: &str) -> BTreeSet<&str> {
    let words = operation.split('$').skip(1);
    words.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_page_runs() {
    let t = Tandem::new().await;
    // A shop in which everything has happened that the page tells of.
    let after = t.cursor().await;
    t.phone(NUMBER, 5, 60).await;
    let onboarding = t.onboarding(json!({ "history": "ON_REQUEST" })).await;
    let payload = t.complete(&onboarding, &t.signup(NUMBER, true).await).await;
    let client = payload["onboarding"]["client"]["id"].as_str().unwrap().to_owned();
    t.open_app(NUMBER).await;
    t.settle().await;
    let left = t.connected(LEFT).await;
    t.disconnect(LEFT, "ACCOUNT_DISCONNECTED", "USER").await;
    t.customer_writes(NUMBER, CUSTOMER, "Hallo").await;
    let written = t.app_writes(NUMBER, CUSTOMER, "Guten Tag").await;
    t.customer_sees(NUMBER, &written, "read").await;
    t.settle().await;
    t.advance_clock(9 * 86_400).await;
    let query =
        "subscription($after: EventCursor) { events(after: $after, filter: { types: [APP_VISIT_DUE] }) {
        ... on Event { type } } }";
    let mut visits = t.subscribe(query, json!({ "after": after })).await;
    visits.until(|data| data["events"]["type"] == "APP_VISIT_DUE").await;
    let open = t.onboarding(json!({})).await;

    for (title, operations) in paragraphs() {
        for operation in operations {
            let mut values = json!({
                "clientId": client, "onboardingId": onboarding, "customer": CUSTOMER, "after": after,
            });
            // Reconnects who has left, and closes what is open.
            if operation.contains("createOnboarding(") {
                values["clientId"] = json!(left);
            }
            if operation.contains("revokeOnboarding(") || operation.contains("completeOnboarding(") {
                values["onboardingId"] = json!(open);
            }
            let needed = variables(operation);
            let values: Value = needed
                .iter()
                .map(|name| {
                    (
                        (*name).to_owned(),
                        values.get(*name).unwrap_or_else(|| panic!("{title}: ${name}?")).clone(),
                    )
                })
                .collect();
            if operation.starts_with("subscription") {
                let mut heard = t.subscribe(operation, values).await;
                heard.until(|data| data["events"]["__typename"] != "CaughtUp").await;
                continue;
            }
            let answer = t.ask(operation, values).await;
            assert!(answer.get("errors").is_none(), "{title}: {operation}\n{answer:#}");
            let roots = answer["data"].as_object().unwrap();
            assert!(roots.values().all(|value| !value.is_null()), "{title}: {operation}\n{answer:#}");
            for payload in roots.values() {
                let codes: Vec<&str> = payload["userErrors"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|error| error["code"].as_str().unwrap())
                    .collect();
                let expected = match title.split(':').next().unwrap() {
                    _ if operation.contains("updateProfile(") => vec!["MANAGED_IN_APP"],
                    "R7" => vec!["GROUPS_NOT_SUPPORTED"],
                    // Nine days later: the window is closed, and the day for the import is over.
                    "R5" => vec!["WINDOW_CLOSED"],
                    "R3" if operation.starts_with("mutation") => vec!["SYNC_DEADLINE_PASSED"],
                    _ => vec![],
                };
                assert_eq!(codes, expected, "{title}: {operation}\n{answer:#}");
            }
        }
    }
}
