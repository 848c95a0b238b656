//! The GraphQL schema: a thin door. It reads arguments, asks the domain, and says what comes back.

pub mod context;
pub mod cursor_tap;
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

use std::sync::Arc;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Request, SDLExportOptions};

pub use self::context::Caller;
pub use self::engine::{Engine, Schema};
pub use self::mutation::Mutation;
pub use self::query::Query;
pub use self::subscription::Subscription;

use crate::app::App;
use crate::auth::Scope;
use crate::config::Config;

/// The loaders of a request.
pub type Loaders = Arc<DataLoader<loaders::Rows>>;

/// The schema with the limits of these settings, ready to execute requests that were [prepared](prepare).
pub fn engine(config: &Config) -> Engine {
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
    use super::*;

    #[test]
    fn the_schema_can_be_built_and_says_everything_in_words() {
        let sdl = sdl();
        for name in ["type Query", "interface Event", "union StreamItem", "scalar EventCursor", "@oneOf"] {
            assert!(sdl.contains(name), "{name}");
        }
        let lines: Vec<&str> = sdl.lines().collect();
        let undescribed: Vec<&str> = lines
            .windows(2)
            .filter(|pair| !pair[0].trim_end().ends_with("\"\"\""))
            .map(|pair| pair[1])
            .filter(|line| ["type ", "input ", "enum ", "interface ", "union ", "scalar "].iter().any(|word| line.starts_with(word)))
            .collect();
        assert_eq!(undescribed, Vec::<&str>::new());
        let mut inside = false;
        let mut fields = Vec::new();
        for pair in lines.windows(2) {
            let line = pair[1];
            if line.ends_with('{') && !line.starts_with("schema") {
                inside = true;
            } else if line.starts_with('}') {
                inside = false;
            } else if inside && line.starts_with('\t') && !line.contains("\"\"\"") && !pair[0].ends_with("\"\"\"") {
                fields.push(line);
            }
        }
        println!("{fields:#?}");
    }
}
