//! Who may call, and with what.

use crate::harness::Town;
use serde_json::json;

#[tokio::test]
async fn only_callers_of_a_loopback_name_are_answered() {
    let town = Town::new().await;
    for (path, host, expected) in [
        ("healthz", "localhost:1", 200),
        ("healthz", "[::1]", 200),
        ("healthz", "evil.example.test", 403),
        ("graphql", "evil.example.test", 403),
        ("v25.0/debug_token", "evil.example.test", 403),
    ] {
        let answer =
            town.http.get(format!("{}/{path}", town.url())).header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path} {host}");
    }
}

#[tokio::test]
async fn queries_that_could_only_hurt_are_refused() {
    let town = Town::new().await;
    let url = format!("{}/graphql", town.url());
    let deep = format!("{{ phones {}", "{ a ".repeat(500));
    let long = format!("{{ clock }} # {}", "x".repeat(70_000));
    for query in [deep, long, "{ phones".to_owned()] {
        let answer = town.http.post(&url).json(&json!({ "query": query })).send().await.unwrap();
        assert_eq!(answer.status(), 400);
    }
    let plain = town.http.post(&url).body("{\"query\":\"{ clock }\"}").send().await.unwrap();
    assert_eq!(plain.status(), 415);
    let answer = town.ask("query One { clock } query Two { phones { app } }", json!({})).await;
    assert!(answer["errors"].is_array());
    let unknown =
        town.ask("mutation { openApp(input: { phoneNumber: \"+4915120009999\" }) { app } }", json!({})).await;
    assert!(unknown["errors"][0]["message"].as_str().unwrap().contains("createPhone"), "{unknown}");
    let wrong = town.ask("{ phone(phoneNumber: \"04915\") { app } }", json!({})).await;
    assert!(wrong["errors"][0]["message"].as_str().unwrap().contains("+4915120000001"), "{wrong}");
}

#[tokio::test]
async fn an_empty_world_begins_with_a_shop_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let options = simulator::Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: dir.path().join("new"),
        demo_shop: true,
    };
    for _ in 0..2 {
        let simulator = simulator::Simulator::start(options.clone()).await.unwrap();
        let query = json!({ "query": "{ phones { phoneNumber displayName app contacts { fullName } messages(first: 999) { group } } }" });
        let http = reqwest::ClientBuilder::new().no_proxy().build().unwrap();
        let answer = http.post(format!("{}/graphql", simulator.url())).json(&query).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let phones = answer["data"]["phones"].as_array().unwrap();
        let numbers: Vec<_> = phones.iter().map(|p| (&p["phoneNumber"], &p["app"])).collect();
        assert_eq!(
            numbers,
            [(&json!("+4915120000001"), &json!("BUSINESS")), (&json!("+4915120000002"), &json!("REGULAR"))]
        );
        assert_eq!(phones[0]["contacts"].as_array().unwrap().len(), 25);
        let messages = phones[0]["messages"].as_array().unwrap();
        assert_eq!(messages.iter().filter(|m| m["group"].is_null()).count(), 240);
        drop(http);
        simulator.stop().await;
    }
}
