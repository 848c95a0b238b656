//! What one may ask for at once (invariant 12), and the protocol around it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{SHOP, Tandem};

/// The code of the one error of an answer.
fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer:#}"))
}

fn message(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{answer:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_at_most_a_hundred_entries_and_the_error_says_so() {
    let (t, client) = Tandem::shop().await;
    let lists = [
        ("clients", ""),
        ("onboardings", ""),
        ("conversations", ""),
        ("history", "clientId: $id, "),
        ("contacts", "clientId: $id, "),
        ("events", ""),
    ];
    for (list, arguments) in lists {
        let declared = if arguments.is_empty() { "" } else { "($id: ID!)" };
        let ask = async |size: &str| {
            let query = format!("query{declared} {{ {list}({arguments}{size}) {{ nodes {{ id }} }} }}");
            t.ask(&query, json!({ "id": client })).await
        };
        for size in ["first: 101", "first: 0", "first: -1", "first: 2147483647", "last: 101", "last: 0"] {
            if list == "events" && size.starts_with("last") {
                continue;
            }
            let answer = ask(size).await;
            assert_eq!(code(&answer), "BAD_USER_INPUT", "{list} {size}");
            assert!(message(&answer).contains("1 to 100"), "{list} {size}: {answer:#}");
        }
        assert!(ask("first: 100").await.get("errors").is_none(), "{list}");
        for cursor in ["nonsense", "", "AQ", "🙂"] {
            let answer = ask(&format!("after: \"{cursor}\"")).await;
            assert_eq!(code(&answer), "BAD_USER_INPUT", "{list} {cursor}: {answer:#}");
        }
        if list != "events" {
            let answer = ask("first: 1, last: 1").await;
            assert_eq!(code(&answer), "BAD_USER_INPUT", "{list}: {answer:#}");
        }
    }
    // A cursor of one list is none of another.
    t.customer_writes(SHOP, "+4915770000001", "Hallo").await;
    t.settle().await;
    let query = "query($id: ID!) { history(clientId: $id) { pageInfo { endCursor } } }";
    let cursor = t.data(query, json!({ "id": client })).await["history"]["pageInfo"]["endCursor"].clone();
    let query = "query($id: ID!, $after: String) { contacts(clientId: $id, after: $after) { nodes { id } } }";
    let answer = t.ask(query, json!({ "id": client, "after": cursor })).await;
    assert_eq!(code(&answer), "BAD_USER_INPUT", "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_cost_too_much_is_refused_before_it_starts() {
    let t = Tandem::new().await;
    let ask = async |query: &str| t.ask(query, json!({})).await;
    let nested = |size: i32| {
        format!(
            "{{ clients(first: {size}) {{ nodes {{ conversations(first: {size}) {{ nodes {{
                messages(first: {size}) {{ nodes {{ id }} }} }} }} }} }} }}"
        )
    };
    assert_eq!(code(&ask(&nested(100)).await), "QUERY_TOO_COMPLEX");
    assert!(ask(&nested(5)).await.get("errors").is_none());
    // Sizes count as well when variables hold them, and when they are left out.
    let by_variable = nested(100).replace("first: 100", "first: $n").replacen('{', "query($n: Int) {", 1);
    for variables in [json!({ "n": 100 }), json!({})] {
        assert_eq!(code(&t.ask(&by_variable, variables).await), "QUERY_TOO_COMPLEX");
    }
    let aliases: String = (0..500).fold(String::new(), |mut text, number| {
        write!(text, "a{number}: clients(first: 100) {{ nodes {{ id }} }} ").unwrap();
        text
    });
    assert_eq!(code(&ask(&format!("{{ {aliases} }}")).await), "QUERY_TOO_COMPLEX");
    let deep = format!(
        "{{ clients {{ nodes {}{{ id }}{} }} }}",
        "{ conversations(first: 1) { nodes { client ".repeat(9),
        " } } }".repeat(9)
    );
    assert_eq!(code(&ask(&deep).await), "QUERY_TOO_COMPLEX");

    // Bombs: brackets that would end the parser, fragments that would never end.
    for bracket in ["[", "{", "("] {
        assert_eq!(code(&ask(&format!("{{ node(id: {}", bracket.repeat(30_000))).await), "QUERY_TOO_COMPLEX");
    }
    let mut bomb = "{ ...f0 }".to_owned();
    for level in 0..30 {
        let next = level + 1;
        write!(bomb, " fragment f{level} on Query {{ ...f{next} ...f{next} }}").unwrap();
    }
    bomb.push_str(" fragment f30 on Query { viewer { scopes } }");
    assert_eq!(code(&ask(&bomb).await), "QUERY_TOO_COMPLEX");
    let many: String = (0..101).fold(String::new(), |mut text, number| {
        write!(text, " fragment f{number} on Query {{ viewer {{ scopes }} }}").unwrap();
        text
    });
    assert_eq!(code(&ask(&format!("{{ ...f0 }}{many}")).await), "QUERY_TOO_COMPLEX");
    let circle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
    assert_eq!(code(&ask(circle).await), "GRAPHQL_VALIDATION_FAILED");
    let long = format!("{{ viewer {{ scopes }} }} #{}", "x".repeat(64 * 1024));
    assert_eq!(code(&ask(&long).await), "QUERY_TOO_COMPLEX");

    // The same guards stand on the socket.
    for query in [nested(100), bomb, format!("{{ node(id: {}", "[".repeat(30_000))] {
        let url = format!("ws://{}/graphql", t.running().address);
        let mut socket = crate::harness::Subscription::open(&url, &t.key, &query, json!({})).await;
        let frame = socket.frame().await;
        assert_eq!(frame["payload"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX", "{frame:#}");
    }
    // It lives.
    assert!(ask("{ viewer { scopes } }").await.get("errors").is_none());
    let health = t.http.get(format!("{}/healthz", t.url())).send().await.unwrap();
    assert_eq!(health.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_at_most_ten_operations() {
    let t = Tandem::new().await;
    let post = async |count: usize| {
        let batch: Vec<Value> =
            (0..count).map(|_| json!({ "query": "{ viewer { partner { name } } }" })).collect();
        let request = t.http.post(format!("{}/graphql", t.url())).bearer_auth(&t.key).json(&batch);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let answers = post(10).await;
    assert_eq!(answers.as_array().unwrap().len(), 10);
    assert!(
        answers
            .as_array()
            .unwrap()
            .iter()
            .all(|answer| answer["data"]["viewer"]["partner"]["name"] == "Acme")
    );
    let refused = post(11).await;
    assert!(refused.get("data").is_none(), "{refused:#}");
    assert!(message(&refused).contains("10"), "{refused:#}");
    assert_eq!(code(&refused), "QUERY_TOO_COMPLEX", "{refused:#}");
    assert!(post(0).await["errors"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_told_by_its_code() {
    let (t, _) = Tandem::shop().await;
    for (query, variables, expected) in [
        ("{ viewer { scopes }", json!({}), "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{ viewer }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: ID!) { node(id: $id) { id } }", json!({}), "BAD_USER_INPUT"),
        ("query($id: ID!) { node(id: $id) { id } }", json!({ "id": null }), "BAD_USER_INPUT"),
        ("query($n: Int) { clients(first: $n) { nodes { id } } }", json!({ "n": "ten" }), "BAD_USER_INPUT"),
        (
            "query($f: HistoryFilter) { clients { nodes { history(filter: $f) { nodes { id } } } } }",
            json!({ "f": { "with": "no number" } }),
            "BAD_USER_INPUT",
        ),
        ("subscription { events { __typename } }", json!({}), "BAD_USER_INPUT"),
    ] {
        let answer = t.ask(query, variables).await;
        assert_eq!(code(&answer), expected, "{query}: {answer:#}");
    }
}

/// GraphQL over HTTP, as the project of that name audits it. `npm ci` in tests/conformance brings the audits.
#[tokio::test(flavor = "multi_thread")]
async fn graphql_over_http_passes_its_audits() {
    let t = Tandem::new().await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
    let mut audit = tokio::process::Command::new("node");
    audit
        .current_dir(directory)
        .args(["audit.mjs", &format!("{}/graphql", t.url()), &t.key])
        .kill_on_drop(true);
    let output = tokio::time::timeout(crate::harness::PATIENCE, audit.output())
        .await
        .expect("the audit hangs")
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.trim().ends_with(" ok") && !told.contains(','), "{told}");
}
