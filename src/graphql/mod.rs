//! stub until merged
use std::sync::Arc;
use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};
/// stub
pub struct Q;
#[Object]
impl Q { async fn ok(&self) -> bool { true } }
/// stub
pub fn schema(_: &crate::config::Config) -> Schema<Q, EmptyMutation, EmptySubscription> { Schema::new(Q, EmptyMutation, EmptySubscription) }
/// stub
pub fn sdl() -> String { String::new() }
/// stub
pub fn prepare(app: &Arc<crate::app::App>, scope: &crate::auth::Scope, request: Request) -> Request { request.data(app.clone()).data(scope.clone()) }
