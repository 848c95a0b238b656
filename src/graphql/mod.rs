//! The GraphQL schema: a thin door. It reads arguments, asks the domain, and says what comes back.

pub mod beside;
pub mod context;
pub mod engine;
pub mod error;
pub mod loaders;
pub mod mutations;
pub mod pagination;
pub mod scalars;
pub mod types;

mod mutation;
mod query;
mod subscription;
mod webhook_data;

use std::sync::Arc;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Request, SDLExportOptions};

pub use self::context::Caller;
pub use self::engine::{Engine, Schema};
pub use self::mutation::Mutation;
pub use self::query::Query;
pub use self::subscription::Subscription;
pub use self::webhook_data::WebhookData;

use crate::app::App;
use crate::auth::Scope;
use crate::config::Config;

/// The loaders of a request.
pub type Loaders = Arc<DataLoader<loaders::Rows>>;

/// The schema with the limits of these settings, ready to execute requests that were [prepared](prepare).
pub fn schema(config: &Config) -> Engine {
    let limits = &config.graphql;
    let mut schema = Schema::build(Query, Mutation, Subscription)
        .limit_depth(limits.depth)
        .limit_complexity(limits.complexity)
        .limit_directives(limits.nesting);
    if !config.is_development() && !limits.introspection {
        schema = schema.disable_introspection().disable_suggestions();
    }
    Engine::new(schema.finish())
}

/// Puts into a request what its resolvers need.
pub fn prepare(app: &Arc<App>, scope: &Scope, request: Request) -> Request {
    request.data(Caller { app: app.clone(), scope: scope.clone() })
}

/// The schema as text, sorted: what `schema.graphql` holds.
pub fn sdl() -> String {
    let options =
        SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items().include_specified_by();
    Schema::new(Query, Mutation, Subscription).sdl_with_options(options)
}

#[cfg(test)]
mod tests {
    use async_graphql::{ContainerType as _, Context};
    use serde_json::Value;

    use super::types::conversation::ServiceWindow;
    use super::types::{Client, Contact, Conversation, Message};
    use super::*;

    const EVERYTHING: &str = "{ __schema { types { kind name description
        fields { name description args { name description } }
        inputFields { name description }
        enumValues { name description } } } }";

    fn undescribed(path: &str, value: &Value, missing: &mut Vec<String>) {
        let name = value["name"].as_str().unwrap_or_default();
        let path = format!("{path}.{name}");
        // GraphQL describes its own types and ID.
        if name.starts_with("__") || path == ".ID" {
            return;
        }
        if value["description"].as_str().unwrap_or_default().is_empty() {
            missing.push(path.clone());
        }
        for part in ["fields", "args", "inputFields", "enumValues"] {
            for inner in value[part].as_array().into_iter().flatten() {
                undescribed(&path, inner, missing);
            }
        }
    }

    #[tokio::test]
    async fn everything_in_the_schema_says_what_it_is() {
        let answer = Schema::new(Query, Mutation, Subscription).execute(EVERYTHING).await;
        let data = answer.data.into_json().unwrap();
        let mut missing = Vec::new();
        for kind in data["__schema"]["types"].as_array().unwrap() {
            undescribed("", kind, &mut missing);
        }
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn the_text_of_the_schema_is_stable() {
        let sdl = sdl();
        assert_eq!(sdl, super::sdl());
        for part in
            ["interface Event", "interface Node", "union StreamItem", "union MessageContent", "@oneOf"]
        {
            assert!(sdl.contains(part), "{part}");
        }
    }

    #[test]
    fn a_field_is_resolved_in_little_room() {
        fn room<'a, T: 'a, F: Future>(_: impl Fn(&'a T, &'a Context<'a>) -> F) -> usize {
            size_of::<F>()
        }
        // Each field of each item of a list takes what the greediest field of its type needs, and the engine 512 bytes more. Up to
        // 1,024 the allocator is at its fastest.
        for (name, bytes) in [
            ("Message", room(Message::resolve_field)),
            ("Conversation", room(Conversation::resolve_field)),
            ("Contact", room(Contact::resolve_field)),
            ("ServiceWindow", room(ServiceWindow::resolve_field)),
            ("Client", room(Client::resolve_field)),
        ] {
            assert!(bytes <= 512, "{name}: {bytes} bytes");
        }
    }
}
