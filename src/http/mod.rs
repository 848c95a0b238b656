//! The doors: HTTP and WebSocket in, and nothing of the domain behind them.

pub mod graphiql;
pub mod graphql;
